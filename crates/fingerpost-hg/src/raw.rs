//! Files of the store as they are, cut where a snapshot ends.

use std::fs::File;

use crate::store::{io_error, read_new};
use crate::{Rev, Revlog, RevlogName, Snapshot, Store, StoreError};

/// The size of an entry of an index.
const ENTRY_BYTES: u64 = 64;

/// A file of the store that is read as it is, up to a length.
#[derive(Debug)]
pub(crate) struct RawFile {
    name: String,
    file: File,
    len: u64,
}

impl RawFile {
    /// Its name, relative to the directory `store`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes of it belong to the snapshot.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// At most `bytes_max` bytes from `offset` on; never fewer than there are.
    pub(crate) fn read(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(bytes_max, |left| left.min(bytes_max));
        let bytes = read_new(&self.file, wanted, offset)
            .map_err(|source| io_error(&self.name, "cannot read it", source))?;
        match bytes.len() == wanted {
            true => Ok(bytes),
            false => Err(self.changed()),
        }
    }

    /// Opens the file that a stamp was taken of, if it still is that file.
    fn open(
        store: &Store,
        name: String,
        identity: (u64, u64),
        len: u64,
    ) -> Result<Self, StoreError> {
        let Some(opened) = store.open_file(&name)? else {
            return Err(StoreError::Missing { file: name });
        };
        let (stamp, file) = (opened.stamp, opened.file);
        let raw = Self { name, file, len };
        match (stamp.dev, stamp.ino) == identity && stamp.size >= len {
            true => Ok(raw),
            false => Err(raw.changed()),
        }
    }

    fn changed(&self) -> StoreError {
        StoreError::Corrupt {
            file: self.name.clone(),
            what: "it was cut while it was read".to_owned(),
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
    let entries = ENTRY_BYTES * revisions as u64;
    let data_end = revlog.stored_start(last) + u64::from(revlog.stored_len(last));
    let file = |name: Option<String>, stamp: crate::FileStamp, len| {
        RawFile::open(store, name.unwrap_or_default(), (stamp.dev, stamp.ino), len)
    };
    let index_len = if revlog.is_inline() {
        entries + data_end
    } else {
        entries
    };
    let mut files = vec![file(name.index_file(store), index, index_len)?];
    if !revlog.is_inline() {
        files.push(file(name.data_file(store), data, data_end)?);
    }
    check_last(&files[0], revlog, last)?;
    Ok(files)
}

/// Checks that the last entry is the one that the snapshot knows: a strip may
/// have cut the file and a later commit made it long again.
fn check_last(index: &RawFile, revlog: &Revlog, last: Rev) -> Result<(), StoreError> {
    let before = if revlog.is_inline() {
        revlog.stored_start(last)
    } else {
        0
    };
    let at = before + ENTRY_BYTES * last.index() as u64 + NODE_AT;
    let node = index.read(at, fingerpost_hg_proto::Node::BYTES)?;
    match node == revlog.node(last).as_bytes() {
        true => Ok(()),
        false => Err(index.changed()),
    }
}

/// Where the node is in an entry.
const NODE_AT: u64 = 32;

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
