//! Files of the store as they are, cut where a snapshot ends.

use std::fs::File;
use std::sync::Arc;

use crate::revlog::ENTRY_BYTES;
use crate::store::{io_error, read_new};
use crate::{FileStamp, Rev, Revlog, RevlogName, Snapshot, Store, StoreError};

/// A file of the store that is read as it is, up to a length.
#[derive(Debug)]
pub(crate) struct RawFile {
    opened: Opened,
    len: u64,
    last: Arc<LastEntry>,
}

#[derive(Clone, Debug)]
struct Opened {
    name: String,
    file: Arc<File>,
}

/// The last entry of the index, which says whether the files still hold what
/// was verified of them.
///
/// A strip cuts the files and lets them grow again, perhaps with what is secret.
/// hg cuts the index before anything is appended, and appends to it after the
/// data: so whoever finds this entry *after* reading has read from before that.
#[derive(Debug)]
struct LastEntry {
    index: Opened,
    at: u64,
    entry: Vec<u8>,
}

impl RawFile {
    /// Its name, relative to the directory `store`.
    pub(crate) fn name(&self) -> &str {
        &self.opened.name
    }

    /// How many bytes of it belong to the snapshot.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// At most `bytes_max` bytes from `offset` on; never fewer than there are,
    /// and none that were written after the snapshot.
    pub(crate) fn read(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(bytes_max, |left| left.min(bytes_max));
        let bytes = self.opened.read(offset, wanted)?;
        self.last.check()?;
        Ok(bytes)
    }
}

impl Opened {
    /// Opens the file that a stamp was taken of, if it still is that file and
    /// has so many bytes.
    fn open(
        store: &Store,
        name: Option<String>,
        stamp: &FileStamp,
        len: u64,
    ) -> Result<Self, StoreError> {
        let name = name.unwrap_or_default();
        let Some(opened) = store.open_file(&name)? else {
            return Err(StoreError::Missing { file: name });
        };
        let is_same = opened.stamp.identity() == stamp.identity() && opened.stamp.size >= len;
        let file = Arc::new(opened.file);
        let opened = Self { name, file };
        match is_same {
            true => Ok(opened),
            false => Err(opened.changed()),
        }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let bytes = read_new(&self.file, len, offset)
            .map_err(|source| io_error(&self.name, "cannot read it", source))?;
        match bytes.len() == len {
            true => Ok(bytes),
            false => Err(self.changed()),
        }
    }

    fn changed(&self) -> StoreError {
        StoreError::Corrupt {
            file: self.name.clone(),
            what: "it was cut while it was read".to_owned(),
        }
    }
}

impl LastEntry {
    fn check(&self) -> Result<(), StoreError> {
        match self.index.read(self.at, ENTRY_BYTES)? == self.entry {
            true => Ok(()),
            false => Err(self.index.changed()),
        }
    }
}

/// The files of a revlog, cut behind its first `revisions` revisions.
pub(crate) fn raw_files(
    store: &Store,
    name: RevlogName<'_>,
    revlog: &Revlog,
    revisions: usize,
) -> Result<Vec<RawFile>, StoreError> {
    let last = revisions.checked_sub(1).and_then(Rev::from_index);
    let (Some(last), Some([index, data])) = (last, revlog.stamps()) else {
        return Ok(Vec::new());
    };
    let entries = (ENTRY_BYTES * revisions) as u64;
    let data_end = revlog.stored_start(last) + u64::from(revlog.stored_len(last));
    // In an inline index each entry is behind the data of those before it.
    let (index_len, data_before) = match revlog.is_inline() {
        true => (entries + data_end, revlog.stored_start(last)),
        false => (entries, 0),
    };
    let index = Opened::open(store, name.index_file(store), &index, index_len)?;
    let last = Arc::new(LastEntry {
        index: index.clone(),
        at: data_before + entries - ENTRY_BYTES as u64,
        entry: revlog.entry(last).to_vec(),
    });
    last.check()?;
    let of = |opened, len| RawFile {
        opened,
        len,
        last: Arc::clone(&last),
    };
    let mut files = vec![of(index, index_len)];
    if !revlog.is_inline() {
        let data = Opened::open(store, name.data_file(store), &data, data_end)?;
        files.push(of(data, data_end));
    }
    Ok(files)
}

/// The files of the changelog, cut at the snapshot's end.
pub(crate) fn changelog_files(snapshot: &Snapshot) -> Result<Vec<RawFile>, StoreError> {
    let revlog = snapshot.changelog().revlog();
    raw_files(
        snapshot.store(),
        RevlogName::Changelog,
        revlog,
        snapshot.len(),
    )
}

/// The files of the manifest, without what a transaction that is not done yet
/// has appended.
pub(crate) fn manifest_files(
    snapshot: &Snapshot,
    manifests: &Revlog,
) -> Result<Vec<RawFile>, StoreError> {
    let is_of_it = |rev: &Rev| (manifests.link_rev(*rev) as usize) < snapshot.len();
    let last = manifests.revs().rev().find(is_of_it);
    let count = last.map_or(0, |last| last.index() + 1);
    raw_files(snapshot.store(), RevlogName::Manifest, manifests, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Revision, RevlogWriter, empty_repository, open_store};

    #[test]
    fn bytes_that_were_written_over_are_not_given_out() {
        for inline in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let store = empty_repository(dir.path());
            let write = |texts: [&str; 2]| {
                let mut revlog = RevlogWriter::new(inline, true);
                for (link, text) in texts.into_iter().enumerate() {
                    revlog.add(Revision::root(text.as_bytes(), link as u32));
                }
                revlog.write(&store, "00changelog.i", "00changelog.d");
            };
            write(["first", "public"]);
            let opened = open_store(dir.path());
            let name = RevlogName::Changelog;
            let revlog = Revlog::open(&opened, name).unwrap();
            let files = raw_files(&opened, name, &revlog, 2).unwrap();
            for file in &files {
                assert_eq!(file.read(0, 1 << 20).unwrap().len() as u64, file.len());
            }
            // As long as before, and in the same files.
            write(["first", "secret"]);
            for file in &files {
                assert!(file.read(0, 8).unwrap_err().may_be_stale());
            }
        }
    }
}
