//! A drive that fails on request, under SQLite.
//!
//! A [`FaultDisk`] is a VFS that passes everything on to the operating
//! system's and remembers what no sync has confirmed. A power cut takes the
//! unconfirmed writes back and refuses every operation, as a machine that is
//! off does; [`FaultDisk::power_on`] lets a new process (new connections) find
//! what a real drive would hold. It can be full, report errors, and be slow.
//!
//! Database, journal and write-ahead log are tracked. The shared memory of WAL
//! mode is passed on to the operating system: SQLite rebuilds it from the log
//! when the first connection opens the file. Nothing is really synced, which
//! makes thousands of rounds cheap.

mod change;
mod disk;
#[expect(unsafe_code, reason = "SQLite's VFS is a C interface")]
mod ffi;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::change::Survival;
use self::disk::Disk;
pub use self::disk::{Counters, Fault, FaultKind, Operation};

/// One drive, registered with SQLite under a name of its own for the life of
/// the process. Clones are the same drive.
#[derive(Clone)]
pub struct FaultDisk {
    disk: Arc<Disk>,
    name: String,
}

impl FaultDisk {
    /// Registers a healthy drive.
    pub fn register() -> Self {
        let disk = Arc::new(Disk::default());
        let name = ffi::register(Arc::clone(&disk));
        Self { disk, name }
    }

    /// The name of the VFS, to open databases with.
    pub fn vfs_name(&self) -> &str {
        &self.name
    }

    /// Cuts the power now.
    pub fn cut_power(&self, survival: Survival) {
        self.disk.lock().cut(survival);
    }

    /// Cuts the power once `operations` more writes, truncations and syncs were
    /// carried out, in place of the next one.
    pub fn cut_power_after(&self, operations: u64, survival: Survival) {
        self.disk.lock().plan_cut(operations, survival);
    }

    /// Whether the power is on.
    pub fn is_powered(&self) -> bool {
        self.disk.lock().is_powered()
    }

    /// Turns the power on again. Fails with the number of files that
    /// connections from before the cut still hold: a process that lost its
    /// machine cannot go on.
    pub fn power_on(&self) -> Result<(), usize> {
        self.disk.lock().power_on()
    }

    /// Sets the size of the drive in bytes; `None` is boundless. Writes that
    /// would exceed it fail with `SQLITE_FULL`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk.lock().set_capacity(bytes);
    }

    /// Bytes in all files that were opened through this VFS.
    pub fn used_bytes(&self) -> u64 {
        self.disk.lock().used_bytes()
    }

    /// Injects a fault until it is replaced; `None` heals.
    pub fn inject(&self, fault: Option<Fault>) {
        self.disk.lock().set_fault(fault);
    }

    /// Makes every sync take this long.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.disk.lock().set_delay(delay);
    }

    /// Makes syncs succeed without effect, as a drive does that lies about
    /// them. It comes to the same as SQLite's `synchronous=OFF`, which leaves
    /// them out.
    pub fn set_lying(&self, lying: bool) {
        self.disk.lock().set_lying(lying);
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.disk.lock().counters()
    }
}
