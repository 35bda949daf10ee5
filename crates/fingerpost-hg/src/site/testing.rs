//! Directories for tests, with owners who are trusted or not.

use std::collections::BTreeMap;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};

use fingerpost_core::Timestamp;

use super::{Catalogue, Found, SiteConfig, TrustPolicy};

/// A moment long after every file of a test was written, so that all are
/// settled.
pub(super) const LATER: Timestamp = Timestamp(i64::MAX);

/// A temporary directory with verbs.
pub(super) struct Ground {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Ground {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        Self { dir, path }
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        assert!(self.dir.path().exists());
        self.path.join(below)
    }

    /// Makes something that looks like a repository.
    pub(super) fn repository(&self, below: &str) -> PathBuf {
        let root = self.path(below);
        std::fs::create_dir_all(root.join(".hg/store")).unwrap();
        root
    }

    pub(super) fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(super) fn link(&self, below: &str, target: impl AsRef<Path>) -> PathBuf {
        let path = self.path(below);
        symlink(target, &path).unwrap();
        path
    }

    /// Makes the owner of `path` somebody who is not trusted: another user when
    /// this is root, who may change owners; else the tests' own user, whom
    /// [`stranger`] does not trust.
    pub(super) fn untrust(&self, path: &Path) {
        if is_root() {
            if path.is_symlink() {
                lchown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
            } else {
                chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
            }
        }
    }

    /// A site that serves the directory `below` at its root.
    pub(super) fn collection(&self, below: &str) -> SiteConfig {
        let mut config = site();
        config.collections = BTreeMap::from([(String::new(), self.path(below))]);
        config
    }
}

/// Whom the tests' files do not belong to, once they were given away.
pub(super) fn stranger() -> TrustPolicy {
    TrustPolicy::new(if is_root() { 0 } else { SOMEBODY })
}

/// A site that trusts the tests' own files.
pub(super) fn site() -> SiteConfig {
    SiteConfig::new(TrustPolicy::of_this_process())
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a path leads to: `NAME+REST`, `-`, or `!` and why not.
pub(super) fn found(catalogue: &Catalogue, path: &str) -> String {
    match catalogue.find(path, LATER) {
        Found::Repository { repository, rest } => format!("{}+{rest}", repository.id()),
        Found::NotFound => "-".to_owned(),
        Found::Refused(refusal) => format!("!{refusal}"),
        Found::Unavailable(bad) => format!("!!{bad}"),
    }
}

const SOMEBODY: u32 = 54_321;
