//! Side shards: the signatures of a shard's rows.
//!
//! A head (magic, number of signed rows), for each of them its number in the shard and the end of
//! its record, and the records: the outhash that was signed, 32 bytes, and the signature's text.

use std::io;

use crate::files::ReadAt;
use crate::shard::SHARD_ROWS_MAX;
use crate::{Damage, Hash};

use fingerpost_signatures::SIGNATURE_BYTES_MAX;

/// Bytes of a side shard at most: of [`SHARD_ROWS_MAX`] signatures it has nearly as many.
pub const SIDE_BYTES_MAX: u64 = 21_600_000;

const MAGIC: &[u8; 8] = b"fpsigns1";
const HEAD_BYTES: usize = 12;
const ENTRY_BYTES: usize = 8;
const RECORD_BYTES_MAX: usize = 32 + SIGNATURE_BYTES_MAX;

/// Who signed a row, and the field of the signed row that a snapshot does not have otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The outhash of the row; one that is not 64 lower-case hex digits cannot be here.
    pub outhash: Hash,
    /// The signature's text as it came, 1 to [`SIGNATURE_BYTES_MAX`] bytes. It need not be well-formed.
    pub signature: String,
}

impl Signed {
    /// Whether it fits into a snapshot.
    pub(crate) fn fits(&self) -> bool {
        (1..=SIGNATURE_BYTES_MAX).contains(&self.signature.len())
    }
}

/// The signatures of a shard that is being written.
#[derive(Default)]
pub(crate) struct SideBuilder {
    index: Vec<(u32, usize)>,
    records: Vec<u8>,
}

impl SideBuilder {
    /// Adds the signature of a row, behind those of earlier rows.
    pub(crate) fn push(&mut self, row: u32, signed: &Signed) {
        self.records.extend_from_slice(&signed.outhash);
        self.records.extend_from_slice(signed.signature.as_bytes());
        self.index.push((row, self.records.len()));
    }

    /// The number of signed rows and the bytes; `None` without any. Is empty afterwards.
    pub(crate) fn finish(&mut self) -> Option<(u32, Vec<u8>)> {
        let count = self.index.len();
        if count == 0 {
            return None;
        }
        let start = HEAD_BYTES + count * ENTRY_BYTES;
        let mut bytes = Vec::with_capacity(start + self.records.len());
        bytes.extend_from_slice(MAGIC);
        // Not more than the rows of a shard, and far below 4 GiB.
        bytes.extend_from_slice(&(count as u32).to_be_bytes());
        for (row, end) in self.index.drain(..) {
            bytes.extend_from_slice(&row.to_be_bytes());
            bytes.extend_from_slice(&((start + end) as u32).to_be_bytes());
        }
        bytes.append(&mut self.records);
        Some((count as u32, bytes))
    }
}

/// A side shard that is read. Only its head was looked at.
pub(crate) struct Side {
    bytes: Box<dyn ReadAt>,
    count: usize,
}

impl Side {
    /// How many rows are signed, by the head in all bytes of a side shard: at least one, and each
    /// has its entry.
    pub(crate) fn parse(whole: &[u8]) -> Result<usize, Damage> {
        count(whole).ok_or(Damage::Form)
    }

    /// The side shard with so many signed rows, and where its bytes are read.
    pub(crate) fn new(count: usize, bytes: Box<dyn ReadAt>) -> Self {
        Self { bytes, count }
    }

    /// The signature of a row.
    pub(crate) fn find(&self, row: u32) -> io::Result<Option<Signed>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.entry(middle)?.0.cmp(&row) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return self.record(middle).map(Some),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// Every signature with the number of its row, of a side shard that is whole and belongs to
    /// a shard of `rows` rows.
    pub(crate) fn all(&self, rows: u32) -> io::Result<Result<Vec<(u32, Signed)>, Damage>> {
        let mut all = Vec::with_capacity(self.count);
        for number in 0..self.count {
            let (row, _) = self.entry(number)?;
            all.push((row, self.record(number)?));
        }
        let in_order = all.is_sorted_by(|(a, _), (b, _)| a < b);
        let fit = all.last().is_none_or(|(row, _)| *row < rows);
        let end = self.entry(self.count - 1)?.1;
        let is_whole = u64::from(end) == self.bytes.size()?;
        Ok((in_order && fit && is_whole)
            .then_some(all)
            .ok_or(Damage::Rows))
    }

    /// Row and end of a record.
    fn entry(&self, number: usize) -> io::Result<(u32, u32)> {
        let mut entry = [0; ENTRY_BYTES];
        let place = HEAD_BYTES + number * ENTRY_BYTES;
        self.bytes.read_exact_at(&mut entry, place as u64)?;
        let both = u64::from_be_bytes(entry);
        Ok(((both >> 32) as u32, both as u32))
    }

    fn record(&self, number: usize) -> io::Result<Signed> {
        let start = match number.checked_sub(1) {
            Some(before) => self.entry(before)?.1,
            None => (HEAD_BYTES + self.count * ENTRY_BYTES) as u32,
        };
        let (_, end) = self.entry(number)?;
        let length = end.checked_sub(start).map_or(0, |length| length as usize);
        if !(33..=RECORD_BYTES_MAX).contains(&length) {
            return Err(malformed());
        }
        let mut record = vec![0; length];
        self.bytes.read_exact_at(&mut record, start.into())?;
        let (outhash, text) = record.split_first_chunk().ok_or_else(malformed)?;
        let signature = std::str::from_utf8(text).map_err(|_| malformed())?;
        Ok(Signed {
            outhash: *outhash,
            signature: signature.to_owned(),
        })
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a signature is malformed")
}

fn count(whole: &[u8]) -> Option<usize> {
    let (count, rest) = whole.strip_prefix(MAGIC)?.split_first_chunk()?;
    let count = u32::from_be_bytes(*count);
    let fits = (1..=SHARD_ROWS_MAX).contains(&count);
    let count = count as usize;
    (fits && rest.len() >= count * ENTRY_BYTES).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(number: u8) -> Signed {
        Signed {
            outhash: [number; 32],
            signature: "s".repeat(usize::from(number) + 1),
        }
    }

    fn opened(bytes: &[u8]) -> Result<Side, Damage> {
        let count = Side::parse(bytes)?;
        Ok(Side::new(count, Box::new(bytes.to_vec())))
    }

    #[test]
    fn a_signature_is_found_by_its_row() {
        let mut builder = SideBuilder::default();
        let rows = [0, 3, 4, 99];
        (0..)
            .zip(rows)
            .for_each(|(n, row)| builder.push(row, &signed(n)));
        let (count, bytes) = builder.finish().unwrap();
        assert!(builder.finish().is_none());
        let side = opened(&bytes).unwrap();
        assert_eq!((count as usize, side.count), (4, 4));
        for (number, row) in (0..).zip(rows) {
            assert_eq!(side.find(row).unwrap(), Some(signed(number)));
        }
        for other in [1, 2, 5, 98, 100, u32::MAX] {
            assert_eq!(side.find(other).unwrap(), None);
        }
        assert_eq!(side.all(100).unwrap().unwrap().len(), 4);
        assert!(side.all(99).unwrap().is_err(), "a row that is not there");
        for end in 0..bytes.len() {
            let whole = opened(&bytes[..end]).is_ok_and(|side| matches!(side.all(100), Ok(Ok(_))));
            assert!(!whole, "{end} bytes");
        }
    }

    #[test]
    fn the_largest_is_within_the_limit() {
        let most =
            HEAD_BYTES as u64 + u64::from(SHARD_ROWS_MAX) * (ENTRY_BYTES + RECORD_BYTES_MAX) as u64;
        assert!(most <= SIDE_BYTES_MAX && most > SIDE_BYTES_MAX * 98 / 100);
    }
}
