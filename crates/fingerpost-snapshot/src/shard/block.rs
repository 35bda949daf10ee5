//! Blocks: up to 64 rows.
//!
//! One byte: how many leading bytes all taskhashes share, 31 at most. 8 bytes, big-endian: bit i is set if
//! the unihash of row i is its taskhash. Then the taskhashes without what they share, all but the
//! first, which the index has; then the unihashes that are no taskhashes.

use super::{BLOCK_ROWS, Mapping};
use crate::Hash;

const HEAD_BYTES: usize = 9;

/// A one-row block leaves out this much; so do rows that differ in the last byte only.
const SHARED_MAX: usize = 31;

/// Bytes of a block at most.
pub(super) const BLOCK_BYTES_MAX: usize = HEAD_BYTES + BLOCK_ROWS * 64 - 32;

/// Appends the block of these rows, of which there are 1 to 64 in ascending order.
pub(super) fn write(rows: &[Mapping], out: &mut Vec<u8>) {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return;
    };
    let shared = shared(&first.taskhash, &last.taskhash);
    let equal = rows.iter().enumerate().fold(0_u64, |bits, (at, row)| {
        bits | u64::from(row.taskhash == row.unihash) << at
    });
    out.push(shared as u8);
    out.extend_from_slice(&equal.to_be_bytes());
    for row in &rows[1..] {
        out.extend_from_slice(&row.taskhash[shared..]);
    }
    for row in rows.iter().filter(|row| row.taskhash != row.unihash) {
        out.extend_from_slice(&row.unihash);
    }
}

/// How many leading bytes two taskhashes share, and all between them.
fn shared(first: &Hash, last: &Hash) -> usize {
    let pairs = first.iter().zip(last);
    pairs.take_while(|(a, b)| a == b).count().min(SHARED_MAX)
}

/// A block that is read. Its lengths fit; nothing else is known of it.
pub(super) struct Block<'a> {
    first: &'a Hash,
    rows: usize,
    shared: usize,
    equal: u64,
    /// Taskhashes from the second on, without what is shared.
    rests: &'a [u8],
    unihashes: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads the bytes of a block of `rows` rows, 1 to 64.
    pub(super) fn parse(first: &'a Hash, rows: usize, bytes: &'a [u8]) -> Option<Self> {
        let (shared, bytes) = bytes.split_first()?;
        let (equal, bytes) = bytes.split_first_chunk()?;
        let (shared, equal) = (usize::from(*shared), u64::from_be_bytes(*equal));
        let beyond = equal.checked_shr(rows as u32).unwrap_or(0);
        if shared > SHARED_MAX || beyond != 0 {
            return None;
        }
        let (rests, unihashes) = bytes.split_at_checked((rows - 1) * (32 - shared))?;
        let others = rows - equal.count_ones() as usize;
        (unihashes.len() == others * 32).then_some(Self {
            first,
            rows,
            shared,
            equal,
            rests,
            unihashes,
        })
    }

    /// The row of a taskhash: its number in the block and its unihash.
    pub(super) fn find(&self, taskhash: &Hash) -> Option<(usize, Hash)> {
        let row = match taskhash == self.first {
            true => 0,
            false => self.find_behind_first(taskhash)?,
        };
        Some((row, self.unihash(row, taskhash)?))
    }

    fn find_behind_first(&self, taskhash: &Hash) -> Option<usize> {
        let (shared, rest) = taskhash.split_at(self.shared);
        if shared != &self.first[..self.shared] {
            return None;
        }
        let (mut low, mut high) = (0, self.rows - 1);
        while low < high {
            let middle = low.midpoint(high);
            match self.rest(middle)?.cmp(rest) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle + 1),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// What is written of the taskhash of row `at + 1`.
    fn rest(&self, at: usize) -> Option<&'a [u8]> {
        let length = 32 - self.shared;
        self.rests.get(at * length..)?.get(..length)
    }

    fn unihash(&self, row: usize, taskhash: &Hash) -> Option<Hash> {
        if self.equal >> row & 1 == 1 {
            return Some(*taskhash);
        }
        let equal_before = (self.equal & ((1 << row) - 1)).count_ones() as usize;
        let place = (row - equal_before) * 32;
        self.unihashes.get(place..)?.first_chunk().copied()
    }

    /// Row `row`, if there is one.
    fn row(&self, row: usize) -> Option<Mapping> {
        let mut taskhash = *self.first;
        if let Some(at) = row.checked_sub(1) {
            taskhash[self.shared..].copy_from_slice(self.rest(at)?);
        }
        let unihash = self.unihash(row, &taskhash)?;
        Some(Mapping { taskhash, unihash })
    }

    /// Appends all rows, if they are in order and this is how [`write()`] writes them.
    pub(super) fn rows(&self, out: &mut Vec<Mapping>) -> Option<()> {
        let start = out.len();
        for number in 0..self.rows {
            let row = self.row(number)?;
            let is_equal = self.equal >> number & 1 == 1;
            if !is_equal && row.taskhash == row.unihash {
                return None;
            }
            out.push(row);
        }
        let rows = &out[start..];
        let ascending = rows.is_sorted_by(|a, b| a.taskhash < b.taskhash);
        let shared = shared(&rows.first()?.taskhash, &rows.last()?.taskhash);
        (ascending && shared == self.shared).then_some(())
    }
}
