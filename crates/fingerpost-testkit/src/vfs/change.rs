//! One unsynced change of a file, and how a power cut takes it back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The unit that a drive writes whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

/// What becomes of unsynced changes when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// All are lost: the drive kept them in its cache.
    Nothing,
    /// Each one, drawn from this seed, is lost, or kept, or kept up to some
    /// sector: the drive had begun to write, in an order of its own.
    Some(u64),
}

/// A change that is in the file already and that no sync has confirmed.
pub(super) struct Change {
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    /// The bytes that it replaced; shorter than the new ones at the file's end.
    pub(super) old: Vec<u8>,
    /// Size of the file before, in bytes.
    pub(super) size_before: u64,
    pub(super) new: New,
}

/// What a change put there.
pub(super) enum New {
    Bytes(Vec<u8>),
    /// The file was cut (or stretched) to `offset`.
    End,
}

impl Change {
    /// Size of the file after the change, in bytes.
    pub(super) fn size_after(&self) -> u64 {
        match &self.new {
            New::Bytes(bytes) => self.size_before.max(self.offset + bytes.len() as u64),
            New::End => self.offset,
        }
    }

    fn undo(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.old, self.offset)?;
        file.set_len(self.size_before)
    }

    fn redo(&self, file: &File, random: &mut StdRng) -> io::Result<()> {
        match &self.new {
            New::Bytes(bytes) => {
                let kept = match random.random_range(0..3_u8) {
                    0 => 0,
                    1 => bytes.len(),
                    _ => SECTOR_BYTES * random.random_range(0..=bytes.len() / SECTOR_BYTES),
                };
                file.write_all_at(&bytes[..kept], self.offset)
            }
            New::End if random.random() => file.set_len(self.offset),
            New::End => Ok(()),
        }
    }
}

/// Takes back `changes`, the oldest first in the list, as far as `survival`
/// says. Gives the size of the file afterwards, in bytes.
pub(super) fn lose(file: &File, changes: &[Change], survival: Survival) -> io::Result<u64> {
    for change in changes.iter().rev() {
        change.undo(file)?;
    }
    if let Survival::Some(seed) = survival {
        let mut random = StdRng::seed_from_u64(seed);
        for change in changes {
            change.redo(file, &mut random)?;
        }
    }
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &File, offset: u64, bytes: &[u8]) -> Change {
        let size_before = file.metadata().unwrap().len();
        let mut old = vec![0; bytes.len().min(size_before.saturating_sub(offset) as usize)];
        file.read_exact_at(&mut old, offset).unwrap();
        file.write_all_at(bytes, offset).unwrap();
        Change {
            offset,
            old,
            size_before,
            new: New::Bytes(bytes.to_vec()),
        }
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn losing_everything_restores_overlapping_writes_and_sizes() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"synced", 0).unwrap();
        let mut changes = vec![write(&file, 3, b"unsynced"), write(&file, 0, b"over")];
        assert_eq!(changes[0].size_after(), 11);
        changes.push(Change {
            offset: 2,
            old: content(&file)[2..].to_vec(),
            size_before: 11,
            new: New::End,
        });
        file.set_len(2).unwrap();
        assert_eq!(lose(&file, &changes, Survival::Nothing).unwrap(), 6);
        assert_eq!(content(&file), b"synced");
    }

    #[test]
    fn some_changes_survive_by_seed() {
        let outcomes: std::collections::BTreeSet<Vec<u8>> = (0..50)
            .map(|seed| {
                let file = tempfile::tempfile().unwrap();
                let changes = [write(&file, 0, b"one"), write(&file, 3, b"two")];
                lose(&file, &changes, Survival::Some(seed)).unwrap();
                content(&file)
            })
            .collect();
        assert!(outcomes.contains(&b""[..]));
        assert!(outcomes.contains(&b"onetwo"[..]));
        assert!(outcomes.contains(&b"\0\0\0two"[..]));
    }
}
