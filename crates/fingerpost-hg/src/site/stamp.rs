//! Whether a file is still the one that was read.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fingerpost_core::Timestamp;

/// What identifies the content of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// There is no such file.
    Missing,
    /// It could not be looked at or read. Why not may pass without a trace.
    Unreadable,
    /// There is.
    File {
        /// Device and inode.
        file: (u64, u64),
        /// Bytes.
        size: u64,
        /// When the content was written last, in seconds and nanoseconds.
        modified: (i64, i64),
        /// When anything of it changed last.
        changed: (i64, i64),
    },
}

impl Stamp {
    /// The stamp of what `path` leads to now.
    ///
    /// # Errors
    ///
    /// Those of `stat`, except that nothing is there.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Self::from(&metadata)),
            Err(error) if is_missing(&error) => Ok(Self::Missing),
            Err(error) => Err(error),
        }
    }

    /// Whether a file that was read at `read_at` with this stamp has certainly
    /// the same content as long as the stamp stays the same. A file that
    /// changed just before could change again within the same tick of its
    /// clock, so it has to be read again.
    pub(super) const fn settled(&self, read_at: Timestamp) -> bool {
        match self {
            Self::Missing => true,
            Self::Unreadable => false,
            Self::File { changed, .. } => {
                let changed = changed
                    .0
                    .saturating_mul(1_000_000)
                    .saturating_add(changed.1 / 1000);
                changed < read_at.minus_micros(MARGIN_MICROS).0
            }
        }
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self::File {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Whether an error says that nothing is there.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Longer than a tick of any file system's clock.
const MARGIN_MICROS: i64 = 2_500_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn changed_at(seconds: i64) -> Stamp {
        Stamp::File {
            file: (1, 2),
            size: 3,
            modified: (0, 0),
            changed: (seconds, 0),
        }
    }

    #[test]
    fn a_file_settles_once_its_change_is_older_than_a_tick() {
        let stamp = changed_at(100);
        assert!(!stamp.settled(Timestamp(100_000_000)));
        assert!(!stamp.settled(Timestamp(102_500_000)));
        assert!(stamp.settled(Timestamp(102_500_001)));
        assert!(Stamp::Missing.settled(Timestamp(0)));
    }

    #[test]
    fn a_clock_that_is_behind_the_file_never_settles_it() {
        assert!(!changed_at(i64::MAX).settled(Timestamp(i64::MAX)));
        assert!(!changed_at(100).settled(Timestamp(i64::MIN)));
    }

    #[test]
    fn content_size_and_absence_show_in_the_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hgrc");
        assert_eq!(Stamp::of(&path).unwrap(), Stamp::Missing);
        assert_eq!(Stamp::of(&path.join("below")).unwrap(), Stamp::Missing);
        std::fs::write(&path, "a").unwrap();
        let one = Stamp::of(&path).unwrap();
        std::fs::write(&path, "ab").unwrap();
        assert_ne!(Stamp::of(&path).unwrap(), one);
    }
}
