//! The drive's state: what is synced, what is broken, and when the power goes.
//! Everything here is safe code; `ffi` calls it around the real file system.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::ffi;

use super::change::{Change, New, Survival, lose};

/// What SQLite asks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading bytes.
    Read,
    /// Writing bytes or cutting a file's end.
    Write,
    /// Making what was written durable.
    Sync,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `SQLITE_FULL`: no room.
    Full,
    /// `SQLITE_IOERR_*`: the drive reports an error.
    Io,
}

/// A fault that stays until it is healed: every `one_in`th operation fails.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which operations are hit.
    pub on: Operation,
    /// How they fail.
    pub kind: FaultKind,
    /// 1 hits every operation, 2 every second one. At least 1.
    pub one_in: u64,
}

/// What the drive has done, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads that were carried out.
    pub reads: u64,
    /// Writes and truncations that were carried out.
    pub writes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Syncs that were carried out.
    pub syncs: u64,
    /// Operations that failed by injection or for lack of room; those without
    /// power do not count.
    pub faults: u64,
    /// Power cuts.
    pub cuts: u64,
}

/// An SQLite result code other than `SQLITE_OK`.
pub(super) type Refusal = i32;

/// The drive behind one VFS.
#[derive(Default)]
pub(super) struct Disk(Mutex<State>);

pub(super) struct State {
    powered: bool,
    files: HashMap<PathBuf, Tracked>,
    /// Handles that SQLite has not closed yet.
    open_handles: usize,
    capacity: Option<u64>,
    fault: Option<Fault>,
    fault_ticks: u64,
    cut_after: Option<(u64, Survival)>,
    delay: Duration,
    lying: bool,
    counters: Counters,
}

#[derive(Default)]
struct Tracked {
    size: u64,
    unsynced: Vec<Change>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            powered: true,
            files: HashMap::new(),
            open_handles: 0,
            capacity: None,
            fault: None,
            fault_ticks: 0,
            cut_after: None,
            delay: Duration::ZERO,
            lying: false,
            counters: Counters::default(),
        }
    }
}

impl Disk {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits an operation, or says how it fails. The caller carries it out
    /// while it holds the state, so that changes are recorded in their order.
    pub(super) fn begin(&self, operation: Operation) -> Result<MutexGuard<'_, State>, Refusal> {
        let delay = self.lock().delay;
        if operation == Operation::Sync && !delay.is_zero() {
            thread::sleep(delay);
        }
        let mut state = self.lock();
        state.count_down(operation);
        if !state.powered {
            return Err(refusal(operation, FaultKind::Io));
        }
        if let Some(kind) = state.strikes(operation) {
            state.counters.faults += 1;
            return Err(refusal(operation, kind));
        }
        match operation {
            Operation::Read => state.counters.reads += 1,
            Operation::Write => state.counters.writes += 1,
            Operation::Sync => state.counters.syncs += 1,
        }
        Ok(state)
    }
}

impl State {
    /// A planned power cut strikes before the operation that it counts down to.
    fn count_down(&mut self, operation: Operation) {
        if operation == Operation::Read || !self.powered {
            return;
        }
        match &mut self.cut_after {
            Some((0, survival)) => {
                let survival = *survival;
                self.cut(survival);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
    }

    fn strikes(&mut self, operation: Operation) -> Option<FaultKind> {
        let fault = self.fault.filter(|fault| fault.on == operation)?;
        self.fault_ticks += 1;
        self.fault_ticks
            .is_multiple_of(fault.one_in.max(1))
            .then_some(fault.kind)
    }

    /// Takes everything unsynced off the files and refuses all that follows.
    pub(super) fn cut(&mut self, survival: Survival) {
        self.powered = false;
        self.cut_after = None;
        self.counters.cuts += 1;
        for (path, tracked) in &mut self.files {
            let changes = std::mem::take(&mut tracked.unsynced);
            if changes.is_empty() {
                continue;
            }
            let file = OpenOptions::new().write(true).open(path);
            tracked.size = file
                .and_then(|file| lose(&file, &changes, survival))
                .expect("the test's own directory is writable");
        }
    }

    /// Power comes back, unless handles from before are still open: their
    /// number.
    pub(super) const fn power_on(&mut self) -> Result<(), usize> {
        if self.open_handles > 0 {
            return Err(self.open_handles);
        }
        self.powered = true;
        Ok(())
    }

    pub(super) const fn plan_cut(&mut self, operations: u64, survival: Survival) {
        self.cut_after = Some((operations, survival));
    }

    pub(super) const fn is_powered(&self) -> bool {
        self.powered
    }

    pub(super) const fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    pub(super) const fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
        self.fault_ticks = 0;
    }

    pub(super) const fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    pub(super) const fn set_lying(&mut self, lying: bool) {
        self.lying = lying;
    }

    pub(super) const fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes in all files.
    pub(super) fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }

    pub(super) fn opened(&mut self, path: Option<&Path>, size: u64) {
        self.open_handles += 1;
        if let Some(path) = path {
            self.files.entry(path.to_owned()).or_default().size = size;
        }
    }

    pub(super) const fn closed(&mut self) {
        self.open_handles -= 1;
    }

    /// A deletion counts as durable at once: SQLite never relies on a deleted
    /// file's coming back, nor on its staying away.
    pub(super) fn deleted(&mut self, path: &Path) {
        self.files.remove(path);
    }

    pub(super) fn size(&self, path: &Path) -> u64 {
        self.files.get(path).map_or(0, |file| file.size)
    }

    /// Refuses a write of which the end lies at `end` when the drive is full.
    pub(super) fn make_room(&mut self, path: &Path, end: u64) -> Result<(), Refusal> {
        let growth = end.saturating_sub(self.size(path));
        let full = growth > 0
            && self
                .capacity
                .is_some_and(|capacity| self.used_bytes() + growth > capacity);
        if full {
            self.counters.faults += 1;
            return Err(ffi::SQLITE_FULL);
        }
        Ok(())
    }

    pub(super) fn changed(&mut self, path: &Path, change: Change) {
        if let New::Bytes(bytes) = &change.new {
            self.counters.write_bytes += bytes.len() as u64;
        }
        let file = self.files.entry(path.to_owned()).or_default();
        file.size = change.size_after();
        file.unsynced.push(change);
    }

    pub(super) fn synced(&mut self, path: &Path) {
        if !self.lying
            && let Some(file) = self.files.get_mut(path)
        {
            file.unsynced.clear();
        }
    }
}

const fn refusal(operation: Operation, kind: FaultKind) -> Refusal {
    match (kind, operation) {
        (FaultKind::Full, _) => ffi::SQLITE_FULL,
        (FaultKind::Io, Operation::Read) => ffi::SQLITE_IOERR_READ,
        (FaultKind::Io, Operation::Write) => ffi::SQLITE_IOERR_WRITE,
        (FaultKind::Io, Operation::Sync) => ffi::SQLITE_IOERR_FSYNC,
    }
}
