//! Shards that are read.

use std::io;

use super::block::{BLOCK_BYTES_MAX, Block};
use super::{BLOCK_ROWS, ENTRY_BYTES, HEAD_BYTES, MAGIC, Mapping, SHARD_ROWS_MAX, blocks};
use crate::{Damage, Hash, ReadAt};

/// Where the blocks of a shard are, and what they begin with: 36 bytes for each.
pub(crate) struct Index {
    rows: u32,
    firsts: Vec<Hash>,
    /// Where each block ends and the next one begins.
    ends: Vec<u32>,
}

impl Index {
    /// Reads the index in all bytes of a shard. Nothing is known of its blocks, but that they lie within.
    pub(crate) fn parse(whole: &[u8]) -> Result<Self, Damage> {
        let (rows, entries) = entries(whole).ok_or(Damage::Form)?;
        let mut index = Self {
            rows,
            firsts: Vec::with_capacity(entries.len()),
            ends: Vec::with_capacity(entries.len()),
        };
        for entry in entries {
            let (first, end) = entry.split_first_chunk().ok_or(Damage::Form)?;
            let end = end.first_chunk().ok_or(Damage::Form)?;
            index.firsts.push(*first);
            index.ends.push(u32::from_be_bytes(*end));
        }
        let in_order = index.firsts.is_sorted_by(|a, b| a < b);
        let lengths_fit = (0..entries.len()).all(|number| {
            let (start, end) = (index.start(number), index.ends[number]);
            let length = end.checked_sub(start);
            length.is_some_and(|length| length as usize <= BLOCK_BYTES_MAX)
        });
        let is_whole = index.ends.last().map(|end| *end as usize) == Some(whole.len());
        (in_order && lengths_fit && is_whole)
            .then_some(index)
            .ok_or(Damage::Form)
    }

    fn start(&self, number: usize) -> u32 {
        let of_first = HEAD_BYTES + self.firsts.len() * ENTRY_BYTES;
        number
            .checked_sub(1)
            .map_or(of_first as u32, |before| self.ends[before])
    }
}

/// A shard whose index is in memory. Its blocks are read when they are needed.
pub(crate) struct Shard {
    index: Index,
    bytes: Box<dyn ReadAt>,
}

impl Shard {
    /// The shard with this index, and where its bytes are read.
    pub(crate) fn new(index: Index, bytes: Box<dyn ReadAt>) -> Self {
        Self { index, bytes }
    }

    /// How many rows it has, at least one.
    pub(crate) const fn rows(&self) -> u32 {
        self.index.rows
    }

    /// The first taskhash.
    pub(crate) fn first(&self) -> &Hash {
        &self.index.firsts[0]
    }

    /// The row of a taskhash: its number and its unihash.
    pub(crate) fn find(&self, taskhash: &Hash) -> io::Result<Option<(u32, Hash)>> {
        let after = self.index.firsts.partition_point(|first| first <= taskhash);
        let Some(number) = after.checked_sub(1) else {
            return Ok(None);
        };
        let mut buffer = [0; BLOCK_BYTES_MAX];
        let block = self.block(number, &mut buffer)?;
        let found = block.find(taskhash);
        // Neither factor is large.
        Ok(found.map(|(row, unihash)| ((number * BLOCK_ROWS + row) as u32, unihash)))
    }

    /// Every row, of a shard that is whole and canonical.
    pub(crate) fn all(&self) -> io::Result<Result<Vec<Mapping>, Damage>> {
        let mut rows = Vec::with_capacity(self.index.rows as usize);
        for number in 0..self.index.firsts.len() {
            let mut buffer = [0; BLOCK_BYTES_MAX];
            if self.block(number, &mut buffer)?.rows(&mut rows).is_none() {
                return Ok(Err(Damage::Rows));
            }
        }
        let in_order = rows.is_sorted_by(|a, b| a.taskhash < b.taskhash);
        Ok(in_order.then_some(rows).ok_or(Damage::Rows))
    }

    fn block<'a>(
        &'a self,
        number: usize,
        buffer: &'a mut [u8; BLOCK_BYTES_MAX],
    ) -> io::Result<Block<'a>> {
        let (start, end) = (self.index.start(number), self.index.ends[number]);
        let bytes = &mut buffer[..(end - start) as usize];
        self.bytes.read_exact_at(bytes, start.into())?;
        let rows = (self.index.rows as usize - number * BLOCK_ROWS).min(BLOCK_ROWS);
        Block::parse(&self.index.firsts[number], rows, bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a block is malformed"))
    }
}

/// The number of rows and the entries of the index.
fn entries(whole: &[u8]) -> Option<(u32, &[[u8; ENTRY_BYTES]])> {
    let rest = whole.strip_prefix(MAGIC)?;
    let (rows, rest) = rest.split_first_chunk()?;
    let rows = u32::from_be_bytes(*rows);
    if !(1..=SHARD_ROWS_MAX).contains(&rows) {
        return None;
    }
    let index = rest.get(..blocks(rows) * ENTRY_BYTES)?;
    let (entries, _) = index.as_chunks();
    Some((rows, entries))
}
