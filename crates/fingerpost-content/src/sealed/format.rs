//! The bytes of a sealed entry.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | `fpsealed` |
//! | 8..12 | version, 1 |
//! | 12..16 | bytes of data in a block, 65,536 |
//! | 16..32 | xxh3-128 of the entry's name |
//! | 32..40 | bytes of the entry |
//! | 40..48 | xxh3-64 of the 40 bytes before |
//! | 48.. | blocks: data, then its xxh3-64 |
//!
//! Numbers are little-endian. Every block but the last is full; an entry of no
//! bytes has none. A block's checksum is seeded with the name and the block's
//! place, so that a block of another entry or from another place is noticed as
//! well as a changed one. This finds accidents; whoever can write to the store
//! can forge entries.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use fingerpost_core::{CacherError, EntryName};
use twox_hash::{XxHash3_64, XxHash3_128};

/// Bytes of data in a block.
pub(crate) const BLOCK: usize = 64 << 10;
/// Bytes of a block's checksum.
const SUM: usize = 8;
/// Bytes of a full block with its checksum.
pub(crate) const STRIDE: u64 = (BLOCK + SUM) as u64;
/// Bytes before the first block.
pub(crate) const HEADER: usize = 48;

/// Blocks that one read takes in, so that a reader has a bounded buffer: 1 MiB.
pub(crate) const READ_BLOCKS: u64 = 16;
/// Room for the data of one read, and behind it for the checksum of the last block.
pub(crate) const READ_BYTES: usize = READ_BLOCKS as usize * BLOCK + SUM;

const MAGIC: &[u8; 8] = b"fpsealed";
const VERSION: u32 = 1;

/// How many bytes an entry of `len` bytes has when it is sealed; saturates.
pub const fn sealed_len(len: u64) -> u64 {
    let sums = len.div_ceil(BLOCK as u64).saturating_mul(SUM as u64);
    (HEADER as u64).saturating_add(len).saturating_add(sums)
}

/// What the blocks are checked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    digest: u128,
    len: u64,
}

impl Header {
    pub(crate) fn new(name: &EntryName, len: u64) -> Self {
        let digest = XxHash3_128::oneshot(name.as_bytes());
        Self { digest, len }
    }

    /// Bytes of the entry.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(BLOCK as u32).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.digest.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.len.to_le_bytes());
        let sum = XxHash3_64::oneshot(&bytes[..40]);
        bytes[40..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the header of `name`'s entry, of which there are `sealed` bytes.
    ///
    /// # Errors
    ///
    /// [`CacherError::Damaged`] unless it is the header of that entry, whole.
    pub(crate) fn decode(bytes: &[u8], name: &EntryName, sealed: u64) -> Result<Self, CacherError> {
        let Some(bytes) = bytes.first_chunk::<HEADER>() else {
            return Err(damaged("shorter than a header"));
        };
        let len = le_u64(&bytes[32..40]);
        let header = Self::new(name, len);
        // Every field is known beforehand but the length, which the checksum
        // and the number of bytes confirm.
        if header.encode() != *bytes {
            return Err(damaged("not the header of this entry"));
        }
        if sealed_len(len) != sealed {
            return Err(damaged("cut short or too long"));
        }
        Ok(header)
    }

    /// What one read of up to `max` bytes from `offset` on gives: nothing behind
    /// the end, and no more than lies in 16 blocks. Whoever reads on from there
    /// begins with a block of its own then.
    pub(crate) fn one_read(&self, offset: u64, max: usize) -> Range<u64> {
        let blocks_end = (offset / BLOCK as u64).saturating_add(READ_BLOCKS);
        let end = offset
            .saturating_add(max as u64)
            .min(blocks_end.saturating_mul(BLOCK as u64))
            .min(self.len);
        if offset < end { offset..end } else { 0..0 }
    }

    /// Where blocks lie in the sealed entry.
    pub(crate) fn place(&self, blocks: Range<u64>) -> Range<u64> {
        let start =
            |block: u64| sealed_len(self.len).min(HEADER as u64 + block.saturating_mul(STRIDE));
        start(blocks.start)..start(blocks.end)
    }

    /// Checks blocks and gives their data, all of it, moved together in place. A
    /// single block is not moved at all.
    ///
    /// # Errors
    ///
    /// [`CacherError::Damaged`] for a wrong checksum, or if something is missing.
    pub(crate) fn unseal(&self, blocks: Range<u64>, sealed: Bytes) -> Result<Bytes, CacherError> {
        let place = self.place(blocks.clone());
        if sealed.len() as u64 != place.end - place.start {
            return Err(damaged("cut short"));
        }
        if blocks.end - blocks.start == 1 {
            let data = self.check(blocks.start, &sealed)?.len();
            return Ok(sealed.slice(..data));
        }
        let mut buffer = sealed.try_into_mut().unwrap_or_else(BytesMut::from);
        let (mut block, mut from, mut to) = (blocks.start, 0, 0);
        while from < buffer.len() {
            let end = buffer.len().min(from + BLOCK + SUM);
            let data = self.check(block, &buffer[from..end])?.len();
            buffer.copy_within(from..from + data, to);
            (block, from, to) = (block + 1, end, to + data);
        }
        buffer.truncate(to);
        Ok(buffer.freeze())
    }

    /// The data of a sealed block.
    ///
    /// # Errors
    ///
    /// [`CacherError::Damaged`] for a wrong checksum.
    pub(crate) fn check<'a>(&self, block: u64, sealed: &'a [u8]) -> Result<&'a [u8], CacherError> {
        let Some((data, sum)) = sealed.split_last_chunk::<SUM>() else {
            return Err(damaged("cut short"));
        };
        if self.sum(block, data) != u64::from_le_bytes(*sum) {
            return Err(CacherError::Damaged(format!(
                "block {block} has another checksum"
            )));
        }
        Ok(data)
    }

    /// The sealed form of blocks from `first` on, of which this is the data.
    pub(crate) fn seal(&self, first: u64, data: &[u8], sealed: &mut BytesMut) {
        for (block, data) in (first..).zip(data.chunks(BLOCK)) {
            sealed.extend_from_slice(data);
            sealed.extend_from_slice(&self.sum(block, data).to_le_bytes());
        }
    }

    fn sum(&self, block: u64, data: &[u8]) -> u64 {
        // The lower half is as good a seed as the whole.
        XxHash3_64::oneshot_with_seed((self.digest as u64).wrapping_add(block), data)
    }
}

/// The blocks in which a range of an entry's data lies.
pub(crate) fn blocks_of(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK as u64..range.end.div_ceil(BLOCK as u64)
}

/// Where a range of an entry's data lies in what was unsealed of
/// [the blocks](blocks_of) around it.
pub(crate) fn within(range: &Range<u64>) -> Range<usize> {
    let skip = (range.start % BLOCK as u64) as usize;
    skip..skip + (range.end - range.start) as usize
}

fn le_u64(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(bytes);
    u64::from_le_bytes(number)
}

pub(super) fn damaged(what: &str) -> CacherError {
    CacherError::Damaged(what.to_owned())
}
