//! Where the store of a repository is, and whose configuration goes with it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::DirectoryIdentity;
use super::link::{Directory, Links, NotFollowed};
use super::open::Files;

/// Where a share's store is.
#[derive(Debug)]
pub(super) struct Share {
    /// The `.hg` that the store is in, without symbolic links.
    pub(super) source: PathBuf,
    /// Which directory that was.
    pub(super) identity: DirectoryIdentity,
    /// Whether the source's `hgrc` holds for the share too, below its own.
    pub(super) safe: bool,
    /// The file `sharedpath`.
    link: PathBuf,
    /// What it names, with the links that lead on from there.
    target: PathBuf,
}

impl Share {
    /// Whether what was found once is what is found now. Whoever owns a
    /// directory on the way may put a link in its place at any time, so one look
    /// does not do for ever.
    pub(super) fn still_leads_there(&self, links: Links<'_>) -> bool {
        follow(&self.link, &self.target, links).is_ok_and(|found| {
            found.path == self.source && DirectoryIdentity::of(&found.metadata) == self.identity
        })
    }
}

fn follow(link: &Path, target: &Path, links: Links<'_>) -> Result<Directory, NotFollowed> {
    let metadata = std::fs::metadata(link).map_err(|error| NotFollowed::of(link, error))?;
    links.target(link, &metadata, target, None)
}

/// Reads `.hg/requires` and `.hg/sharedpath`; `None` for a repository with a
/// store of its own.
///
/// # Errors
///
/// A sentence that names the file.
pub(super) fn share_of(
    dot_hg: &Path,
    files: &mut Files<'_>,
    links: Links<'_>,
) -> Result<Option<Share>, String> {
    let mut read = |name| {
        files
            .open(&dot_hg.join(name), true)
            .map_err(|error| error.to_string())
    };
    let requires = read("requires")?
        .map(|source| source.bytes)
        .unwrap_or_default();
    let has = |name: &[u8]| {
        requires
            .split(|byte| *byte == b'\n')
            .any(|line| line == name)
    };
    let relative = has(b"relshared");
    if !relative && !has(b"shared") {
        return Ok(None);
    }
    let link = dot_hg.join("sharedpath");
    let missing = || format!("{} does not exist", link.display());
    let path = read("sharedpath")?.ok_or_else(missing)?.bytes;
    let path = path.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if path.is_empty() || path.contains(&0) {
        return Err(format!("{} holds no path", link.display()));
    }
    let target = Path::new(std::ffi::OsStr::from_bytes(path));
    if !relative && !target.is_absolute() {
        return Err(format!("{} holds no absolute path", link.display()));
    }
    let target = dot_hg.join(target);
    let found = match follow(&link, &target, links) {
        Ok(found) => found,
        Err(error) => {
            // What is on the way there is in no stamp: it may be mounted yet.
            files.note_unreadable(target);
            return Err(error.to_string());
        }
    };
    Ok(Some(Share {
        source: found.path,
        identity: DirectoryIdentity::of(&found.metadata),
        safe: has(b"share-safe"),
        link,
        target,
    }))
}
