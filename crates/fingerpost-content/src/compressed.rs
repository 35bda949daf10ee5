//! A store whose entries are compressed, in blocks, so that any range can be
//! read without what lies before it.

mod format;
mod on_disk;
mod shrinking;

use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use fingerpost_core::{Cacher, CacherError, Content, EntryName, SpoolOptions, Usage};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use self::format::{BLOCK, LEN_MAX, Layout, block_len, decompress, place};
pub use self::on_disk::OnDisk;
use self::shrinking::{Raw, Shrinking, Shrunk};
use crate::pool::Pool;
use crate::reading::read_exact;

/// A block of so many plain bytes and less is undone where it is read: another
/// thread costs as much.
const AT_ONCE: usize = 32 << 10;

/// Stores entries in `inner` compressed (zstd, blocks of 1 MiB of plain bytes).
/// A reader has one block in memory. An entry whose first block shrinks by less
/// than a tenth, as one that is compressed already, is stored as it is.
///
/// Entries lie under [their name's twin](EntryName::twin) in `inner`. So what
/// was stored there before it was compressed is not found, and what is
/// compressed is never taken for a plain entry by whoever uses `inner` without
/// this. What is found and is not of this format is [`CacherError::Damaged`],
/// and is removed.
pub struct Compressed {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn Cacher>,
    spool: SpoolOptions,
    /// Blocks that are undone and made at once. Readers do not wait for those
    /// who store.
    reads: Pool,
    writes: Pool,
}

impl Compressed {
    /// Compresses what goes into `inner`. How long an entry is then is known at
    /// its end: until then it is held as `spool` says. Longer ones than that
    /// takes are refused with [`CacherError::Length`].
    pub fn new(inner: Arc<dyn Cacher>, spool: SpoolOptions) -> Self {
        let calls = available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            inner,
            spool,
            reads: Pool::new(calls),
            writes: Pool::new(calls),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    async fn open(&self, name: &EntryName) -> Result<Option<Arc<dyn Content>>, CacherError> {
        let name = name.twin();
        let Some(stored) = self.shared.inner.look_up(&name).await? else {
            return Ok(None);
        };
        let layout = Layout::read(&*stored).await;
        Ok(Some(Arc::new(Entry {
            layout: self.shared.unless_damaged(&name, layout).await?,
            shared: Arc::clone(&self.shared),
            name,
            stored,
            last: Mutex::default(),
        })))
    }

    async fn take(&self, name: &EntryName, content: Arc<dyn Content>) -> Result<(), CacherError> {
        let (name, len) = (name.twin(), content.len());
        let first = read_exact(&*content, 0, block_len(len, 0)).await?;
        let spool = self.shared.spool.clone();
        let begin = move || Shrinking::begin(spool, len, first);
        let mut shrinking = match self.shared.writes.run(begin).await? {
            Ok(shrinking) => shrinking,
            Err(first) => {
                let raw = Raw::new(first, content);
                return self.shared.inner.store(&name, Arc::new(raw)).await;
            }
        };
        if len > LEN_MAX.min(self.shared.spool.bytes_max) {
            return Err(CacherError::Length { len });
        }
        while shrinking.taken() < len {
            let start = shrinking.taken();
            let plain = read_exact(&*content, start, block_len(len, start)).await?;
            let add = move || shrinking.add(&plain);
            shrinking = self.shared.writes.run(add).await?;
        }
        let stored = self.shared.writes.run(move || shrinking.finish()).await?;
        let shrunk = Shrunk::new(stored, content);
        self.shared.inner.store(&name, Arc::new(shrunk)).await
    }
}

impl Shared {
    /// Removes an entry that turns out to be damaged, so that it is made again
    /// and nobody is sent to it.
    async fn unless_damaged<T>(
        &self,
        name: &EntryName,
        result: Result<T, CacherError>,
    ) -> Result<T, CacherError> {
        if let Err(CacherError::Damaged(_)) = result
            && let Err(error) = self.inner.remove(name).await
        {
            tracing::debug!(%error, "cannot remove what is damaged: {error}");
        }
        result
    }
}

impl std::fmt::Debug for Compressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compressed({})", self.shared.inner.name())
    }
}

impl Cacher for Compressed {
    fn name(&self) -> &str {
        self.shared.inner.name()
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        Box::pin(self.open(name))
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(self.take(name, content))
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(async move { self.shared.inner.remove(&name.twin()).await })
    }

    fn usage(&self) -> Option<Usage> {
        self.shared.inner.usage()
    }
}

/// An entry that was found.
struct Entry {
    shared: Arc<Shared>,
    /// What it has in the store behind.
    name: EntryName,
    stored: Arc<dyn Content>,
    layout: Layout,
    /// The block that was read last, since readers take less than one at a
    /// time.
    last: Mutex<Option<(u64, Bytes)>>,
}

impl Entry {
    async fn read_checked(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let len = self.layout.len();
        if offset >= len {
            return Ok(Bytes::new());
        }
        let left = usize::try_from(len - offset).unwrap_or(usize::MAX);
        let max = max.min(left);
        match &self.layout {
            Layout::Raw { .. } => {
                let read = self.stored.read(format::HEADER as u64 + offset, max).await;
                read.map(|bytes| bytes.slice(..bytes.len().min(max)))
            }
            Layout::Blocks { borders, .. } => {
                let block = offset / BLOCK as u64;
                let plain = self.block(borders, block).await?;
                let start = (offset % BLOCK as u64) as usize;
                let end = start.saturating_add(max).min(plain.len());
                Ok(plain.slice(start..end))
            }
        }
    }

    /// All of a block, which is there.
    async fn block(&self, borders: &[u64], block: u64) -> Result<Bytes, CacherError> {
        if let Some((last, plain)) = &*self.last.lock()
            && *last == block
        {
            return Ok(plain.clone());
        }
        let place = place(borders, block)
            .ok_or_else(|| CacherError::Damaged(format!("block {block} is missing")))?;
        let stored_len = (place.end - place.start) as usize;
        let stored = read_exact(&*self.stored, place.start, stored_len).await?;
        let len = block_len(self.layout.len(), block * BLOCK as u64);
        let plain = match len <= AT_ONCE {
            true => decompress(&stored, len)?,
            false => {
                let work = move || decompress(&stored, len);
                self.shared.reads.run(work).await?
            }
        };
        *self.last.lock() = Some((block, plain.clone()));
        Ok(plain)
    }
}

impl Content for Entry {
    fn len(&self) -> u64 {
        self.layout.len()
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(async move {
            let read = self.read_checked(offset, max).await;
            self.shared.unless_damaged(&self.name, read).await
        })
    }
}

#[cfg(test)]
mod tests;
