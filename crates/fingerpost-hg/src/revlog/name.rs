//! Names of revlogs and of their files.

use std::fmt;

use crate::store::Store;

/// Which revlog of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevlogName<'a> {
    /// The changelog.
    Changelog,
    /// The manifest, or the root of tree manifests.
    Manifest,
    /// The manifest of a directory: its path without a slash at either end.
    Tree(&'a [u8]),
    /// The revisions of a tracked file: its path.
    Filelog(&'a [u8]),
}

impl fmt::Display for RevlogName<'_> {
    /// Writes the path as it is tracked, for names that no store has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changelog => f.write_str("00changelog.i"),
            Self::Manifest => f.write_str("00manifest.i"),
            Self::Tree(path) => write!(f, "meta/{}", path.escape_ascii()),
            Self::Filelog(path) => write!(f, "data/{}", path.escape_ascii()),
        }
    }
}

impl RevlogName<'_> {
    /// The name of the index relative to the directory `store`; `None` where
    /// no store can have such a file: the path is empty, absolute, or has an
    /// empty component or one that would leave the directory.
    pub fn index_file(self, store: &Store) -> Option<String> {
        self.encoded(store, "i")
    }

    /// The name of the file with the data if it is not in the index.
    pub fn data_file(self, store: &Store) -> Option<String> {
        self.encoded(store, "d")
    }

    fn encoded(self, store: &Store, suffix: &str) -> Option<String> {
        let (directory, path, name) = match self {
            Self::Changelog => return Some(format!("00changelog.{suffix}")),
            Self::Manifest => return Some(format!("00manifest.{suffix}")),
            Self::Tree(path) => ("meta/", path, "/00manifest."),
            Self::Filelog(path) => ("data/", path, "."),
        };
        let unusual = |part: &[u8]| part.is_empty() || part == b"." || part == b"..";
        if path.contains(&0) || path.split(|&byte| byte == b'/').any(unusual) {
            return None;
        }
        let parts = [
            directory.as_bytes(),
            path,
            name.as_bytes(),
            suffix.as_bytes(),
        ];
        Some(store.encoding().encode(&parts.concat()))
    }
}
