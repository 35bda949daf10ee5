//! What a repository demands of those that read it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::small_file;

/// Longest `requires` file that is read, in bytes.
const REQUIRES_BYTES_MAX: u64 = 64 << 10;
/// Longest `sharedpath` file that is read, in bytes.
const SHAREDPATH_BYTES_MAX: u64 = 8 << 10;

/// Requirements without which there is no store that we could read.
const NEEDED: [&str; 2] = ["revlogv1", "store"];

/// What a reader can do with a repository that names a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Support {
    /// Read, or harmless.
    Yes,
    /// Read, and part of the format of revlogs, so that who takes raw store
    /// files has to know it.
    Format,
    /// Known and refused.
    No(&'static str),
}

/// The known requirements, `requirements.py` of Mercurial 7.2 and the
/// extensions it comes with. What is not here is refused as unknown.
const KNOWN: &[(&str, Support)] = &[
    ("revlogv1", Support::Format),
    ("generaldelta", Support::Format),
    ("sparserevlog", Support::Format),
    ("treemanifest", Support::Format),
    ("persistent-nodemap", Support::Yes),
    ("bookmarksinstore", Support::Yes),
    ("share-safe", Support::Yes),
    ("dirstate-v2", Support::Yes),
    ("store", Support::Yes),
    ("fncache", Support::Yes),
    ("dotencode", Support::Yes),
    ("revlog-compression-zstd", Support::Yes),
    ("shared", Support::Yes),
    ("relshared", Support::Yes),
    ("exp-sparse", Support::Yes),
    ("dirstate-tracked-key-v1", Support::Yes),
    ("internal-phase", Support::Yes),
    ("internal-phase-2", Support::Yes),
    ("exp-archived-phase", Support::Yes),
    ("lfs", Support::Yes),
    ("largefiles", Support::Yes),
    (
        "narrowhg-experimental",
        Support::No("a narrow clone is incomplete"),
    ),
    (
        "exp-copies-sidedata-changeset",
        Support::No("its changelog has another format"),
    ),
    (
        "exp-revlogv2.2",
        Support::No("its revlogs have another format"),
    ),
    (
        "exp-changelog-v2",
        Support::No("its changelog has another format"),
    ),
    (
        "exp-delta-info-revlog",
        Support::No("its revlogs have another format"),
    ),
    (
        "delta-info-revlog",
        Support::No("its revlogs have another format"),
    ),
    (
        "fileindex-v1",
        Support::No("its file names are kept in another way"),
    ),
    (
        "exp-fileindex-v1",
        Support::No("its file names are kept in another way"),
    ),
    (
        "fragile-plain-encode",
        Support::No("its file names are encoded in another way"),
    ),
    ("parentdelta", Support::No("the format was given up")),
    ("manifestv2", Support::No("the format was given up")),
];

/// A repository demands what this reader cannot do.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsError {
    /// A requirement is unknown or known to be unreadable.
    #[error("{file}: the requirement {name:?} is not supported: {why}")]
    Refused {
        /// The file that names it.
        file: String,
        /// The requirement.
        name: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// A requirement is absent without which the format is an older one.
    #[error("{file}: the requirement {name:?} is missing: the repository's format is too old")]
    Absent {
        /// The file that should name it.
        file: String,
        /// The requirement.
        name: &'static str,
    },
    /// A file with requirements, or the path of the shared source, is unreadable.
    #[error("{file}: cannot read it")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The path of the shared source is no path of a repository.
    #[error("{file}: it does not name a repository")]
    SharedPath {
        /// The file.
        file: String,
    },
}

/// The requirements of a repository, all of them supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    names: BTreeSet<String>,
    source: PathBuf,
}

impl Requirements {
    /// Reads the requirements of the repository whose `.hg` directory this is.
    ///
    /// A shared repository keeps its store in its source; with `share-safe` the
    /// requirements of the store are beside the store, and both files count.
    /// `shared` is the source's `.hg` directory where it was decided already, as
    /// a site does that looks whether a share may be followed; without it the
    /// file `sharedpath` says so.
    ///
    /// # Errors
    ///
    /// Returns the first requirement that is unknown or not supported, a
    /// format that is too old, or a file that cannot be read.
    pub fn read(dot_hg: &Path, shared: Option<&Path>) -> Result<Self, RequirementsError> {
        let mut names = BTreeSet::new();
        read_names(dot_hg, "requires", &mut names)?;
        let relative = names.contains("relshared");
        let source = match (relative || names.contains("shared"), shared) {
            (false, _) => dot_hg.to_owned(),
            (true, Some(shared)) => shared.to_owned(),
            (true, None) => shared_source(dot_hg, relative)?,
        };
        if names.contains("share-safe") {
            read_names(&source, "store/requires", &mut names)?;
        }
        if let Some(name) = NEEDED.iter().find(|name| !names.contains(**name)) {
            let file = "requires".to_owned();
            return Err(RequirementsError::Absent { file, name });
        }
        Ok(Self { names, source })
    }

    /// Whether a requirement is named.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The names that say how revlogs are written, sorted: what a client that
    /// takes the raw files of changelog and manifest has to support. Where
    /// things lie (`share-safe`) and caches (`persistent-nodemap`) are the
    /// client's own choice, so they are not among them.
    pub fn formats(&self) -> Vec<&str> {
        let formats = KNOWN
            .iter()
            .filter(|(_, support)| *support == Support::Format);
        let mut formats: Vec<&str> = formats
            .map(|(name, _)| *name)
            .filter(|name| self.contains(name))
            .collect();
        formats.sort_unstable();
        formats
    }

    /// The `.hg` directory that holds the store: the repository's own, or that
    /// of the source it shares.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Whether the store is shared with the repository that it belongs to.
    pub fn is_shared(&self) -> bool {
        self.contains("shared") || self.contains("relshared")
    }

    /// Whether manifests are kept for each directory.
    pub fn treemanifest(&self) -> bool {
        self.contains("treemanifest")
    }

    /// Whether bookmarks are in the directory `store`.
    pub fn bookmarks_in_store(&self) -> bool {
        self.contains("bookmarksinstore")
    }
}

/// Adds the names in a file, each checked. A missing file has none.
fn read_names(
    dot_hg: &Path,
    file: &str,
    names: &mut BTreeSet<String>,
) -> Result<(), RequirementsError> {
    let text = match small_file(&dot_hg.join(file), REQUIRES_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let file = file.to_owned();
            return Err(RequirementsError::Io { file, source });
        }
    };
    for name in text
        .split(|&byte| byte == b'\n')
        .filter(|name| !name.is_empty())
    {
        let name = String::from_utf8_lossy(name).into_owned();
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        let why = match known {
            None => "it is unknown",
            Some((_, Support::No(why))) => why,
            Some((_, Support::Yes | Support::Format)) => {
                names.insert(name);
                continue;
            }
        };
        let file = file.to_owned();
        return Err(RequirementsError::Refused { file, name, why });
    }
    Ok(())
}

/// The `.hg` directory that `sharedpath` names.
fn shared_source(dot_hg: &Path, relative: bool) -> Result<PathBuf, RequirementsError> {
    use std::os::unix::ffi::OsStrExt;
    let file = || "sharedpath".to_owned();
    let text = small_file(&dot_hg.join("sharedpath"), SHAREDPATH_BYTES_MAX).map_err(|source| {
        RequirementsError::Io {
            file: file(),
            source,
        }
    })?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let path = Path::new(std::ffi::OsStr::from_bytes(text));
    let source = match relative {
        true => dot_hg.join(path),
        false => path.to_owned(),
    };
    match source.is_dir() && (relative || path.is_absolute()) {
        true => Ok(source),
        false => Err(RequirementsError::SharedPath { file: file() }),
    }
}

#[cfg(test)]
mod tests;
