//! Shards: up to [`SHARD_ROWS_MAX`] rows of one method, in the order of their taskhashes.
//!
//! A head, an index with the first taskhash and the end of each block, and blocks of
//! [`BLOCK_ROWS`] rows. Hashes are random, so nothing is compressed: a block leaves out the bytes
//! that its sorted taskhashes share, and a unihash that is the taskhash is one bit. A look-up is
//! a search in the index, one read of a block and a search in it.

mod block;
mod build;
mod read;

pub(crate) use build::ShardBuilder;
pub(crate) use read::{Index, Shard};

use crate::Hash;

/// Rows of every block but the last one of a shard.
pub const BLOCK_ROWS: usize = 64;

/// Rows of a shard at most.
pub const SHARD_ROWS_MAX: u32 = 1 << 17;

/// Bytes of a shard at most: of [`SHARD_ROWS_MAX`] rows that share nothing it has 1 % less.
pub const SHARD_BYTES_MAX: u64 = 8_500_000;

/// What a shard begins with.
const MAGIC: &[u8; 8] = b"fpshard1";

/// Magic and number of rows.
const HEAD_BYTES: usize = 12;

/// First taskhash of a block and the place behind its last byte.
const ENTRY_BYTES: usize = 36;

/// What a taskhash is mapped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) taskhash: Hash,
    pub(crate) unihash: Hash,
}

/// Blocks of a shard with so many rows.
const fn blocks(rows: u32) -> usize {
    (rows as usize).div_ceil(BLOCK_ROWS)
}

#[cfg(test)]
mod tests;
