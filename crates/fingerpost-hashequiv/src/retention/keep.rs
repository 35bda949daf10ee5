//! Files with unihashes whose tasks stay.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use fingerpost_hashequiv_proto::types::Unihash;

/// Unihashes that one file can have: they take 160 MiB of memory during a run.
pub const KEEP_MAX: usize = 5_000_000;
/// Bytes of a line at most.
const LINE_MAX: usize = 4096;

/// A file cannot be used. Then nothing is deleted: it says what must stay.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is no unihash.
    #[error("{}: line {line} is no unihash: 64 lower-case hex digits", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1 on.
        line: usize,
    },
    /// It has none at all, as what a failed script leaves.
    #[error("{} has no unihash; leave the key out if nothing is to be kept", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It has more than [`KEEP_MAX`].
    #[error("{} has more than {KEEP_MAX} unihashes", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
    },
}

/// Unihashes, to be asked.
#[derive(Clone, Debug, Default)]
pub struct Keep(Vec<[u8; 32]>);

impl Keep {
    /// Reads a file: a unihash a line; empty lines and those that begin with `#` say
    /// nothing. Blocks.
    pub fn read(path: &Path) -> Result<Self, KeepError> {
        let failed = |source| KeepError::Io {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        Self::of(BufReader::new(file), path, failed)
    }

    fn of(
        mut lines: impl BufRead,
        path: &Path,
        failed: impl Fn(io::Error) -> KeepError,
    ) -> Result<Self, KeepError> {
        let path = || path.to_owned();
        let mut kept = Vec::new();
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let mut limited = io::Read::take(&mut lines, LINE_MAX as u64);
            if limited.read_until(b'\n', &mut text).map_err(&failed)? == 0 {
                break;
            }
            let wrong = || KeepError::Line { path: path(), line };
            let word = std::str::from_utf8(&text).map_err(|_| wrong())?.trim();
            if word.is_empty() || word.starts_with('#') {
                continue;
            }
            let unihash = Unihash::parse(word);
            kept.push(*unihash.as_bytes().ok_or_else(wrong)?);
            if kept.len() > KEEP_MAX {
                return Err(KeepError::TooMany { path: path() });
            }
        }
        if kept.is_empty() {
            return Err(KeepError::Empty { path: path() });
        }
        kept.sort_unstable();
        kept.dedup();
        Ok(Self(kept))
    }

    /// Whether the unihash is there.
    pub fn contains(&self, unihash: &Unihash) -> bool {
        let bytes = unihash.as_bytes();
        bytes.is_some_and(|bytes| self.0.binary_search(bytes).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Keep, String> {
        let path = Path::new("keep");
        let kept = Keep::of(text.as_bytes(), path, |_| unreachable!());
        kept.map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let kept = read(&format!("# mine\n{b}\n\n {a} \r\n{a}")).unwrap();
        assert!(kept.contains(&Unihash::parse(&a)) && kept.contains(&Unihash::parse(&b)));
        assert!(!kept.contains(&Unihash::parse(&"c".repeat(64))));
        assert!(!kept.contains(&Unihash::parse("short")));
        let check = |text: &str, why: &str| {
            let said = read(text).unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        check(&format!("{a}\nsstate:x\n"), "line 2");
        check(&"A".repeat(64), "line 1");
        check("\n# nothing\n", "no unihash");
        check(&"a".repeat(LINE_MAX + 70), "line 1");
    }
}
