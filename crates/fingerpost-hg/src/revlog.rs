//! Revlogs: the append-only files that hold every revision of one thing.

use std::fs::File;
use std::sync::{Arc, OnceLock};

use fingerpost_hg_proto::Node;

use crate::error::StoreError;
use crate::store::{FileStamp, Limits};
use crate::texts::Texts;
use crate::verified::{Verified, VerifiedRevs};

mod chunk;
mod entry;
mod index;
mod inline;
mod name;
mod node_map;
mod open;
mod prefix;
mod refresh;
mod reread;
mod rev;
mod undisturbed;

pub use chunk::Scratch;
pub(crate) use chunk::forget_large;
pub use entry::{FLAG_CENSORED, FLAG_ELLIPSIS, FLAG_EXTERNAL, FLAG_HAS_COPIES};
pub use name::RevlogName;
pub use prefix::NodePrefix;
pub use refresh::Refreshed;
pub use rev::Rev;

pub(crate) use entry::ENTRY_BYTES;
use entry::rev_or_none;
use index::Index;
use node_map::NodeMap;

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
    /// Tells revisions by their nodes on disk.
    node_map: Option<Arc<NodeMap>>,
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

    /// Where the stored form of a revision begins, in bytes from the start of
    /// all data; the entries of an inline index do not count.
    pub(crate) fn stored_start(&self, rev: Rev) -> u64 {
        self.index.entry(rev).offset(rev.index())
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

    /// The entry of a revision, as it is in the file.
    pub(crate) fn entry(&self, rev: Rev) -> &[u8] {
        self.index.entry(rev).0
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
        let candidate = self.node_map.as_ref().and_then(|map| map.candidate(node));
        match candidate {
            Some(rev) if self.checked(rev.0).is_some() && self.node(rev) == *node => Some(rev),
            _ => self.index.rev(node),
        }
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

#[cfg(test)]
mod tests;
