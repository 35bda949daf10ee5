//! Where the snapshots of a namespace lie on this host.
//!
//! | name | what |
//! | --- | --- |
//! | `NAME/` | the snapshot that is followed |
//! | `NAME.partial/` | one that is being fetched |
//! | `.retired-N/` | one that is given up, until nobody reads it any more |
//! | `followed.json` | where the follower is ([`Note`](super::note::Note)) |
//! | `deleted.ndjson` | what was deleted since the snapshot ([`DeletionLog`](super::log::DeletionLog)) |

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use fingerpost_snapshot::Digest;

const PARTIAL: &str = ".partial";
const RETIRED: &str = ".retired-";
/// As the server limits them, less what is appended here.
const NAME_BYTES_MAX: usize = 200;

/// The directory of a namespace.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    /// That of a namespace, `None` for the one that the server chooses, below `directory`. It is made.
    pub(super) fn make(directory: &Path, namespace: Option<&str>) -> io::Result<Self> {
        let path = directory.join(directory_name(namespace));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn snapshot(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn partial(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{PARTIAL}"))
    }

    /// Names of the snapshots that lie here, the greatest first.
    pub(super) fn snapshots(&self) -> io::Result<Vec<String>> {
        let mut names = self.directories()?;
        names.retain(|name| is_name(name));
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    fn directories(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A file of any snapshot here that has this name, to be linked. Nobody has looked at it.
    pub(super) fn find_shard(&self, digest: &Digest, not_in: &Path) -> Option<PathBuf> {
        let directories = self.directories().ok()?;
        let paths = directories.iter().map(|name| self.path.join(name));
        let mut shards = paths
            .filter(|path| path != not_in)
            .map(|path| path.join("shards").join(digest.to_string()));
        shards.find(|shard| shard.is_file())
    }

    /// Takes a snapshot out of the way, so that another one of its name can come. Who reads it goes on.
    pub(super) fn retire(&self, path: &Path) -> io::Result<PathBuf> {
        for number in 0..1000 {
            let retired = self.path.join(format!("{RETIRED}{number}"));
            if retired.symlink_metadata().is_err() {
                fs::rename(path, &retired)?;
                return Ok(retired);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes everything but some snapshots and what is fetched.
    pub(super) fn tidy(&self, kept: Option<&str>) -> io::Result<()> {
        for name in self.directories()? {
            if Some(&*name) != kept && !name.ends_with(PARTIAL) {
                fs::remove_dir_all(self.path.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes what was fetched of others than this one.
    pub(super) fn tidy_partial(&self, kept: &Path) -> io::Result<()> {
        for name in self.directories()? {
            let path = self.path.join(&name);
            if name.ends_with(PARTIAL) && path != kept {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}

/// Whether a server's name of a snapshot can be that of a directory here.
pub(super) fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with(PARTIAL)
        && name.bytes().all(is_part)
}

/// Some letters to recognise it by, and a digest, so that no two are one.
fn directory_name(namespace: Option<&str>) -> String {
    let Some(namespace) = namespace else {
        return "own".to_owned();
    };
    let letters = namespace.chars().take(40);
    let letters: String = letters
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => letter,
            _ => '-',
        })
        .collect();
    let digest = Digest::of(namespace.as_bytes()).to_string();
    format!("{letters}-{}", &digest[..16])
}

/// Writes a file in one step, durably, in the place of one that is there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync)
}

/// Makes names in a directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_or_is_one_of_ours() {
        for good in ["2026-11-28T00-00-00Z", "a", "A_b.c-1"] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", ".", "..", ".x", "a/b", "a.partial", "ä", "a\0", &long] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn each_namespace_has_a_directory() {
        let names = ["main", "Main", "a/b", "a-b", "..", "own", ""];
        let all = names.map(|name| directory_name(Some(name)));
        for (at, name) in all.iter().enumerate() {
            assert!(is_name(name), "{name}");
            assert!(!all[..at].contains(name) && name != "own", "{name}");
        }
        assert!(directory_name(Some(&"x".repeat(255))).len() < 64);
        assert_eq!(directory_name(None), "own");
    }

    #[test]
    fn what_is_given_up_is_removed_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::make(dir.path(), Some("main")).unwrap();
        for name in ["a", "b", "c.partial"] {
            fs::create_dir(place.snapshot(name)).unwrap();
        }
        let retired = place.retire(&place.snapshot("a")).unwrap();
        fs::create_dir(place.snapshot("a")).unwrap();
        assert!(retired.is_dir());
        assert_eq!(place.snapshots().unwrap(), ["b", "a"]);
        place.tidy(Some("b")).unwrap();
        assert_eq!(place.snapshots().unwrap(), ["b"]);
        assert!(!retired.exists() && place.partial("c").exists());
        place.tidy_partial(&place.partial("d")).unwrap();
        assert!(!place.partial("c").exists());
    }
}
