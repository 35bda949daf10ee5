//! Reading an entry through the descriptor that it was opened with, which
//! stays good when the entry is evicted.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use fingerpost_core::{CacherError, Content, EntryName};
use futures_util::future::BoxFuture;
use rustix::buffer::spare_capacity;

use super::Store;
use crate::sealed::Sealed;

/// An entry's last use is noted as often as this at most: it costs a write.
const USE_NOTED_EVERY_MICROS: i64 = 300_000_000;

impl Store {
    /// Opens an entry. A small one is read and checked at once, a big one
    /// while it is read.
    pub(super) fn open(
        self: &Arc<Self>,
        name: &EntryName,
    ) -> Result<Option<Arc<dyn Content>>, CacherError> {
        let path = self.room.layout.path(name);
        let Some(file) = super::room::if_there(File::open(path))? else {
            return Ok(None);
        };
        let file = Arc::new(file);
        let metadata = file.metadata()?;
        let len = metadata.len();
        let first = pread(&file, 0, Sealed::first_len(len))?;
        let mut is_big = false;
        let opened = Sealed::open_with(name, first, || {
            is_big = true;
            Arc::new(SealedFile {
                store: Arc::clone(self),
                file: Arc::clone(&file),
                len,
            })
        });
        let content = match opened {
            Err(error @ CacherError::Damaged(_)) => {
                self.room.take_out_damaged(name, &file);
                return Err(error);
            }
            opened => opened?,
        };
        let now = self.room.clock.now();
        if self.keeper.is_some()
            && super::layout::modified(&metadata) < now.minus_micros(USE_NOTED_EVERY_MICROS)
        {
            // A directory that cannot be written to can be read from.
            let _ = super::layout::set_modified(&file, now);
        }
        if !is_big {
            return Ok(Some(content));
        }
        Ok(Some(Arc::new(BigEntry {
            store: Arc::clone(self),
            name: *name,
            file,
            content,
        })))
    }
}

/// The sealed bytes of an entry.
struct SealedFile {
    store: Arc<Store>,
    file: Arc<File>,
    len: u64,
}

impl Content for SealedFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        let file = Arc::clone(&self.file);
        Box::pin(self.store.reads.run(move || Ok(pread(&file, offset, max)?)))
    }
}

/// An entry that goes when it turns out to be damaged.
struct BigEntry {
    store: Arc<Store>,
    name: EntryName,
    file: Arc<File>,
    content: Arc<dyn Content>,
}

impl BigEntry {
    async fn read_or_remove(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let result = self.content.read(offset, max).await;
        if let Err(CacherError::Damaged(_)) = result {
            let (store, name, file) = (Arc::clone(&self.store), self.name, Arc::clone(&self.file));
            let remove = move || {
                store.room.take_out_damaged(&name, &file);
                Ok(())
            };
            self.store.writes.run(remove).await?;
        }
        result
    }
}

impl Content for BigEntry {
    fn len(&self) -> u64 {
        self.content.len()
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(self.read_or_remove(offset, max))
    }
}

/// Reads up to `max` bytes, fewer only at the end, into memory that nobody
/// had to clear.
fn pread(file: &File, offset: u64, max: usize) -> std::io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(max);
    while buffer.len() < max {
        let at = offset.saturating_add(buffer.len() as u64);
        match rustix::io::pread(file, spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(max);
    Ok(buffer.into())
}
