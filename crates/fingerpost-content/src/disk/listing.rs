//! What lies in a directory.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use fingerpost_core::{EntryName, Timestamp};

use super::layout::modified;

/// An entry on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name. Whoever knows it may be able to fetch the entry.
    pub name: EntryName,
    /// Bytes of its file, which are a few more than it has.
    pub file_bytes: u64,
    /// When it was used last, to about five minutes; in the future if it is
    /// pinned until then.
    pub used: Timestamp,
}

impl Found {
    fn of(name: EntryName, metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            name,
            file_bytes: metadata.len(),
            used: modified(metadata),
        })
    }

    /// Bytes that count against the limit.
    pub(super) const fn footprint(&self) -> u64 {
        footprint(self.file_bytes)
    }
}

/// File systems give space in blocks. What they say to have given is not
/// right before the file is on the disk, so we count for ourselves.
pub(super) const fn footprint(file_bytes: u64) -> u64 {
    file_bytes.saturating_add(4095) / 4096 * 4096
}

/// The entry in a file, if it is one.
pub(super) fn find(path: &Path, name: EntryName) -> io::Result<Option<Found>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Found::of(name, &metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The entries in a directory, in no order. Files that are none of ours are
/// left alone; those that go meanwhile are left out.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        let Some(name) = file.file_name().to_str().and_then(EntryName::from_hex) else {
            continue;
        };
        match file.metadata() {
            Ok(metadata) => all.extend(Found::of(name, &metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
