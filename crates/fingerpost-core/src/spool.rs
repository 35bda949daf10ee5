//! What is written once and read from any place meanwhile: in memory as long as
//! it is short, then in a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

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
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 20,
            bytes_max: 4 << 30,
            directory: None,
        }
    }
}

/// Bytes that are written once and read from any place when they are whole: in
/// memory as long as they are few, then in a file without a name.
#[derive(Debug)]
pub struct Spool {
    options: SpoolOptions,
    len: u64,
    memory: Vec<u8>,
    file: Option<Arc<File>>,
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
            let file = match &self.options.directory {
                Some(directory) => tempfile::tempfile_in(directory)?,
                None => tempfile::tempfile()?,
            };
            file.write_all_at(&self.memory, 0)?;
            self.memory = Vec::new();
            self.file = Some(Arc::new(file));
        }
        match &self.file {
            Some(file) => file.write_all_at(bytes, self.len)?,
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
            Some(file) => Arc::new(SpoolFile {
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
    File(Arc<File>, u64),
}

/// Reads at `offset` from a file of `len` bytes.
pub(crate) fn read_file(file: &File, len: u64, offset: u64, max: usize) -> io::Result<Vec<u8>> {
    let left = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; max.min(left)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// A spool that is complete.
struct SpoolFile {
    file: Arc<File>,
    len: u64,
}

impl Content for SpoolFile {
    fn len(&self) -> u64 {
        self.len
    }

    /// Reads where it is called: what was just written is in the page cache.
    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        let bytes = read_file(&self.file, self.len, offset, max);
        Box::pin(std::future::ready(
            bytes.map(Bytes::from).map_err(CacherError::from),
        ))
    }
}
