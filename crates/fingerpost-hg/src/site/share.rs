//! Where the store of a repository is, and whose configuration goes with it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::link::Links;
use super::open::Files;

/// Where a share's store is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// The `.hg` that the store is in, without symbolic links.
    pub(super) source: PathBuf,
    /// Whether the source's `hgrc` holds for the share too, below its own.
    pub(super) safe: bool,
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
    let metadata = std::fs::metadata(&link).map_err(|_| missing())?;
    let found = links
        .target(&link, &metadata, &dot_hg.join(target), None)
        .map_err(|error| error.to_string())?;
    Ok(Some(Share {
        source: found.path,
        safe: has(b"share-safe"),
    }))
}
