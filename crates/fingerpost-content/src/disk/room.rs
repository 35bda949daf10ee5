//! How much lies on the disk, and every change of it.
//!
//! Each directory has its own count and lock, held for a rename or an unlink.
//! Listing a directory takes longer and is done without the lock; what changes
//! meanwhile is noted and reconciled, so that the count is exact as long as
//! this process is the only one. Every listing puts right what others did.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use fingerpost_core::{CacherError, Clock, EntryName, Timestamp, Usage};
use parking_lot::Mutex;

use super::layout::{DIRECTORIES, Layout, directory_of, modified, set_modified};
use super::listing::{Found, footprint, list};

/// The longest that an entry can be pinned: as long as URLs are signed for.
/// Times behind that come from a clock that was wrong.
pub(super) const PIN_MICROS_MAX: i64 = 7 * 86_400_000_000;

pub(super) struct Room {
    pub(super) layout: Layout,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bytes_max: u64,
    directories: Vec<Mutex<Directory>>,
    totals: Mutex<Totals>,
    /// Held by the one that lists directories or evicts.
    pub(super) hand: Mutex<Hand>,
}

/// Where the next look for entries to evict begins.
#[derive(Default)]
pub(super) struct Hand {
    pub(super) directory: usize,
}

#[derive(Default)]
struct Directory {
    usage: Usage,
    /// While it is listed: what an entry has now, `None` if it is gone.
    noted: Option<Vec<(EntryName, Option<u64>)>>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) usage: Usage,
    /// Bytes that entries on their way in will have.
    pub(super) reserved: u64,
}

impl Totals {
    pub(super) const fn taken(&self) -> u64 {
        self.usage.bytes.saturating_add(self.reserved)
    }
}

impl Room {
    pub(super) fn new(layout: Layout, bytes_max: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            layout,
            clock,
            bytes_max,
            directories: (0..DIRECTORIES).map(|_| Mutex::default()).collect(),
            totals: Mutex::default(),
            hand: Mutex::default(),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        *self.totals.lock()
    }

    /// Sets room aside for an entry, evicting others if it must.
    ///
    /// # Errors
    ///
    /// [`CacherError::Full`] if nothing more may go.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, CacherError> {
        if let Ok(reserved) = self.try_reserve(bytes) {
            return Ok(reserved);
        }
        let mut hand = self.hand.lock();
        loop {
            match self.try_reserve(bytes) {
                Ok(reserved) => return Ok(reserved),
                Err(missing) if self.free_with(&mut hand, missing) == 0 => {
                    return Err(CacherError::Full);
                }
                Err(_) => {}
            }
        }
    }

    /// Gives how many bytes are missing if there is no room.
    fn try_reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, u64> {
        let mut totals = self.totals.lock();
        let wanted = totals.taken().saturating_add(bytes);
        if wanted > self.bytes_max {
            return Err(wanted - self.bytes_max);
        }
        totals.reserved += bytes;
        let room = Arc::clone(self);
        Ok(Reservation { room, bytes })
    }

    /// Puts a written file at its name, where it takes up what was reserved.
    pub(super) fn place(
        &self,
        temporary: &Path,
        name: &EntryName,
        file_bytes: u64,
        reserved: &mut Reservation,
    ) -> io::Result<()> {
        let mut directory = self.directories[directory_of(name)].lock();
        let before = std::fs::metadata(self.layout.path(name)).ok();
        let before = before.map(|metadata| footprint(metadata.len()));
        self.layout.rename(temporary, name)?;
        let returned = std::mem::take(&mut reserved.bytes);
        let now = Some(footprint(file_bytes));
        self.change(&mut directory, name, before, now, returned);
        Ok(())
    }

    /// Removes an entry if it is there and `may_go` of its file; gives the
    /// bytes that became free.
    pub(super) fn take_out(
        &self,
        name: &EntryName,
        may_go: impl FnOnce(&std::fs::Metadata) -> bool,
    ) -> io::Result<Option<u64>> {
        let path = self.layout.path(name);
        let mut directory = self.directories[directory_of(name)].lock();
        let Some(metadata) = if_there(std::fs::metadata(&path))? else {
            return Ok(None);
        };
        if !may_go(&metadata) {
            return Ok(None);
        }
        let removed = if_there(std::fs::remove_file(&path))?;
        let bytes = footprint(metadata.len());
        self.change(&mut directory, name, Some(bytes), None, 0);
        Ok(removed.map(|()| bytes))
    }

    /// Removes the entry that this file was opened as.
    pub(super) fn take_out_damaged(&self, name: &EntryName, file: &File) {
        let damaged = file.metadata();
        let result = damaged.and_then(|damaged| {
            self.take_out(name, |now| {
                (now.dev(), now.ino()) == (damaged.dev(), damaged.ino())
            })
        });
        match result {
            Ok(_) => tracing::warn!(entry = ?name, "damaged on disk, removed"),
            Err(error) => tracing::warn!(entry = ?name, %error, "damaged on disk, still there"),
        }
    }

    /// Keeps an entry from being evicted until a moment; says whether it is
    /// there.
    pub(super) fn pin(&self, name: &EntryName, until: Timestamp) -> io::Result<bool> {
        let latest = Timestamp(self.clock.now().0.saturating_add(PIN_MICROS_MAX));
        if until > latest {
            return Ok(false);
        }
        let _unmoved = self.directories[directory_of(name)].lock();
        let Some(file) = if_there(File::open(self.layout.path(name)))? else {
            return Ok(false);
        };
        let used = modified(&file.metadata()?);
        if used < until || used > latest {
            set_modified(&file, until)?;
        }
        Ok(true)
    }

    /// Lists a directory and counts it anew.
    pub(super) fn recount(&self, _: &mut Hand, number: usize) -> io::Result<Vec<Found>> {
        let directory = &self.directories[number];
        directory.lock().noted = Some(Vec::new());
        let listed = list(&self.layout.directory(number));
        let mut directory = directory.lock();
        let noted = directory.noted.take().unwrap_or_default();
        let mut found = match listed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let used = self.clock.now();
        for (name, now) in noted {
            found.retain(|found| found.name != name);
            found.extend(now.map(|file_bytes| Found {
                name,
                file_bytes,
                used,
            }));
        }
        let usage = Usage {
            entries: found.len() as u64,
            bytes: found.iter().map(Found::footprint).sum(),
        };
        self.set(&mut directory, usage, 0);
        Ok(found)
    }

    fn change(
        &self,
        directory: &mut Directory,
        name: &EntryName,
        before: Option<u64>,
        now: Option<u64>,
        returned: u64,
    ) {
        // What was not counted yet cannot be taken off.
        let mut usage = directory.usage;
        usage.entries = usage.entries.saturating_sub(u64::from(before.is_some()));
        usage.bytes = usage.bytes.saturating_sub(before.unwrap_or(0));
        usage.entries += u64::from(now.is_some());
        usage.bytes = usage.bytes.saturating_add(now.unwrap_or(0));
        self.set(directory, usage, returned);
        if let Some(noted) = &mut directory.noted {
            noted.push((*name, now));
        }
    }

    fn set(&self, directory: &mut Directory, usage: Usage, returned: u64) {
        let before = std::mem::replace(&mut directory.usage, usage);
        let mut totals = self.totals.lock();
        totals.usage.entries = totals.usage.entries - before.entries + usage.entries;
        totals.usage.bytes = totals.usage.bytes - before.bytes + usage.bytes;
        totals.reserved -= returned;
    }
}

/// Room for an entry on its way in, given back when it has arrived or failed.
pub(super) struct Reservation {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.totals.lock().reserved -= self.bytes;
    }
}

/// Absence is an answer.
pub(super) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
