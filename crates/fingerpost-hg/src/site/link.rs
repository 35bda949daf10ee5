//! Symbolic links and shares: where a name may lead.
//!
//! Whoever may write into a directory that is served could make a link there to
//! anything that the server may read, though the writer may not. So a link, or
//! a share's `sharedpath`, is followed only when its owner is trusted or owns
//! what it leads to; and out of a collection only when the configuration allows
//! that.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::TrustPolicy;
use super::stamp::is_missing;

/// Which links are followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links<'site> {
    /// Whose links may lead to what others own.
    pub(super) trust: &'site TrustPolicy,
    /// Everything may be followed.
    pub(super) follow: bool,
}

/// A directory that a path leads to.
#[derive(Debug)]
pub(super) struct Directory {
    /// Its path without symbolic links.
    pub(super) path: PathBuf,
    /// What `stat` says of it.
    pub(super) metadata: Metadata,
}

/// Why a path is not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFollowed {
    /// There is no directory.
    #[error("there is no directory {}", .0.display())]
    Missing(PathBuf),
    /// It leads out of the collection.
    #[error("{} leads out of {} (hg.follow_symlinks allows that)", .link.display(), .base.display())]
    Outside { link: PathBuf, base: PathBuf },
    /// Its owner is not trusted.
    #[error("{} leads to what belongs to another user, and its owner, user {uid}, is not trusted", .link.display())]
    Untrusted { link: PathBuf, uid: u32 },
    /// The operating system says why.
    #[error("{} cannot be looked at: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl NotFollowed {
    /// What the operating system said of `path`.
    pub(super) fn of(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match is_missing(&error) {
            true => Self::Missing(path),
            false => Self::Io { path, error },
        }
    }
}

impl Links<'_> {
    /// Looks at `name` in `parent`, whose path has no symbolic links.
    ///
    /// # Errors
    ///
    /// [`NotFollowed`]; `base` is the collection that it must not lead out of.
    pub(super) fn child(
        &self,
        parent: &Path,
        name: &str,
        base: Option<&Path>,
    ) -> Result<Directory, NotFollowed> {
        let path = parent.join(name);
        let metadata =
            std::fs::symlink_metadata(&path).map_err(|error| NotFollowed::of(&path, error))?;
        if metadata.is_symlink() {
            return self.target(&path, &metadata, &path, base);
        }
        if metadata.is_dir() {
            return Ok(Directory { path, metadata });
        }
        Err(NotFollowed::Missing(path))
    }

    /// Follows `link`, whose own metadata are given, to `target`.
    pub(super) fn target(
        &self,
        link: &Path,
        metadata: &Metadata,
        target: &Path,
        base: Option<&Path>,
    ) -> Result<Directory, NotFollowed> {
        let found = directory(target)?;
        if self.follow {
            return Ok(found);
        }
        if let Some(base) = base.filter(|base| !found.path.starts_with(base)) {
            return Err(NotFollowed::Outside {
                link: link.to_owned(),
                base: base.to_owned(),
            });
        }
        let uid = metadata.uid();
        if !self.trust.trusts(uid, metadata.gid()) && uid != found.metadata.uid() {
            return Err(NotFollowed::Untrusted {
                link: link.to_owned(),
                uid,
            });
        }
        Ok(found)
    }
}

/// The directory at `path`, whatever links lead to it.
pub(super) fn directory(path: &Path) -> Result<Directory, NotFollowed> {
    let real = std::fs::canonicalize(path).map_err(|error| NotFollowed::of(path, error))?;
    let metadata =
        std::fs::symlink_metadata(&real).map_err(|error| NotFollowed::of(path, error))?;
    if !metadata.is_dir() {
        return Err(NotFollowed::Missing(path.to_owned()));
    }
    Ok(Directory {
        path: real,
        metadata,
    })
}
