//! What can become of a file.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::world::run;

/// One fault of one file.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The byte at this place gets other bits.
    Flip(usize, u8),
    /// The file ends here.
    Truncate(usize),
    /// Some bytes follow.
    Append(Vec<u8>),
    /// Every byte is zero.
    Zeros,
    /// It is gone.
    Remove,
    /// A directory is in its place.
    Directory,
    /// A named pipe that nobody writes.
    Pipe,
    /// A symbolic link to itself.
    LinkLoop,
    /// The content of another file.
    Swap(PathBuf),
}

impl Fault {
    /// Does it to a file.
    pub(super) fn apply(&self, path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        match self {
            Self::Flip(at, bits) => bytes[*at] ^= bits,
            Self::Truncate(len) => bytes.truncate(*len),
            Self::Append(more) => bytes.extend(more),
            Self::Zeros => bytes.fill(0),
            Self::Swap(other) => bytes = std::fs::read(other).unwrap(),
            Self::Remove | Self::Directory | Self::Pipe | Self::LinkLoop => {
                std::fs::remove_file(path).unwrap();
                return self.replace(path);
            }
        }
        std::fs::write(path, bytes).unwrap();
    }

    fn replace(&self, path: &Path) {
        match self {
            Self::Directory => std::fs::create_dir(path).unwrap(),
            Self::Pipe => run(Command::new("mkfifo").arg(path)),
            Self::LinkLoop => symlink(path.file_name().unwrap(), path).unwrap(),
            _ => {}
        }
    }
}

/// Faults that leave something else than the file.
pub(super) fn replacements() -> Vec<Fault> {
    vec![
        Fault::Remove,
        Fault::Directory,
        Fault::Pipe,
        Fault::LinkLoop,
        Fault::Zeros,
        Fault::Append(vec![0; 64]),
        Fault::Append(b"\xff".to_vec()),
    ]
}

/// Cuts of a file of `len` bytes: of each class of length that matters to one
/// of the formats.
pub(super) fn cuts(len: usize) -> Vec<Fault> {
    let mut ends = vec![
        0,
        1,
        4,
        63,
        64,
        65,
        len / 3,
        len / 2,
        len.saturating_sub(64),
    ];
    ends.extend([len.saturating_sub(2), len.saturating_sub(1)]);
    ends.retain(|end| *end < len);
    ends.sort_unstable();
    ends.dedup();
    ends.into_iter().map(Fault::Truncate).collect()
}

/// Flipped bits: each byte of a short file once, of a longer one the first
/// entry and `count` other places.
pub(super) fn flips(len: usize, count: usize, seed: u64) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut places: Vec<usize> = match len <= count {
        true => (0..len).collect(),
        false => (0..count / 2).collect(),
    };
    while places.len() < count.min(len) {
        places.push(random.random_range(0..len));
    }
    let flip = |at| Fault::Flip(at, 1 << random.random_range(0..8_u8));
    places.into_iter().map(flip).collect()
}
