//! What is written once and read from any place meanwhile: in memory as long as
//! it is short, then in a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{CacherError, Content};

/// Where the bytes of a [`Spool`] go.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Up to so many bytes stay in memory. 1 MiB.
    pub memory_bytes_max: usize,
    /// More than this is not taken. 4 GiB.
    pub bytes_max: u64,
    /// Where longer ones go; the system's directory for temporary files if
    /// there is none.
    pub directory: Option<PathBuf>,
    /// How much all of them take there.
    pub room: SpoolRoom,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 20,
            bytes_max: 4 << 30,
            directory: None,
            room: SpoolRoom::new(u64::MAX),
        }
    }
}

/// Disk space that spools share. Clones are the same room.
#[derive(Clone, Debug)]
pub struct SpoolRoom {
    pub(crate) bytes_max: u64,
    taken: Arc<AtomicU64>,
}

impl SpoolRoom {
    /// So many bytes.
    pub fn new(bytes_max: u64) -> Self {
        let taken = Arc::default();
        Self { bytes_max, taken }
    }

    /// Bytes of files that are there at the moment.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        let more = |taken: u64| {
            let taken = taken.checked_add(bytes)?;
            (taken <= self.bytes_max).then_some(taken)
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        match self.taken.fetch_update(set, fetch, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "other answers take all the room for those that are being made",
            )),
        }
    }
}

/// A file without a name, and the room that it takes until it is dropped.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    file: File,
    room: SpoolRoom,
    taken: AtomicU64,
}

impl SpoolFile {
    fn create(options: &SpoolOptions) -> io::Result<Self> {
        Ok(Self {
            file: match &options.directory {
                Some(directory) => tempfile::tempfile_in(directory)?,
                None => tempfile::tempfile()?,
            },
            room: options.room.clone(),
            taken: AtomicU64::new(0),
        })
    }

    fn append(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.room.take(len)?;
        self.taken.fetch_add(len, Ordering::Relaxed);
        self.file.write_all_at(bytes, at)
    }

    /// Reads at `offset` out of the first `len` bytes.
    pub(crate) fn read(&self, len: u64, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; max.min(left)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.room.taken.fetch_sub(taken, Ordering::Relaxed);
    }
}

/// Bytes that are written once and read from any place when they are whole: in
/// memory as long as they are few, then in a file without a name.
#[derive(Debug)]
pub struct Spool {
    options: SpoolOptions,
    len: u64,
    memory: Vec<u8>,
    file: Option<Arc<SpoolFile>>,
}

impl Spool {
    /// No bytes yet.
    pub const fn new(options: SpoolOptions) -> Self {
        Self {
            options,
            len: 0,
            memory: Vec::new(),
            file: None,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes. Blocks while it writes.
    ///
    /// # Errors
    ///
    /// Of the file, or that they are too many. The spool is of no use then.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.len.saturating_add(bytes.len() as u64) > self.options.bytes_max {
            let kind = io::ErrorKind::FileTooLarge;
            return Err(io::Error::new(kind, "it is longer than an entry may be"));
        }
        if self.file.is_none() && self.memory.len() + bytes.len() > self.options.memory_bytes_max {
            let file = SpoolFile::create(&self.options)?;
            file.append(&self.memory, 0)?;
            self.memory = Vec::new();
            self.file = Some(Arc::new(file));
        }
        match &self.file {
            Some(file) => file.append(bytes, self.len)?,
            None => self.memory.extend_from_slice(bytes),
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Where the bytes so far are. Those that were written stay as they are, so
    /// a file is read without a lock.
    pub(crate) fn source(&self) -> Source<'_> {
        match &self.file {
            Some(file) => Source::File(Arc::clone(file), self.len),
            None => Source::Memory(&self.memory),
        }
    }

    /// The bytes so far, which shall be all.
    pub fn content(&self) -> Arc<dyn Content> {
        match &self.file {
            Some(file) => Arc::new(WholeFile {
                file: Arc::clone(file),
                len: self.len,
            }),
            None => Arc::new(Bytes::copy_from_slice(&self.memory)),
        }
    }
}

/// Where written bytes are to be read.
pub(crate) enum Source<'a> {
    Memory(&'a [u8]),
    File(Arc<SpoolFile>, u64),
}

/// A spool that is complete.
struct WholeFile {
    file: Arc<SpoolFile>,
    len: u64,
}

impl Content for WholeFile {
    fn len(&self) -> u64 {
        self.len
    }

    /// Reads where it is called: what was just written is in the page cache.
    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        let bytes = self.file.read(self.len, offset, max);
        Box::pin(std::future::ready(
            bytes.map(Bytes::from).map_err(CacherError::from),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spools_share_their_room_and_give_it_back() {
        let options = SpoolOptions {
            memory_bytes_max: 4,
            room: SpoolRoom::new(10),
            ..SpoolOptions::default()
        };
        let mut one = Spool::new(options.clone());
        one.write(b"abcd").unwrap();
        assert_eq!(options.room.taken(), 0, "what is in memory takes none");
        one.write(b"ef").unwrap();
        assert_eq!(options.room.taken(), 6);
        let mut other = Spool::new(options.clone());
        let full = other.write(b"ghijk").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::QuotaExceeded);
        drop(other);
        one.write(b"ghij").unwrap();
        let whole = one.content();
        drop(one);
        assert_eq!((whole.len(), options.room.taken()), (10, 10));
        drop(whole);
        assert_eq!(options.room.taken(), 0);
        Spool::new(options).write(b"ghijk").unwrap();
    }
}
