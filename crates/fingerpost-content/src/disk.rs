//! Entries on disk, one file each.
//!
//! There is no index. A look-up opens the file by its name, which the file
//! system finds among millions in some microseconds, warm; so that starting
//! costs nothing, whatever the number of entries. How much is there is counted
//! in the background. The last use of an entry is its file's time of
//! modification, noted every five minutes at most, and lies in the future for
//! an entry that is pinned: both outlive a restart and cost no memory. An
//! index in SQLite would have to be kept in step with the files through
//! crashes, at the cost of a transaction for each use.
//!
//! Files are [sealed](crate::Sealed), written under a temporary name and then
//! renamed, without fsync: checksums notice what a power cut tore. A damaged
//! entry is removed by whoever finds it.
//!
//! Several processes may share a directory. None sees wrong bytes or half an
//! entry; temporary files of others are left alone while they run. Each keeps
//! to its own limit by what it wrote itself and saw when it counted last,
//! every hour and at each eviction, so that together they may exceed it for
//! that long. An entry pinned by another process in the very moment of its
//! eviction may go.
//!
//! Ready-made stores do not do: cacache has no limit in bytes, foyer's disk
//! cache takes and gives whole entries in memory, where one may have 2 GiB.

mod buffers;
mod eviction;
mod keeper;
mod layout;
mod listing;
mod reader;
mod room;
mod writer;

use std::path::Path;
use std::sync::Arc;

use fingerpost_core::{Cacher, CacherError, Clock, Content, EntryName, Timestamp, Usage};
use futures_util::future::BoxFuture;

use self::buffers::Buffers;
pub use self::eviction::Removal;
use self::keeper::Keeper;
use self::layout::{DIRECTORIES, Layout, directory_of};
pub use self::listing::Found;
use self::listing::{find, footprint, list};
use self::room::Room;
use self::writer::Writer;
use crate::pool::Pool;
use crate::sealed::Sealing;

/// Blocking calls at once for look-ups and reading.
const READS_MAX: usize = 64;
/// Blocking calls at once for everything else; stores that wait for eviction
/// must not stand before look-ups.
const WRITES_MAX: usize = 16;
/// What is asked of a content in one go when it is stored, 1 MiB of blocks.
const CHUNK_BYTES: usize = (1 << 20) + 256;
/// The most that [`Disk::list`] gives at once.
const LIST_MAX: usize = 10_000;

/// A store on disk with a limit in bytes.
pub struct Disk {
    store: Arc<Store>,
}

struct Store {
    room: Arc<Room>,
    /// `None` for a store that is only inspected.
    keeper: Option<Keeper>,
    reads: Pool,
    writes: Pool,
    buffers: Arc<Buffers>,
    /// Writes that are to find the disk full.
    #[cfg(test)]
    full: std::sync::atomic::AtomicU32,
}

impl Disk {
    /// Opens or makes a store below `directory` that holds up to `bytes_max`
    /// bytes. Files count in blocks of 4 KiB. Takes some milliseconds, in
    /// which it blocks; what is there is counted afterwards. Until that is
    /// done, the limit may be exceeded by what is stored meanwhile.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made or written to.
    pub fn open(
        directory: &Path,
        bytes_max: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CacherError> {
        let layout = Layout::open(directory, clock.now())?;
        let room = Arc::new(Room::new(layout, bytes_max, clock));
        let keeper = Keeper::start(Arc::clone(&room))?;
        Ok(Self::over(room, Some(keeper)))
    }

    /// Opens the store below `directory` for an administrator, beside servers
    /// that use it; `None` if there never was one. It evicts nothing, counts
    /// nothing and notes no uses, so that looking changes nothing; but what it
    /// finds damaged goes.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read and written to.
    pub fn inspect(directory: &Path, clock: Arc<dyn Clock>) -> Result<Option<Self>, CacherError> {
        if !Layout::is_at(directory)? {
            return Ok(None);
        }
        let layout = Layout::open(directory, clock.now())?;
        let room = Arc::new(Room::new(layout, u64::MAX, clock));
        Ok(Some(Self::over(room, None)))
    }

    fn over(room: Arc<Room>, keeper: Option<Keeper>) -> Self {
        let store = Store {
            keeper,
            room,
            reads: Pool::new(READS_MAX),
            writes: Pool::new(WRITES_MAX),
            buffers: Arc::default(),
            #[cfg(test)]
            full: std::sync::atomic::AtomicU32::new(0),
        };
        let store = Arc::new(store);
        Self { store }
    }

    /// Keeps an entry from being evicted until a moment: a URL to it was handed
    /// out. Says whether the entry is there, and will be: none is kept for more
    /// than seven days ahead. A pin is never shortened. Entries can be removed although they are
    /// pinned, and are if they are damaged.
    ///
    /// # Errors
    ///
    /// [`CacherError::Io`], as when the directory is read-only.
    pub async fn pin(&self, name: &EntryName, until: Timestamp) -> Result<bool, CacherError> {
        let (store, name) = (Arc::clone(&self.store), *name);
        let pin = move || Ok(store.room.pin(&name, until)?);
        // A look-up more than a write: it must not stand behind stores.
        self.store.reads.run(pin).await
    }

    /// Removes an entry unless it is [pinned](Self::pin).
    ///
    /// # Errors
    ///
    /// [`CacherError::Io`], as when the directory is read-only.
    pub async fn remove_unpinned(&self, name: &EntryName) -> Result<Removal, CacherError> {
        let (store, name) = (Arc::clone(&self.store), *name);
        let remove = move || Ok(store.room.take_out_unpinned(&name)?);
        self.store.writes.run(remove).await
    }

    /// What the directory says of an entry, without using it.
    ///
    /// # Errors
    ///
    /// [`CacherError::Io`] if the directory cannot be read.
    pub async fn find(&self, name: &EntryName) -> Result<Option<Found>, CacherError> {
        let (store, name) = (Arc::clone(&self.store), *name);
        let find = move || Ok(find(&store.room.layout.path(&name), name)?);
        self.store.reads.run(find).await
    }

    /// Entries in the order of their names, those behind `after`, up to `max`
    /// and never more than 10,000. Meant for administrators: the names may
    /// open public stores.
    ///
    /// # Errors
    ///
    /// [`CacherError::Io`] if a directory cannot be listed.
    pub async fn list(
        &self,
        after: Option<EntryName>,
        max: usize,
    ) -> Result<Vec<Found>, CacherError> {
        let store = Arc::clone(&self.store);
        let list = move || store.list(after, max.min(LIST_MAX));
        self.store.reads.run(list).await
    }

    async fn write(&self, name: EntryName, content: Arc<dyn Content>) -> Result<(), CacherError> {
        let len = content.len();
        let sealing = Sealing::new(&name, content);
        let file_len = sealing.len();
        if footprint(file_len) > self.store.room.bytes_max {
            return Err(CacherError::Length { len });
        }
        // The whole of a small entry is one trip to the pool.
        let first = sealing.read(0, CHUNK_BYTES).await?;
        let store = Arc::clone(&self.store);
        let begin = move || {
            if store.has(&name, file_len) {
                return Ok(None);
            }
            Writer::begin(store, name, file_len)?.write(&first)
        };
        let mut writer = self.store.writes.run(begin).await?;
        while let Some(unfinished) = writer {
            let bytes = sealing.read(unfinished.written(), CHUNK_BYTES).await?;
            let write = move || unfinished.write(&bytes);
            writer = self.store.writes.run(write).await?;
        }
        Ok(())
    }
}

impl Store {
    fn has(&self, name: &EntryName, file_len: u64) -> bool {
        std::fs::metadata(self.room.layout.path(name)).is_ok_and(|file| file.len() == file_len)
    }

    fn list(&self, after: Option<EntryName>, max: usize) -> Result<Vec<Found>, CacherError> {
        let mut all = Vec::new();
        for number in after.as_ref().map_or(0, directory_of)..DIRECTORIES {
            let listed = list(&self.room.layout.directory(number));
            let mut found = room::if_there(listed)?.unwrap_or_default();
            found.retain(|found| after.is_none_or(|after| found.name > after));
            found.sort_unstable_by_key(|found| found.name);
            all.extend(found.into_iter().take(max - all.len()));
            if all.len() == max {
                break;
            }
        }
        Ok(all)
    }

    /// Where tests make the disk full.
    fn fail_if_told(&self) -> std::io::Result<()> {
        #[cfg(test)]
        {
            use std::sync::atomic::Ordering::SeqCst;
            let told = |left: u32| left.checked_sub(1);
            if self.full.fetch_update(SeqCst, SeqCst, told).is_ok() {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let usage = self.usage();
        f.debug_struct("Disk").field("usage", &usage).finish()
    }
}

/// A look-up of a damaged entry gives [`CacherError::Damaged`] once, so that
/// it is counted, and nothing from then on.
impl Cacher for Disk {
    fn name(&self) -> &str {
        "disk"
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        let (store, name) = (Arc::clone(&self.store), *name);
        Box::pin(self.store.reads.run(move || store.open(&name)))
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(self.write(*name, content))
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        let (store, name) = (Arc::clone(&self.store), *name);
        let remove = move || Ok(store.room.take_out(&name, |_| true)?.is_some());
        Box::pin(self.store.writes.run(remove))
    }

    /// `None` until everything was counted once.
    fn usage(&self) -> Option<Usage> {
        let counted = self.store.keeper.as_ref().is_some_and(Keeper::has_counted);
        counted.then(|| self.store.room.totals().usage)
    }
}

#[cfg(test)]
mod tests;
