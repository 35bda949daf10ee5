//! One entry of an index.

use fingerpost_hg_proto::Node;

use super::Rev;

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 64;

/// The text was removed, and a tombstone is stored instead.
pub const FLAG_CENSORED: u16 = 0x8000;
/// The text or the parents were cut down by a shallow clone.
pub const FLAG_ELLIPSIS: u16 = 0x4000;
/// The text is a pointer to a place outside of the store.
pub const FLAG_EXTERNAL: u16 = 0x2000;
/// The revision has copy information beside its text.
pub const FLAG_HAS_COPIES: u16 = 0x1000;
/// Every flag that is known.
pub(crate) const FLAGS_KNOWN: u16 = FLAG_CENSORED | FLAG_ELLIPSIS | FLAG_EXTERNAL | FLAG_HAS_COPIES;

/// The entry of the null revision: what a number reads as that is not in the index.
pub(crate) static NULL_ENTRY: [u8; ENTRY_BYTES] = {
    let mut entry = [0; ENTRY_BYTES];
    let mut at = 12;
    // Unknown length, no base, no link revision, no parents: all are -1.
    while at < 32 {
        entry[at] = 0xff;
        at += 1;
    }
    entry
};

/// An entry, as the 64 bytes that are in the file. Numbers are big endian.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a>(pub(crate) &'a [u8; ENTRY_BYTES]);

impl<'a> Entry<'a> {
    /// Where the data begins, in bytes of data from the start of the revlog.
    /// The first entry has the header in its place and begins at zero.
    pub(crate) fn offset(self, rev: usize) -> u64 {
        match rev {
            0 => 0,
            _ => self.u64_at(0) >> 16,
        }
    }

    pub(crate) fn flags(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }

    /// Length of the data in bytes.
    pub(crate) fn stored_len(self) -> i32 {
        self.i32_at(8)
    }

    /// Length of the text in bytes; -1 if it is not recorded.
    pub(crate) fn text_len(self) -> i32 {
        self.i32_at(12)
    }

    /// The base of the delta or of the delta chain.
    pub(crate) fn base(self) -> i32 {
        self.i32_at(16)
    }

    pub(crate) fn link_rev(self) -> i32 {
        self.i32_at(20)
    }

    pub(crate) fn parents(self) -> [i32; 2] {
        [self.i32_at(24), self.i32_at(28)]
    }

    pub(crate) fn node_bytes(self) -> &'a [u8; Node::BYTES] {
        self.0[32..52].try_into().expect("the range has 20 bytes")
    }

    pub(crate) fn node(self) -> Node {
        Node::from_bytes(*self.node_bytes())
    }

    /// What is wrong with the entry as the one of revision `rev`.
    pub(crate) fn fault(self, rev: usize) -> Option<&'static str> {
        let before = |number: i32| number >= -1 && i64::from(number) < rev as i64;
        let [p1, p2] = self.parents();
        match () {
            () if !before(p1) || !before(p2) => Some("a parent is not before its child"),
            () if self.stored_len() < 0 => Some("the stored length is negative"),
            () if self.text_len() < -1 => Some("the text's length is negative"),
            () if !before(self.base()) && i64::from(self.base()) != rev as i64 => {
                Some("the base of the delta is not before its revision")
            }
            () if self.link_rev() < 0 => Some("the link revision is negative"),
            () => None,
        }
    }

    fn i32_at(self, at: usize) -> i32 {
        let bytes = self.0[at..at + 4].try_into();
        i32::from_be_bytes(bytes.expect("the range has four bytes"))
    }

    fn u64_at(self, at: usize) -> u64 {
        let bytes = self.0[at..at + 8].try_into();
        u64::from_be_bytes(bytes.expect("the range has eight bytes"))
    }
}

/// A number of the index as a revision: -1 is none.
pub(crate) fn rev_or_none(number: i32) -> Option<Rev> {
    u32::try_from(number).ok().map(Rev)
}
