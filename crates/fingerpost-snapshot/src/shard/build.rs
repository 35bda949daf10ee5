//! Shards that are written.

use super::{BLOCK_ROWS, ENTRY_BYTES, HEAD_BYTES, MAGIC, Mapping, block};
use crate::Hash;

/// The rows of a shard, as they come in ascending order of taskhashes.
#[derive(Default)]
pub(crate) struct ShardBuilder {
    /// Of the block that is not full.
    pending: Vec<Mapping>,
    /// First taskhash of each block and its end in `blocks`.
    index: Vec<(Hash, usize)>,
    blocks: Vec<u8>,
    rows: u32,
}

impl ShardBuilder {
    /// Adds a row, behind all others and not twice. The caller stops at
    /// [`SHARD_ROWS_MAX`](super::SHARD_ROWS_MAX).
    pub(crate) fn push(&mut self, row: Mapping) {
        self.pending.push(row);
        self.rows += 1;
        if self.pending.len() == BLOCK_ROWS {
            self.end_block();
        }
    }

    pub(crate) const fn rows(&self) -> u32 {
        self.rows
    }

    fn end_block(&mut self) {
        if let Some(first) = self.pending.first() {
            block::write(&self.pending, &mut self.blocks);
            self.index.push((first.taskhash, self.blocks.len()));
            self.pending.clear();
        }
    }

    /// The shard's first taskhash and its bytes; `None` without rows. Is empty afterwards.
    pub(crate) fn finish(&mut self) -> Option<(Hash, Vec<u8>)> {
        self.end_block();
        let (first, _) = *self.index.first()?;
        let start = HEAD_BYTES + self.index.len() * ENTRY_BYTES;
        let mut bytes = Vec::with_capacity(start + self.blocks.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.rows.to_be_bytes());
        for (first, end) in self.index.drain(..) {
            bytes.extend_from_slice(&first);
            // A shard is far below 4 GiB.
            bytes.extend_from_slice(&((start + end) as u32).to_be_bytes());
        }
        bytes.append(&mut self.blocks);
        self.rows = 0;
        Some((first, bytes))
    }
}
