//! Whether files are still those that were read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What changes when files are written, replaced, or when a link on the way to
/// them is, as Kubernetes does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<Option<OfFile>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct OfFile {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Looks at the files; one that cannot be looked at has none. Blocks.
    pub fn of<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Self {
        Self(
            files
                .map(|file| std::fs::metadata(file).ok().map(OfFile::from))
                .collect(),
        )
    }
}

impl From<Metadata> for OfFile {
    fn from(found: Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}
