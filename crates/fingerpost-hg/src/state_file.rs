//! Small files that hg replaces whole: read once, believed for as long as
//! nothing says that they changed.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fingerpost_core::{Clock, Timestamp};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath::{self, no_link};
use crate::store::failed;
use crate::{FileStamp, StoreError};

/// How much older than the moment of reading a file's times have to be before
/// an equal stamp proves equal bytes, on a file system with times finer than a
/// second. Kernels stamp by ticks of up to 10 ms.
const FINE_MARGIN_MICROS: i64 = 100_000;
/// The same where times are whole seconds, or even ones.
const COARSE_MARGIN_MICROS: i64 = 2_100_000;

/// Whether a file with this stamp, read at `read_at`, cannot have been written
/// once more with the same stamp: the clock of the file system had moved on.
pub(crate) fn is_settled(stamp: &FileStamp, read_at: Timestamp) -> bool {
    let margin = match (stamp.mtime.1, stamp.ctime.1) {
        (0, 0) => COARSE_MARGIN_MICROS,
        _ => FINE_MARGIN_MICROS,
    };
    let micros = |(seconds, nanos): (i64, i64)| {
        seconds
            .saturating_mul(1_000_000)
            .saturating_add(nanos / 1_000)
    };
    // hg moves the mtime of what it rewrites into the future where it would be
    // ambiguous; the ctime is nobody's to set.
    micros(stamp.ctime) < read_at.0.saturating_sub(margin)
}

/// The stamp of the file under this path; `None` if there is none.
pub(crate) fn stamp_of(path: &Path, name: &str) -> Result<Option<FileStamp>, StoreError> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).and_then(no_link) {
        Ok(stat) => Ok(Some(FileStamp::of(&stat))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(failed(name, "cannot read its status", error)),
    }
}

/// Opens a regular file for reading; `None` if there is none.
pub(crate) fn open(path: &Path, name: &str) -> Result<Option<(File, FileStamp)>, StoreError> {
    let flags = beneath::READ | OFlags::NOFOLLOW;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(failed(name, "cannot open it", error)),
    };
    let stat = rustix::fs::fstat(&file).map_err(|e| failed(name, "cannot read its status", e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(corrupt(name, "it is not a regular file"));
    }
    Ok(Some((File::from(file), FileStamp::of(&stat))))
}

/// A small file of a repository.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    /// Its name in errors.
    name: &'static str,
    bytes_max: u64,
}

/// What a small file held when it was read.
#[derive(Debug)]
pub(crate) struct Content {
    stamp: Option<FileStamp>,
    bytes: Box<[u8]>,
    settled: AtomicBool,
}

impl Content {
    /// The bytes; empty if there was no file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl StateFile {
    pub(crate) fn new(path: PathBuf, name: &'static str, bytes_max: u64) -> Self {
        Self {
            path,
            name,
            bytes_max,
        }
    }

    /// The name in errors.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Reads the file. A missing one is empty.
    pub(crate) fn read(&self, clock: &dyn Clock) -> Result<Content, StoreError> {
        let read_at = clock.now();
        let Some((file, stamp)) = open(&self.path, self.name)? else {
            return Ok(Content {
                stamp: None,
                bytes: Box::default(),
                settled: AtomicBool::new(true),
            });
        };
        let check_len = |bytes: u64| match bytes > self.bytes_max {
            true => Err(StoreError::TooLarge {
                file: self.name.to_owned(),
                what: "the file",
                bytes,
                limit: self.bytes_max,
            }),
            false => Ok(()),
        };
        check_len(stamp.size)?;
        let mut bytes = Vec::new();
        file.take(self.bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| StoreError::Io {
                file: self.name.to_owned(),
                what: "cannot read it",
                source,
            })?;
        check_len(bytes.len() as u64)?;
        Ok(Content {
            stamp: Some(stamp),
            bytes: bytes.into_boxed_slice(),
            settled: AtomicBool::new(is_settled(&stamp, read_at)),
        })
    }

    /// Whether the file still holds what was read of it. Its stamp is asked,
    /// and as long as two writes may share one stamp the bytes are read again
    /// and compared.
    pub(crate) fn holds(&self, content: &Content, clock: &dyn Clock) -> Result<bool, StoreError> {
        if stamp_of(&self.path, self.name)? != content.stamp {
            return Ok(false);
        }
        if content.settled.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let again = self.read(clock)?;
        let same = again.stamp == content.stamp && again.bytes == content.bytes;
        if same {
            content
                .settled
                .fetch_or(again.settled.into_inner(), Ordering::Relaxed);
        }
        Ok(same)
    }
}

pub(crate) fn corrupt(name: &str, what: impl Into<String>) -> StoreError {
    StoreError::Corrupt {
        file: name.to_owned(),
        what: what.into(),
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_core::ManualClock;

    use super::*;

    fn file_in(dir: &tempfile::TempDir) -> StateFile {
        StateFile::new(dir.path().join("f"), "f", 10)
    }

    /// A clock that stands `seconds` after the file's times.
    fn clock_after(file: &StateFile, seconds: i64) -> ManualClock {
        let stamp = stamp_of(&file.path, "f").unwrap().unwrap();
        ManualClock::new(Timestamp((stamp.ctime.0 + seconds) * 1_000_000))
    }

    #[test]
    fn a_missing_file_is_empty_until_it_appears() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(&dir);
        let clock = ManualClock::default();
        let content = file.read(&clock).unwrap();
        assert_eq!(content.bytes(), b"");
        assert!(file.holds(&content, &clock).unwrap());
        std::fs::write(&file.path, b"").unwrap();
        assert!(!file.holds(&content, &clock).unwrap());
    }

    #[test]
    fn bytes_are_compared_while_a_stamp_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(&dir);
        std::fs::write(&file.path, b"one").unwrap();
        let young = clock_after(&file, 0);
        let mut content = file.read(&young).unwrap();
        assert!(file.holds(&content, &young).unwrap());
        // What a second write within one tick leaves: the stamp is the same.
        content.bytes = (*b"two").into();
        assert!(!file.holds(&content, &young).unwrap());
    }

    #[test]
    fn an_old_stamp_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(&dir);
        std::fs::write(&file.path, b"one").unwrap();
        let old = clock_after(&file, 10);
        let mut content = file.read(&old).unwrap();
        content.bytes = (*b"two").into();
        assert!(file.holds(&content, &old).unwrap());
    }

    #[test]
    fn a_comparison_after_the_margin_settles_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(&dir);
        std::fs::write(&file.path, b"one").unwrap();
        let content = file.read(&clock_after(&file, 0)).unwrap();
        assert!(file.holds(&content, &clock_after(&file, 10)).unwrap());
        assert!(content.settled.load(Ordering::Relaxed));
    }

    #[test]
    fn a_file_over_the_limit_and_a_directory_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(&dir);
        let clock = ManualClock::default();
        std::fs::write(&file.path, b"12345678901").unwrap();
        let error = file.read(&clock).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { limit: 10, .. }));
        let directory = StateFile::new(dir.path().to_owned(), "d", 10);
        assert!(matches!(
            directory.read(&clock),
            Err(StoreError::Corrupt { .. })
        ));
    }

    #[test]
    fn whole_seconds_need_a_longer_margin() {
        let stamp = |nanos| FileStamp {
            dev: 1,
            ino: 1,
            size: 1,
            mtime: (100, 0),
            ctime: (100, nanos),
        };
        assert!(is_settled(&stamp(1000), Timestamp(100_200_000)));
        assert!(!is_settled(&stamp(1000), Timestamp(100_050_000)));
        assert!(!is_settled(&stamp(0), Timestamp(102_000_000)));
        assert!(is_settled(&stamp(0), Timestamp(102_200_000)));
        assert!(!is_settled(&stamp(1000), Timestamp(90_000_000)));
    }
}
