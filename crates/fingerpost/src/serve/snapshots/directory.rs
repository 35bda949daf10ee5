//! The snapshots of a directory that were made here. Others are left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is being written has names that begin so; it stays when its writer is killed.
const WRITTEN: &str = ".snapshot-";
/// A writer touches its directory more often than this.
const WRITTEN_MAX: Duration = Duration::from_secs(6 * 3600);
/// What is being removed: it is no snapshot any more from one moment on.
const REMOVED: &str = ".removed-";

/// A snapshot that was made here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Own {
    path: PathBuf,
    /// Seconds since 1970.
    pub(super) created: u64,
    is_published: bool,
}

/// The name of a snapshot's directory.
pub(super) fn name(namespace: &str, created: u64) -> String {
    // A name that begins with a full stop would be hidden.
    format!("snapshot-{namespace}-{created}")
}

/// Those of a namespace, in no order. A directory that is not there has none.
pub(super) fn own(directory: &Path, namespace: &str) -> io::Result<Vec<Own>> {
    let mut own = Vec::new();
    for entry in entries(directory)? {
        let (file, path) = entry;
        let created = file
            .rsplit_once('-')
            .and_then(|(_, text)| text.parse().ok());
        let created = created.filter(|created| file == name(namespace, *created));
        if let Some(created) = created
            && path.join("manifest.json").is_file()
        {
            own.push(Own {
                is_published: path.join("manifest.sig").is_file(),
                path,
                created,
            });
        }
    }
    Ok(own)
}

/// Names, as far as they are text, and paths.
fn entries(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            all.push((name, entry.path()));
        }
    }
    Ok(all)
}

/// Removes all but the newest `keep` of the published ones of a namespace and as many
/// of the others, and what killed writers left. For who has the lease.
pub(super) fn sweep(directory: &Path, namespace: &str, keep: u64) -> io::Result<()> {
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let mut all = own(directory, namespace)?;
    all.sort_by_key(|one| std::cmp::Reverse(one.created));
    for is_published in [true, false] {
        let kind = all.iter().filter(|one| one.is_published == is_published);
        for old in kind.skip(keep) {
            let file = old.path.file_name().unwrap_or_default();
            let gone = directory.join(format!("{REMOVED}{}", file.to_string_lossy()));
            fs::rename(&old.path, gone)?;
        }
    }
    for (name, path) in entries(directory)? {
        if name.starts_with(REMOVED) || name.starts_with(WRITTEN) && is_old(&path) {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

fn is_old(path: &Path) -> bool {
    let touched = [path.to_owned(), path.join("shards")].into_iter();
    let mut touched = touched.filter_map(|path| fs::metadata(path).ok()?.modified().ok());
    touched.all(|at| at.elapsed().is_ok_and(|age| age > WRITTEN_MAX))
}
