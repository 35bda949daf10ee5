//! Records of one size in partitions of a scratch file.
//!
//! The file has no name, so a killed process leaves nothing behind. All
//! partitions share it, block by block: a file for each would meet the limit
//! on open files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// About this many bytes are gathered for a partition before they are written.
const BLOCK_BYTES: usize = 32 << 10;

/// A scratch file that is being written; `N` is the size of a record.
pub(super) struct Scratch<const N: usize> {
    file: File,
    length: u64,
    partitions: Vec<Partition>,
}

#[derive(Default)]
struct Partition {
    blocks: Vec<Block>,
    /// Records that are not in the file yet.
    rest: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Block {
    offset: u64,
    bytes: usize,
}

impl<const N: usize> Scratch<N> {
    const BLOCK: usize = BLOCK_BYTES / N * N;

    /// Makes an empty file in `directory`.
    pub(super) fn new(directory: &Path, partitions: usize) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(directory)?,
            length: 0,
            partitions: std::iter::repeat_with(Partition::default)
                .take(partitions)
                .collect(),
        })
    }

    /// Appends a record to a partition.
    pub(super) fn push(&mut self, partition: usize, record: &[u8; N]) -> io::Result<()> {
        let partition = &mut self.partitions[partition];
        partition.rest.extend_from_slice(record);
        if partition.rest.len() < Self::BLOCK {
            return Ok(());
        }
        self.file.write_all_at(&partition.rest, self.length)?;
        partition.blocks.push(Block {
            offset: self.length,
            bytes: partition.rest.len(),
        });
        self.length += partition.rest.len() as u64;
        partition.rest.clear();
        Ok(())
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The records of a partition in the order in which they came.
    pub(super) fn records(&self, partition: usize) -> Records<'_, N> {
        Records {
            file: &self.file,
            partition: &self.partitions[partition],
            next: 0,
            block: Vec::new(),
            at: 0,
        }
    }
}

/// Reads a partition.
pub(super) struct Records<'a, const N: usize> {
    file: &'a File,
    partition: &'a Partition,
    next: usize,
    block: Vec<u8>,
    at: usize,
}

impl<const N: usize> Records<'_, N> {
    /// Reads the next block; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        self.at = 0;
        self.block.clear();
        match self.partition.blocks.get(self.next) {
            Some(block) => {
                self.block.resize(block.bytes, 0);
                self.file.read_exact_at(&mut self.block, block.offset)?;
            }
            None if self.next == self.partition.blocks.len() => {
                self.block.extend_from_slice(&self.partition.rest);
            }
            None => return Ok(false),
        }
        self.next += 1;
        Ok(!self.block.is_empty())
    }
}

impl<const N: usize> Iterator for Records<'_, N> {
    type Item = io::Result<[u8; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.block.len() {
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let record = self.block[self.at..]
            .first_chunk::<N>()
            .expect("blocks hold whole records");
        self.at += N;
        Some(Ok(*record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_keep_their_records_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::<12>::new(directory.path(), 3).unwrap();
        let record = |number: u64| {
            let mut record = [7; 12];
            record[..8].copy_from_slice(&number.to_be_bytes());
            record
        };
        for number in 0..20_000 {
            scratch
                .push(usize::from(number % 10 == 0), &record(number))
                .unwrap();
        }
        for (partition, tenth) in [(0, false), (1, true)] {
            let expected = (0..20_000).filter(|number| (number % 10 == 0) == tenth);
            let read = scratch.records(partition).map(io::Result::unwrap);
            assert!(read.eq(expected.map(record)));
        }
        assert_eq!(scratch.records(2).count(), 0);
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    }
}
