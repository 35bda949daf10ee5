//! One repository of the catalogue.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RepositorySettings;
use crate::StorePlace;

/// The stable name of a repository: its URL path within the site, without
/// slashes at its ends; `/` for one that is served at the root. Never the
/// path of a directory, so it survives a move on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(Arc<str>);

impl RepositoryId {
    /// The id of what is served at `path` within the site.
    pub(super) fn of_path(path: &str) -> Self {
        Self(if path.is_empty() { "/" } else { path }.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Device and inode of a directory: another one in the same place is another
/// repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectoryIdentity {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

impl DirectoryIdentity {
    /// Of which directory these are the metadata.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
        }
    }
}

/// A repository that may be served, with its settings as of the last look.
/// Entries never change; the catalogue makes a new one when a file did.
#[derive(Debug, PartialEq, Eq)]
pub struct RepositoryEntry {
    pub(super) id: RepositoryId,
    pub(super) url_path: String,
    pub(super) root: PathBuf,
    pub(super) dot_hg: PathBuf,
    pub(super) store: StorePlace,
    pub(super) identity: DirectoryIdentity,
    pub(super) settings: RepositorySettings,
}

impl RepositoryEntry {
    /// The stable name.
    pub const fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// The URL path with the site's prefix, `/hg/project`; empty for a
    /// repository at the root of a site without prefix.
    pub fn url_path(&self) -> &str {
        &self.url_path
    }

    /// The directory that `.hg` is in, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory `.hg`, without symbolic links.
    pub fn dot_hg(&self) -> &Path {
        &self.dot_hg
    }

    /// The `.hg` that the store is in: [`RepositoryEntry::dot_hg`], or for a
    /// share the one that `sharedpath` names, once it was decided that it may.
    pub fn store_dot_hg(&self) -> &Path {
        &self.store.dot_hg
    }

    /// That `.hg`, and which directory it was when it was decided.
    pub const fn store(&self) -> &StorePlace {
        &self.store
    }

    /// Which directory `.hg` is.
    pub const fn identity(&self) -> DirectoryIdentity {
        self.identity
    }

    /// What its configuration files say.
    pub const fn settings(&self) -> &RepositorySettings {
        &self.settings
    }
}
