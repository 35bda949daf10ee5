//! Revlogs: the append-only files that hold every revision of one thing.

use std::fmt;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use fingerpost_hg_proto::Node;

use crate::error::StoreError;
use crate::store::{FileStamp, Limits, Store, StoreFile, io_error, read_new};
use crate::texts::Texts;
use crate::verified::{Verified, VerifiedRevs};

mod chunk;
mod entry;
mod index;
mod inline;
mod prefix;
mod refresh;
mod reread;
mod rev;

pub use chunk::Scratch;
pub(crate) use chunk::forget_large;
pub use entry::{FLAG_CENSORED, FLAG_ELLIPSIS, FLAG_EXTERNAL, FLAG_HAS_COPIES};
pub use prefix::{NodePrefix, PrefixMatch};
pub use refresh::Refreshed;
pub use rev::Rev;

use entry::{ENTRY_BYTES, rev_or_none};
use index::{BadEntry, Index};

/// The low half of the header: the version.
const VERSION: u32 = 1;
/// Header flag: the data of each revision follows its entry.
const INLINE: u32 = 1 << 16;
/// Header flag: the base field of an entry is the base of its delta.
const GENERAL_DELTA: u32 = 1 << 17;

/// So often a revlog is opened again that is replaced while it is opened.
const OPEN_TRIES: usize = 4;

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

/// A revlog: its index in memory, its data in memory or behind an open file.
///
/// It never changes. A file that grew is read by [`Revlog::refresh`], which
/// makes another one. A number that is not in the index reads as the null
/// revision: null node, no parents, no text.
#[derive(Debug)]
pub struct Revlog {
    id: u64,
    file: String,
    inline: bool,
    general_delta: bool,
    index: Index,
    index_bytes: u64,
    data: Data,
    stamps: Option<[FileStamp; 2]>,
    limits: Limits,
    /// The process's memory, if this was read from a store.
    memory: Option<Arc<Verified>>,
    verified: OnceLock<VerifiedRevs>,
}

/// Where the data of the revisions is.
#[derive(Debug)]
enum Data {
    Memory(Box<[u8]>),
    File(File),
}

impl Revlog {
    /// Opens a revlog. A file that does not exist, or cannot, is a revlog
    /// without revisions: [`Revlog::exists`] tells.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the header or an entry of the index, a limit
    /// that the index is over, or what the system said.
    pub fn open(store: &Store, name: RevlogName<'_>) -> Result<Self, StoreError> {
        let limits = *store.limits();
        let Some(file) = name.index_file(store) else {
            return Ok(Self::empty(name.to_string(), limits));
        };
        for _ in 0..OPEN_TRIES {
            if let Some(revlog) = Self::open_once(store, &file, name)? {
                return Ok(revlog);
            }
        }
        Err(StoreError::Changing { file })
    }

    /// Opens a revlog, unless its index is replaced meanwhile: the data may then
    /// be that of the other index.
    fn open_once(
        store: &Store,
        file: &str,
        name: RevlogName<'_>,
    ) -> Result<Option<Self>, StoreError> {
        let limits = *store.limits();
        let Some(index) = store.open_file(file)? else {
            return Ok(Some(Self::empty(file.to_owned(), limits)));
        };
        let bytes = read_index(file, &index, &limits)?;
        let mut revlog = Self::parse(file.to_owned(), bytes, limits)?;
        revlog.memory = Some(store.verified().clone());
        revlog.stamps = Some([index.stamp; 2]);
        if !revlog.inline && !revlog.is_empty() {
            let data = revlog.open_data(store, name)?;
            let now = store.stamp(file)?;
            if !now.is_some_and(|now| index.stamp.may_have_grown_to(&now)) {
                return Ok(None);
            }
            revlog.stamps = Some([index.stamp, data.stamp]);
            revlog.data = Data::File(data.file);
        }
        Ok(Some(revlog))
    }

    /// Reads a revlog from the bytes of its index and, if it is not inline, of
    /// its data. `file` is its name in errors.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the header or an entry of the index.
    pub fn from_bytes(
        file: &str,
        index: Vec<u8>,
        data: Vec<u8>,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let mut revlog = Self::parse(file.to_owned(), index, limits)?;
        if !revlog.inline {
            revlog.data = Data::Memory(data.into_boxed_slice());
        }
        Ok(revlog)
    }

    fn empty(file: String, limits: Limits) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            file,
            inline: false,
            general_delta: false,
            index: Index::default(),
            index_bytes: 0,
            data: Data::Memory(Box::default()),
            stamps: None,
            limits,
            memory: None,
            verified: OnceLock::new(),
        }
    }

    fn bad_entry(&self, bad: BadEntry) -> StoreError {
        let what = format!("the entry of revision {}: {}", bad.rev, bad.what);
        StoreError::Corrupt {
            file: self.file.clone(),
            what,
        }
    }

    fn parse(file: String, bytes: Vec<u8>, limits: Limits) -> Result<Self, StoreError> {
        let mut revlog = Self::empty(file, limits);
        revlog.index_bytes = bytes.len() as u64;
        let Some(header) = bytes.first_chunk() else {
            return Ok(revlog);
        };
        let header = u32::from_be_bytes(*header);
        if header & !(INLINE | GENERAL_DELTA) != VERSION {
            let file = revlog.file;
            return Err(StoreError::UnsupportedFormat { file, header });
        }
        revlog.inline = header & INLINE != 0;
        revlog.general_delta = header & GENERAL_DELTA != 0;
        let entries = match revlog.inline {
            false => bytes,
            true => {
                let (entries, data) =
                    inline::take_apart(&bytes).map_err(|bad| revlog.bad_entry(bad))?;
                revlog.data = Data::Memory(data.into_boxed_slice());
                entries
            }
        };
        revlog.index = Index::default()
            .extended(entries)
            .map_err(|bad| revlog.bad_entry(bad))?;
        Ok(revlog)
    }

    /// Opens the data file, which must be as long as the index says: a writer
    /// appends the data first.
    fn open_data(&self, store: &Store, name: RevlogName<'_>) -> Result<StoreFile, StoreError> {
        let file = name.data_file(store).unwrap_or_default();
        let Some(data) = store.open_file(&file)? else {
            return Err(StoreError::Missing { file });
        };
        let end = self.data_end();
        if data.stamp.size < end {
            let what = format!("it has {} bytes of {end}", data.stamp.size);
            return Err(StoreError::Corrupt { file, what });
        }
        Ok(data)
    }

    /// Where the data of the last revision ends.
    fn data_end(&self) -> u64 {
        let Some(last) = self.tip() else {
            return 0;
        };
        self.index.entry(last).offset(last.index()) + u64::from(self.stored_len(last))
    }

    /// A number that no other revlog of this process has, not even a later one
    /// of the same file.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Name of the index file, relative to the directory `store`.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether there is such a file.
    pub fn exists(&self) -> bool {
        self.stamps.is_some()
    }

    /// The stamps of the index and of the file with the data, which are one
    /// file in an inline revlog; `None` if there is no file.
    pub fn stamps(&self) -> Option<[FileStamp; 2]> {
        self.stamps
    }

    /// The limits under which it is read.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the data is in the file of the index.
    pub fn is_inline(&self) -> bool {
        self.inline
    }

    /// Whether a delta can be against any earlier revision.
    pub fn is_general_delta(&self) -> bool {
        self.general_delta
    }

    /// How many bytes of the index are after its last revision: of one that is
    /// being written, or damage.
    pub fn tail_bytes(&self) -> u64 {
        let entries = (self.len() * ENTRY_BYTES) as u64;
        let used = match self.inline {
            true => entries + self.data_end(),
            false => entries,
        };
        self.index_bytes.saturating_sub(used)
    }

    /// How many revisions there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no revisions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last revision.
    pub fn tip(&self) -> Option<Rev> {
        Rev::from_index(self.len().checked_sub(1)?)
    }

    /// All revisions, in ascending order.
    pub fn revs(&self) -> impl DoubleEndedIterator<Item = Rev> + ExactSizeIterator + use<> {
        (0..self.len() as u32).map(Rev)
    }

    /// The revision of this number, if there is one.
    pub fn checked(&self, number: u32) -> Option<Rev> {
        ((number as usize) < self.len()).then_some(Rev(number))
    }

    /// The node of a revision.
    pub fn node(&self, rev: Rev) -> Node {
        self.index.entry(rev).node()
    }

    /// The parents of a revision.
    pub fn parents(&self, rev: Rev) -> [Option<Rev>; 2] {
        self.index.entry(rev).parents().map(rev_or_none)
    }

    /// The nodes of the parents, null for those that are not there.
    pub fn parent_nodes(&self, rev: Rev) -> [Node; 2] {
        let node = |parent: Option<Rev>| parent.map_or(Node::NULL, |parent| self.node(parent));
        self.parents(rev).map(node)
    }

    /// The changeset that brought the revision into this store: its number in
    /// the changelog, which may be beyond the changelog's end.
    pub fn link_rev(&self, rev: Rev) -> u32 {
        // Checked entries have one; that of the null revision has none.
        u32::try_from(self.index.entry(rev).link_rev()).unwrap_or(u32::MAX)
    }

    /// The flags of a revision.
    pub fn flags(&self, rev: Rev) -> u16 {
        self.index.entry(rev).flags()
    }

    /// Whether the text was removed and a tombstone is stored instead.
    pub fn is_censored(&self, rev: Rev) -> bool {
        self.flags(rev) & FLAG_CENSORED != 0
    }

    /// Length of the text in bytes, if it is recorded.
    pub fn text_len(&self, rev: Rev) -> Option<u32> {
        u32::try_from(self.index.entry(rev).text_len()).ok()
    }

    /// Length of the stored form in bytes.
    pub fn stored_len(&self, rev: Rev) -> u32 {
        self.index.entry(rev).stored_len().unsigned_abs()
    }

    /// The revision that the stored delta is against; `None` if the full text
    /// is stored.
    pub fn delta_base(&self, rev: Rev) -> Option<Rev> {
        let base = rev_or_none(self.index.entry(rev).base())?;
        match self.general_delta {
            _ if base == rev => None,
            true => Some(base),
            // The field is the start of the chain, in which each revision is
            // a delta against the one before it.
            false => rev.0.checked_sub(1).map(Rev),
        }
    }

    /// The first `count` entries, as they are in the file.
    pub(crate) fn entries(&self, count: usize) -> impl Iterator<Item = &[u8]> {
        self.index.entries(count).map(<[u8; 64]>::as_slice)
    }

    fn verified(&self) -> &VerifiedRevs {
        let known = || self.memory.as_deref().map(|memory| memory.of(self));
        self.verified
            .get_or_init(|| known().unwrap_or_else(|| VerifiedRevs::alone(self.len())))
    }

    /// Whether a revision was verified against its node since its file last
    /// changed in another way than by growing.
    pub fn is_verified(&self, rev: Rev) -> bool {
        self.verified().contains(rev)
    }

    /// Remembers that a revision was verified.
    pub(crate) fn set_verified(&self, rev: Rev) {
        match &self.memory {
            Some(memory) => memory.add(self.verified(), rev),
            None => self.verified().set(rev),
        }
    }

    /// Verifies a revision against its node unless that was done already. Who
    /// sends a stored delta as it is calls this before.
    ///
    /// # Errors
    ///
    /// As [`Texts::text`].
    pub fn ensure_verified(&self, rev: Rev, texts: &mut Texts) -> Result<(), StoreError> {
        match self.is_verified(rev) {
            true => Ok(()),
            false => texts.text(self, rev).map(drop),
        }
    }

    /// The revision of a node.
    pub fn rev(&self, node: &Node) -> Option<Rev> {
        self.index.rev(node)
    }

    /// The revision of a node that something refers to.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Missing`] if there is no file, or
    /// [`StoreError::UnknownNode`] if it does not hold the node.
    pub fn require(&self, node: &Node) -> Result<Rev, StoreError> {
        let file = || self.file.clone();
        match self.rev(node) {
            Some(rev) => Ok(rev),
            None if self.exists() => Err(StoreError::UnknownNode {
                file: file(),
                node: *node,
            }),
            None => Err(StoreError::Missing { file: file() }),
        }
    }
}

/// Reads a whole index as it was when it was opened.
fn read_index(file: &str, index: &StoreFile, limits: &Limits) -> Result<Vec<u8>, StoreError> {
    let len = check_index_len(file, index.stamp.size, limits)?;
    read_new(&index.file, len, 0).map_err(|source| io_error(file, "cannot read it", source))
}

/// The length of an index that is within the limit.
fn check_index_len(file: &str, bytes: u64, limits: &Limits) -> Result<usize, StoreError> {
    let limit = limits.index_bytes_max;
    match usize::try_from(bytes) {
        Ok(len) if bytes <= limit => Ok(len),
        _ => Err(StoreError::TooLarge {
            file: file.to_owned(),
            what: "an index",
            bytes,
            limit,
        }),
    }
}

#[cfg(test)]
mod tests;
