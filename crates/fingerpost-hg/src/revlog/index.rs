//! The index of a revlog in memory.

use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use fingerpost_hg_proto::Node;
use hashbrown::HashTable;

use super::Rev;
use super::entry::{ENTRY_BYTES, Entry, NULL_ENTRY};

/// Up to so many revisions, comparing every node is quicker than a table.
const SCAN_REVISIONS: usize = 12;

/// The entries of a revlog, all of them checked.
///
/// A grown index shares the entries that were read before: it is a list of
/// pieces, each at least twice as long as the one after it, so there are few,
/// and an entry is copied a logarithmic number of times however often the file
/// grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pieces: Vec<Arc<Piece>>,
    len: usize,
}

#[derive(Debug)]
struct Piece {
    /// Number of the first revision.
    first: usize,
    /// Whole entries.
    entries: Box<[u8]>,
    /// Revision numbers by node, built when a node is first looked up.
    by_node: OnceLock<HashTable<u32>>,
}

/// The entry of a revision is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadEntry {
    pub(crate) rev: usize,
    pub(crate) what: &'static str,
}

impl Index {
    /// How many revisions there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// This index with more entries after its own. A part of an entry at the
    /// end is left out.
    pub(crate) fn extended(&self, mut entries: Vec<u8>) -> Result<Self, BadEntry> {
        entries.truncate(entries.len() / ENTRY_BYTES * ENTRY_BYTES);
        let (mut pieces, mut first) = (self.pieces.clone(), self.len);
        self.check(&entries)?;
        if entries.is_empty() {
            return Ok(self.clone());
        }
        let len = first + entries.len() / ENTRY_BYTES;
        while let Some(last) = pieces.pop_if(|last| last.entries.len() < 2 * entries.len()) {
            first = last.first;
            entries = [&last.entries, entries.as_slice()].concat();
        }
        pieces.push(Arc::new(Piece {
            first,
            entries: entries.into_boxed_slice(),
            by_node: OnceLock::new(),
        }));
        Ok(Self { pieces, len })
    }

    /// Checks entries that come after those of this index.
    fn check(&self, entries: &[u8]) -> Result<(), BadEntry> {
        let mut end = match self.len {
            0 => 0,
            len => data_end(self.entry(Rev((len - 1) as u32)), len - 1),
        };
        for (count, entry) in entries.as_chunks::<ENTRY_BYTES>().0.iter().enumerate() {
            let (rev, entry) = (self.len + count, Entry(entry));
            let bad = |what| BadEntry { rev, what };
            if rev >= Rev::COUNT_MAX {
                return Err(bad("there are too many revisions"));
            }
            if let Some(what) = entry.fault(rev) {
                return Err(bad(what));
            }
            if entry.offset(rev) < end {
                return Err(bad("its data begins before the end of the data before it"));
            }
            end = data_end(entry, rev);
        }
        Ok(())
    }

    /// The entry of a revision; that of the null revision for a number that is
    /// not in the index.
    pub(crate) fn entry(&self, rev: Rev) -> Entry<'_> {
        let rev = rev.index();
        // The first piece holds at least half of all revisions.
        let piece = self.pieces.iter().find(|piece| rev < piece.end());
        let entry = piece.and_then(|piece| piece.entry(rev.checked_sub(piece.first)?));
        entry.unwrap_or(Entry(&NULL_ENTRY))
    }

    /// The entries of the first `count` revisions.
    pub(crate) fn entries(&self, count: usize) -> impl Iterator<Item = &[u8; ENTRY_BYTES]> {
        let pieces = self.pieces.iter();
        pieces
            .flat_map(|piece| piece.entries.as_chunks().0)
            .take(count)
    }

    #[cfg(test)]
    pub(crate) fn has_table(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| piece.by_node.get().is_some())
    }

    #[cfg(test)]
    pub(crate) fn piece_count(&self) -> usize {
        self.pieces.len()
    }

    /// The first revision of a node.
    pub(crate) fn rev(&self, node: &Node) -> Option<Rev> {
        self.pieces.iter().find_map(|piece| piece.rev(node))
    }
}

impl Piece {
    fn len(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    fn end(&self) -> usize {
        self.first + self.len()
    }

    fn entry(&self, index: usize) -> Option<Entry<'_>> {
        let at = index.checked_mul(ENTRY_BYTES)?;
        let bytes = self.entries.get(at..at + ENTRY_BYTES)?;
        bytes.try_into().ok().map(Entry)
    }

    fn nodes(&self) -> impl Iterator<Item = &[u8; Node::BYTES]> {
        let entries = self.entries.as_chunks::<ENTRY_BYTES>().0;
        entries.iter().map(|entry| Entry(entry).node_bytes())
    }

    fn rev(&self, node: &Node) -> Option<Rev> {
        let wanted = node.as_bytes();
        if self.len() <= SCAN_REVISIONS {
            let index = self.nodes().position(|node| node == wanted)?;
            return Some(Rev((self.first + index) as u32));
        }
        let node_at = |index: u32| self.entry(index as usize).map(Entry::node_bytes);
        let table = self.by_node.get_or_init(|| self.table());
        let found = table.find(hash(wanted), |&index| node_at(index) == Some(wanted));
        found.map(|&index| Rev(self.first as u32 + index))
    }

    fn table(&self) -> HashTable<u32> {
        let mut table = HashTable::with_capacity(self.len());
        let node_at = |index: u32| self.entry(index as usize).map(Entry::node_bytes);
        let hash_at = |&index: &u32| node_at(index).map_or(0, hash);
        for (index, node) in self.nodes().enumerate() {
            // A node comes once in a revlog; a file that repeats one must not
            // make long chains of equal hashes.
            let same = |&other: &u32| node_at(other) == Some(node);
            table
                .entry(hash(node), same, hash_at)
                .or_insert(index as u32);
        }
        table
    }
}

/// Where the data of a checked entry ends.
fn data_end(entry: Entry<'_>, rev: usize) -> u64 {
    entry.offset(rev) + u64::from(entry.stored_len().unsigned_abs())
}

/// Nodes are hashes already, but those of a damaged or malicious index need not
/// be: they could all share the bytes that a table looks at.
fn hash(node: &[u8; Node::BYTES]) -> u64 {
    static SEED: OnceLock<foldhash::fast::RandomState> = OnceLock::new();
    SEED.get_or_init(Default::default).hash_one(node)
}
