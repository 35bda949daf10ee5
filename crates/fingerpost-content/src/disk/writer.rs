//! Writing an entry: beside its place, then moved there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fingerpost_core::{CacherError, EntryName};

use super::Store;
use super::layout::set_modified;
use super::listing::footprint;
use super::room::Reservation;

/// How often a write is tried again after entries were evicted for it.
const TRIES: u32 = 3;

/// An entry that is being written. Dropped before its end, it leaves nothing.
pub(super) struct Writer {
    store: Arc<Store>,
    name: EntryName,
    len: u64,
    written: u64,
    /// `None` when it is in its place or gone.
    part: Option<Part>,
}

/// What is written so far.
struct Part {
    path: PathBuf,
    file: File,
    reserved: Reservation,
}

impl Writer {
    /// Begins a file of `len` bytes.
    pub(super) fn begin(store: Arc<Store>, name: EntryName, len: u64) -> Result<Self, CacherError> {
        let reserved = store.room.reserve(footprint(len))?;
        let (path, file) = retry_when_full(&store, 0, || store.room.layout.create_temporary())?;
        Ok(Self {
            store,
            name,
            len,
            written: 0,
            part: Some(Part {
                path,
                file,
                reserved,
            }),
        })
    }

    /// Bytes that are written, from which to go on.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes the next bytes, and moves the file to its place after the last.
    /// Gives the writer back if there are more to come. Blocks.
    pub(super) fn write(mut self, bytes: &Bytes) -> Result<Option<Self>, CacherError> {
        let Some(mut part) = self.part.take() else {
            return Ok(None);
        };
        if let Err(error) = self.write_to(&mut part, bytes) {
            part.remove();
            return Err(error);
        }
        if self.written < self.len {
            self.part = Some(part);
            return Ok(Some(self));
        }
        if self.store.room.is_tight()
            && let Some(keeper) = &self.store.keeper
        {
            keeper.wake();
        }
        Ok(None)
    }

    fn write_to(&mut self, part: &mut Part, bytes: &Bytes) -> Result<(), CacherError> {
        retry_when_full(&self.store, bytes.len() as u64, || {
            self.store.fail_if_told()?;
            part.file.write_all_at(bytes, self.written)
        })?;
        self.written += bytes.len() as u64;
        if self.written < self.len {
            return Ok(());
        }
        set_modified(&part.file, self.store.room.clock.now())?;
        retry_when_full(&self.store, 0, || {
            let (path, reserved) = (&part.path, &mut part.reserved);
            self.store.room.place(path, &self.name, self.len, reserved)
        })
    }
}

impl Part {
    /// Blocks. What cannot be removed is swept at the next start.
    fn remove(self) {
        drop(self.file);
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Writer {
    /// Whoever gave up a store that hangs must not hang for what it left, so that
    /// this waits for its turn on the disk, and nobody for it.
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            self.store.writes.run_behind(move || part.remove());
        }
    }
}

/// Evicts when the disk is full although our own limit is not reached.
fn retry_when_full<T>(
    store: &Store,
    bytes: u64,
    mut work: impl FnMut() -> io::Result<T>,
) -> Result<T, CacherError> {
    for _ in 1..TRIES {
        match work() {
            Err(error) if is_full(&error) => {
                let wanted = bytes.max(store.room.headroom()).max(1);
                if store.room.free(wanted) == 0 {
                    return Err(CacherError::Full);
                }
            }
            result => return Ok(result?),
        }
    }
    work().map_err(|error| {
        if is_full(&error) {
            CacherError::Full
        } else {
            error.into()
        }
    })
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
