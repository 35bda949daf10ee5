//! Writing a dump beside serving.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::CacheDump;
use super::format::{Entry, Header, METHODS_MAX, Place, Writer};
use crate::cache::{CachedTask, Remembered};
use crate::store::StoreError;

/// The cache hears of deletions within this time, or it is not used anyway.
const HEAR_MAX: Duration = Duration::from_secs(1);
const HEAR_EVERY: Duration = Duration::from_millis(5);
/// Readable by nobody else: namespaces may be.
const MODE: u32 = 0o600;

/// What became of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there, on disk.
    Dump {
        /// Mappings in it.
        entries: u64,
        /// Its size.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// The one that is there says the same.
    Unchanged,
}

/// Why there is no new dump. An older one stays.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// The file cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("another process writes {}", .0.display())]
    Busy(PathBuf),
    /// The positions of changes cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cache does not hear what other processes delete.
    #[error("the cache has not heard of the newest deletions")]
    Deaf,
    /// It took too long, or nobody waits for it any more.
    #[error("it was given up")]
    GivenUp,
}

impl CacheDump {
    /// Writes the entries to the file, which is replaced when all of them are on disk.
    /// Rests between two steps unless [`CacheDump::hurry`] was called. To be dropped at
    /// any time: then the old file stays.
    ///
    /// # Errors
    ///
    /// See [`NotWritten`].
    pub async fn write(&self) -> Result<Written, NotWritten> {
        let written = self.write_if_new().await;
        if written.is_err() {
            self.metrics.failed();
        }
        written
    }

    async fn write_if_new(&self) -> Result<Written, NotWritten> {
        let began = Instant::now();
        let revision = self.cache.revision();
        if revision == self.revision.load(Ordering::Relaxed) {
            return Ok(Written::Unchanged);
        }
        let header = self.header().await?;
        let written = header.written;
        let (entries, bytes) = self.write_entries(header).await?;
        self.revision.store(revision, Ordering::Relaxed);
        let took = began.elapsed();
        self.metrics.written(written, entries, bytes, took);
        Ok(Written::Dump {
            entries,
            bytes,
            took,
        })
    }

    /// Where everything is. When it returns, the cache has nothing that was deleted
    /// at or before these positions.
    async fn header(&self) -> Result<Header, NotWritten> {
        let written = self.clock.now();
        let mut places = Vec::with_capacity(self.chains.len());
        for chain in &self.chains {
            let cut = self.store.cut(chain.own()).await?;
            let chain = chain.clone();
            places.push(Place { chain, cut });
        }
        self.hear_of(&places).await?;
        let methods = self.cache.methods().into_iter().filter_map(|(name, id)| {
            let name = String::from_utf8(name.into()).ok()?;
            let is_told = (1..=fingerpost_snapshot::NAME_BYTES_MAX).contains(&name.len());
            is_told.then_some((id, name))
        });
        Ok(Header {
            written,
            history: self.store.history(),
            places,
            methods: methods.take(METHODS_MAX).collect(),
        })
    }

    async fn hear_of(&self, places: &[Place]) -> Result<(), NotWritten> {
        let began = Instant::now();
        let is_known =
            |place: &Place| self.store.deletion_epoch(place.chain.own()) >= place.cut.epoch;
        while !places.iter().all(is_known) {
            if began.elapsed() > HEAR_MAX {
                return Err(NotWritten::Deaf);
            }
            tokio::time::sleep(HEAR_EVERY).await;
        }
        Ok(())
    }

    /// Writes on a thread of its own; numbers of entries and bytes.
    async fn write_entries(&self, header: Header) -> Result<(u64, u64), NotWritten> {
        let stop = StopWhenDropped::default();
        let is_stopped = Arc::clone(&stop.0);
        let (cache, path, hurry) = (
            Arc::clone(&self.cache),
            self.path.clone(),
            Arc::clone(&self.hurry),
        );
        let writing = tokio::task::spawn_blocking(move || {
            let places = numbered(header.places.iter().map(|place| place.chain.own()));
            let methods = numbered(header.methods.iter().map(|(id, _)| *id));
            let entry = |(task, remembered): (CachedTask, Remembered)| {
                let (namespace, method) = task.method.parts();
                Some(Entry {
                    place: u8::try_from(*places.get(&namespace)?).ok()?,
                    method: *methods.get(&method)?,
                    taskhash: task.taskhash,
                    remembered,
                })
            };
            let max = usize::try_from(cache.entries_max()).unwrap_or(usize::MAX);
            let entries = cache.iter().take(max).filter_map(entry);
            let rest = |worked| {
                let rest = super::rest(&hurry, worked);
                std::thread::sleep(rest);
                !is_stopped.load(Ordering::Relaxed)
            };
            write_file(&path, &header, entries, rest)
        });
        let written = writing.await.unwrap_or(Err(NotWritten::GivenUp));
        drop(stop);
        written
    }
}

/// Tells a thread that nobody waits for it any more.
#[derive(Default)]
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The place of each item.
fn numbered<T: Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> HashMap<T, u16> {
    (0..=u16::MAX)
        .zip(items)
        .map(|(at, item)| (item, at))
        .collect()
}

/// Writes everything to a file beside `path`, which then takes its place. `rest` says
/// whether to go on. Each step is on disk before the next one, so that no commit of
/// the database waits behind all of them.
fn write_file(
    path: &Path,
    header: &Header,
    entries: impl Iterator<Item = Entry>,
    rest: impl Fn(Duration) -> bool,
) -> Result<(u64, u64), NotWritten> {
    let failed = |source| NotWritten::Io {
        path: path.to_owned(),
        source,
    };
    let (new, file) = create_beside(path)?;
    let mut writer = Writer::new(&file, header);
    for entry in entries {
        writer.put(&entry);
        if writer.is_due() {
            let began = Instant::now();
            writer
                .step()
                .and_then(|()| file.sync_data())
                .map_err(failed)?;
            if !rest(began.elapsed()) {
                return Err(NotWritten::GivenUp);
            }
        }
    }
    let count = writer.entries;
    let bytes = writer.finish().map_err(failed)?;
    file.sync_all().map_err(failed)?;
    if !rest(Duration::ZERO) {
        return Err(NotWritten::GivenUp);
    }
    fs::rename(&new, path).map_err(failed)?;
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = File::open(directory.unwrap_or_else(|| Path::new(".")));
    directory
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok((count, bytes))
}

/// An empty `PATH.new`, which is this process's alone while it is open.
fn create_beside(path: &Path) -> Result<(PathBuf, File), NotWritten> {
    let mut name = OsString::from(path);
    name.push(".new");
    let new = PathBuf::from(name);
    let failed = |source| NotWritten::Io {
        path: new.clone(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(&new)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(NotWritten::Busy(new)),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    // Who had it before may have put it in its place since it was opened.
    let ours = file.metadata().map_err(failed)?;
    let is_ours = fs::symlink_metadata(&new)
        .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
    if !is_ours {
        return Err(NotWritten::Busy(new));
    }
    file.set_permissions(Permissions::from_mode(MODE))
        .and_then(|()| file.set_len(0))
        .map_err(failed)?;
    Ok((new, file))
}

#[cfg(test)]
mod tests {
    use fingerpost_core::Timestamp;

    use super::*;

    fn header() -> Header {
        Header {
            written: Timestamp(1),
            history: [0; 16],
            places: Vec::new(),
            methods: Vec::new(),
        }
    }

    #[test]
    fn one_process_writes_at_a_time_and_nobody_reads_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let (new, first) = create_beside(&path).unwrap();
        assert!(matches!(create_beside(&path), Err(NotWritten::Busy(_))));
        drop(first);
        // What an earlier one left behind is written over.
        fs::write(&new, vec![1; 5000]).unwrap();
        write_file(&path, &header(), std::iter::empty(), |_| true).unwrap();
        let there = fs::metadata(&path).unwrap();
        assert!(there.len() < 5000 && there.mode() & 0o777 == MODE);
        assert!(!new.exists());
    }

    #[test]
    fn what_is_given_up_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        fs::write(&path, "old").unwrap();
        let given_up = write_file(&path, &header(), std::iter::empty(), |_| false);
        assert!(matches!(given_up, Err(NotWritten::GivenUp)));
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
