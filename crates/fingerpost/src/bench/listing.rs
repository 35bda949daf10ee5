//! Siginfo as `OEOuthashBasic` writes it, one line for each file of a tree.
//!
//! The names, sizes and modes are those of real trees of this machine, which is
//! what compression sees. The digests are random, because that is what they are
//! to compression, and computing them would read gigabytes.

use std::fs::{self, Metadata};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fingerpost_hashequiv_proto::types::encode_hex;

use super::keys::{Keys, mix};

/// Lines to take from the trees at most: more than enough for variety.
const LINES_MAX: usize = 60_000;

/// A rebuild changes this share of its listing's lines.
const CHANGED_SHARE: std::ops::Range<f64> = 0.02..0.30;

/// The rebuilds that made the first build's listing: none.
pub(super) const NO_REBUILDS: RangeInclusive<u32> = RangeInclusive::new(1, 0);

/// The lines of real trees, ready to be cut into listings, with line ends as in
/// a JSON text (`\n` in two characters) and nothing else that needs escaping.
#[derive(Debug)]
pub(super) struct Trees {
    text: Vec<u8>,
    lines: Vec<Line>,
    keys: Keys,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    start: usize,
    /// Where the 64 digits go; directories and links have none.
    digest: Option<usize>,
}

impl Trees {
    /// Reads the trees below `roots`, in the order of their names.
    pub(super) fn walk(roots: &[PathBuf], keys: Keys) -> anyhow::Result<Self> {
        let mut trees = Self {
            text: Vec::new(),
            lines: Vec::new(),
            keys,
        };
        for root in roots {
            // One root must not use up what the others should add to.
            let limit = trees.lines.len() + LINES_MAX / roots.len();
            trees.add_directory(root, limit);
        }
        anyhow::ensure!(
            trees.lines.len() >= 500,
            "fewer than 500 files below {roots:?}: name other directories with --trees"
        );
        Ok(trees)
    }

    /// Adds what can be read below `directory`; the rest is passed over.
    fn add_directory(&mut self, directory: &Path, limit: usize) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        for path in paths {
            if self.lines.len() >= limit {
                return;
            }
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            self.add_line(&path, &metadata);
            if metadata.is_dir() {
                self.add_directory(&path, limit);
            }
        }
    }

    fn add_line(&mut self, path: &Path, metadata: &Metadata) {
        let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        let Some(name) = path.to_str().filter(|name| name.bytes().all(plain)) else {
            return;
        };
        let start = self.text.len();
        let file = metadata.is_file();
        let size = if file {
            metadata.len().to_string()
        } else {
            String::new()
        };
        let head = format!(
            "{}       root       root           {size:>10} ",
            permissions(metadata)
        );
        self.text.extend_from_slice(head.as_bytes());
        let digest = file.then_some(self.text.len());
        self.text.extend_from_slice(&[b' '; 64]);
        self.text
            .extend_from_slice(format!(" .{name}\\n").as_bytes());
        self.lines.push(Line { start, digest });
    }

    /// Appends the listing of `task`, about `size` bytes of text, escaped for
    /// JSON. Of the first build when `rebuilds` is empty, else with what each of
    /// these rebuilds changed.
    pub(super) fn push_listing(
        &self,
        out: &mut Vec<u8>,
        task: u64,
        rebuilds: RangeInclusive<u32>,
        size: usize,
    ) {
        let range = self.window(task, size);
        let from = self.lines[range.start].start;
        let to = self
            .lines
            .get(range.end)
            .map_or(self.text.len(), |line| line.start);
        let shift = out.len();
        out.extend_from_slice(&self.text[from..to]);
        for (number, line) in (0_u64..).zip(&self.lines[range]) {
            let Some(digest) = line.digest else { continue };
            let place = digest - from + shift;
            let changed = last_change(task, rebuilds.clone(), number);
            let content = self
                .keys
                .outhash(mix(mix(task) ^ (number << 20) ^ u64::from(changed)) >> 2);
            out[place..place + 64].copy_from_slice(&encode_hex(&content));
        }
    }

    /// Consecutive lines, begun at a place that depends on the task alone.
    fn window(&self, task: u64, size: usize) -> std::ops::Range<usize> {
        let first = (mix(task ^ 0x6c69_7374) % self.lines.len() as u64) as usize;
        let begin = self.lines[first].start;
        let end = self.lines.partition_point(|line| line.start < begin + size);
        if end < self.lines.len() || self.text.len() >= begin + size {
            return first..end.max(first + 1);
        }
        // Too close to the end: the last lines that make up the size.
        let begin = self.text.len().saturating_sub(size);
        let first = self.lines.partition_point(|line| line.start < begin);
        first.min(self.lines.len() - 1)..self.lines.len()
    }
}

/// The last of the rebuilds that changed this line; 0 if none did.
fn last_change(task: u64, rebuilds: RangeInclusive<u32>, line: u64) -> u32 {
    let changes = |rebuild: &u32| {
        let build = mix(task.rotate_left(32) ^ u64::from(*rebuild));
        let share =
            CHANGED_SHARE.start + (CHANGED_SHARE.end - CHANGED_SHARE.start) * fraction(build);
        fraction(mix(build ^ line)) < share
    };
    rebuilds.rev().find(changes).unwrap_or(0)
}

/// A number in 0..1 from the high bits of a random word.
fn fraction(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// `-rw-r--r--` and the like.
fn permissions(metadata: &Metadata) -> String {
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        _ => '-',
    };
    let mode = metadata.mode();
    let bits = "rwxrwxrwx".chars().enumerate();
    let letters = bits.map(|(place, letter)| {
        if mode >> (8 - place) & 1 == 1 {
            letter
        } else {
            '-'
        }
    });
    std::iter::once(kind).chain(letters).collect()
}

/// Reads the default trees of a Linux machine.
pub(super) fn default_roots() -> Vec<PathBuf> {
    ["/usr/lib", "/usr/include", "/usr/share"]
        .map(PathBuf::from)
        .to_vec()
}

/// Walks `roots`, or the default ones when there are none.
pub(super) fn trees(roots: &[PathBuf], keys: Keys) -> anyhow::Result<Trees> {
    let roots = if roots.is_empty() {
        default_roots()
    } else {
        roots.to_vec()
    };
    Trees::walk(&roots, keys).context("no file trees to make siginfo from")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Trees {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..600 {
            let name = format!("a-file-with-a-name-of-usual-length-{number:04}.so");
            fs::write(directory.path().join(name), b"x").unwrap();
        }
        Trees::walk(&[directory.path().to_owned()], Keys::new(1)).unwrap()
    }

    fn listing(trees: &Trees, task: u64, rebuilds: RangeInclusive<u32>) -> Vec<String> {
        let mut text = Vec::new();
        trees.push_listing(&mut text, task, rebuilds, 20 * 1024);
        let text = String::from_utf8(text).unwrap();
        text.split_terminator("\\n").map(str::to_owned).collect()
    }

    #[test]
    fn listings_have_the_asked_size() {
        let trees = sample();
        for task in 0..50 {
            let size: usize = listing(&trees, task, NO_REBUILDS)
                .iter()
                .map(|line| line.len() + 2)
                .sum();
            assert!((20_000..21_500).contains(&size), "{size}");
        }
    }

    #[test]
    fn a_rebuild_changes_a_few_digests_and_nothing_else() {
        let trees = sample();
        for task in 0..50 {
            let (before, after) = (listing(&trees, task, 1..=3), listing(&trees, task, 1..=4));
            assert_eq!(before.len(), after.len());
            let pairs = before.iter().zip(&after);
            let changed = pairs.filter(|(before, after)| before != after).count();
            let share = changed as f64 / before.len() as f64;
            assert!((0.0..0.45).contains(&share), "{share}");
            let without = |line: &String| [&line[..54], &line[118..]].concat();
            assert!(before.iter().map(without).eq(after.iter().map(without)));
        }
    }

    #[test]
    fn too_few_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Trees::walk(&[directory.path().to_owned()], Keys::new(1)).is_err());
    }
}
