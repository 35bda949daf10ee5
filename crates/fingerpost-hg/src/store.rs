//! The directory that holds a repository's revlogs.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::beneath;
use crate::error::StoreError;
use crate::site::DirectoryIdentity;
use crate::verified::Verified;

mod limits;
mod path_encoding;
mod requirements;

pub use limits::Limits;
pub use path_encoding::PathEncoding;
pub use requirements::{Requirements, RequirementsError};

/// The `.hg` directory that holds a store, where that was decided already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlace {
    /// Its path.
    pub dot_hg: PathBuf,
    /// Which directory it was: another one that is found there later was not
    /// decided on.
    pub identity: DirectoryIdentity,
}

/// An opened store: the directory, what the repository requires, and how much
/// of it may be read at once.
///
/// The directory is held open, so that each file costs one look-up of a short
/// name, and so that a repository that is moved or replaced keeps answering
/// from the one that was opened.
#[derive(Debug)]
pub struct Store {
    dir: OwnedFd,
    dot_hg: PathBuf,
    requirements: Requirements,
    encoding: PathEncoding,
    limits: Limits,
    verified: Arc<Verified>,
}

impl Store {
    /// Opens the store of the repository whose `.hg` directory this is, or of
    /// the repository that it shares: the one that is at `place`, or without it
    /// the one that the file `sharedpath` names. `verified` is the process's
    /// memory of what was verified already.
    ///
    /// # Errors
    ///
    /// Returns a requirement that is not supported, what the system said, or
    /// that another directory is at `place` than was.
    pub fn open(
        dot_hg: &Path,
        place: Option<&StorePlace>,
        limits: Limits,
        verified: Arc<Verified>,
    ) -> Result<Self, StoreError> {
        let requirements = Requirements::read(dot_hg, place.map(|place| &*place.dot_hg))?;
        let flags = beneath::LOOK | OFlags::DIRECTORY;
        let cannot = |error| failed("store", "cannot open the directory", error);
        let source =
            rustix::fs::open(requirements.source(), flags, Mode::empty()).map_err(cannot)?;
        let opened = FileStamp::of(&rustix::fs::fstat(&source).map_err(cannot)?);
        if place.is_some_and(|place| place.identity != opened.identity()) {
            return Err(StoreError::Replaced {
                file: requirements.source().display().to_string(),
            });
        }
        let dir = beneath::open(source.as_fd(), "store", flags).map_err(cannot)?;
        Ok(Self {
            dir,
            dot_hg: dot_hg.to_owned(),
            encoding: PathEncoding::of(&requirements),
            requirements,
            limits,
            verified,
        })
    }

    /// What the repository requires.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// How tracked paths become names of store files.
    pub fn encoding(&self) -> PathEncoding {
        self.encoding
    }

    /// The limits under which its files are read.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The memory of what was verified.
    pub fn verified(&self) -> &Arc<Verified> {
        &self.verified
    }

    /// The `.hg` directory that was opened.
    pub fn dot_hg(&self) -> &Path {
        &self.dot_hg
    }

    /// The `.hg` directory that holds the store: the same, or that of the
    /// shared source.
    pub fn source(&self) -> &Path {
        self.requirements.source()
    }

    /// The directory, to open files in relative to it.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Opens a file of the store for reading; `None` if there is none.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<StoreFile>, StoreError> {
        let opened = beneath::open(self.dir(), name, beneath::READ);
        let Some(fd) = present(opened).map_err(|error| failed(name, "cannot open it", error))?
        else {
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&fd)
            .map_err(|error| failed(name, "cannot read its status", error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let what = "it is not a regular file".to_owned();
            return Err(StoreError::Corrupt {
                file: name.to_owned(),
                what,
            });
        }
        let (stamp, file) = (FileStamp::of(&stat), File::from(fd));
        Ok(Some(StoreFile { file, stamp }))
    }

    /// The stamp of a file of the store; `None` if there is none.
    pub(crate) fn stamp(&self, name: &str) -> Result<Option<FileStamp>, StoreError> {
        let stat = present(beneath::stat(self.dir(), name))
            .map_err(|error| failed(name, "cannot read its status", error))?;
        Ok(stat.as_ref().map(FileStamp::of))
    }
}

/// An open file of a store, with its state when it was opened.
#[derive(Debug)]
pub(crate) struct StoreFile {
    pub(crate) file: File,
    pub(crate) stamp: FileStamp,
}

/// Which file it was, and in which state. Two stamps that are equal are of the
/// same bytes, unless somebody wrote twice within one tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStamp {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last write, in seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Time of the last change of the inode, in seconds and nanoseconds.
    pub ctime: (i64, i64),
}

impl FileStamp {
    /// The stamp in what the system says of a file.
    pub fn of(stat: &Stat) -> Self {
        // The types of these fields differ from platform to platform.
        #[expect(clippy::unnecessary_cast, reason = "not on every platform")]
        Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    /// Which file or directory it was.
    pub const fn identity(&self) -> DirectoryIdentity {
        DirectoryIdentity {
            dev: self.dev,
            ino: self.ino,
        }
    }

    /// Whether the file may be this one after something was appended, or
    /// after nothing happened at all.
    pub fn may_have_grown_to(&self, later: &Self) -> bool {
        (self.dev, self.ino) == (later.dev, later.ino) && self.size <= later.size
    }
}

/// Turns the errors that mean "there is no such file" into `None`.
fn present<T>(opened: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        // A name that no file can have is the name of no file.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the system said of a file, as an error that names it.
pub(crate) fn failed(file: &str, what: &'static str, error: Errno) -> StoreError {
    match error {
        Errno::LOOP => StoreError::SymbolicLink {
            file: file.to_owned(),
        },
        error => io_error(file, what, error.into()),
    }
}

pub(crate) fn io_error(file: &str, what: &'static str, source: io::Error) -> StoreError {
    StoreError::Io {
        file: file.to_owned(),
        what,
        source,
    }
}

/// Reads a whole regular file of at most `bytes_max` bytes. A symbolic link is an error.
fn small_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let flags = beneath::READ | OFlags::NOFOLLOW;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP => io::Error::other("a symbolic link is not followed"),
        error => error.into(),
    })?;
    let file = File::from(opened);
    // A named pipe or a device has no end.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is too long",
        )),
        false => Ok(bytes),
    }
}

/// Fills a buffer from a file, from `offset` on. Returns how much of it, which
/// is less than all of it where the file ends.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads at most `len` bytes of a file from `offset` on.
pub(crate) fn read_new(file: &File, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let read = read_at(file, &mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
