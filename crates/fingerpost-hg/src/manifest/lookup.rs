//! Entries of a few paths, out of as little as possible.

use fingerpost_hg_proto::Node;

use super::{ManifestFlag, find_in_manifest, parse_manifest};
use crate::delta::hunks;
use crate::error::StoreError;
use crate::revlog::{Rev, Revlog};
use crate::texts::Texts;

/// The revision and kind of each of these paths in a manifest without
/// subdirectories' manifests; `None` where the path is not in it. `paths` are
/// sorted and without repetition.
///
/// Paths that a changeset changed are in the delta that its manifest is stored
/// as, and deltas of manifests replace whole lines: so what the delta puts in
/// is looked at first, and the text is made only for paths that are not there.
///
/// What is found in a delta is as right as the delta: see
/// [`Revlog::ensure_verified`].
///
/// # Errors
///
/// Returns what is wrong with the stored revision or with its text.
pub fn manifest_entries(
    manifest: &Revlog,
    rev: Rev,
    paths: &[&[u8]],
    texts: &mut Texts,
) -> Result<Vec<Option<(Node, ManifestFlag)>>, StoreError> {
    let mut found = vec![None; paths.len()];
    if manifest.delta_base(rev).is_some() && !texts.remembers(manifest, rev) {
        let delta = manifest.chunk(rev, texts.scratch())?;
        find_in_delta(delta, paths, &mut found);
    }
    if found.iter().all(Option::is_some) {
        return Ok(found);
    }
    let text = texts.text(manifest, rev)?;
    for (found, path) in found.iter_mut().zip(paths) {
        if found.is_none() {
            let entry = find_in_manifest(&text, path)
                .map_err(|error| manifest.corrupt(rev, &error.to_string()))?;
            *found = entry.map(|entry| (entry.node, entry.flag));
        }
    }
    Ok(found)
}

/// Finds paths among the lines that a delta puts in. Replacements that are not
/// whole lines say nothing.
fn find_in_delta(delta: &[u8], paths: &[&[u8]], found: &mut [Option<(Node, ManifestFlag)>]) {
    let mut wanted = found.iter_mut().zip(paths).peekable();
    for hunk in hunks(delta) {
        let Ok(hunk) = hunk else {
            return;
        };
        for entry in parse_manifest(hunk.data) {
            let Ok(entry) = entry else {
                return;
            };
            // Both are sorted.
            while wanted.next_if(|(_, path)| **path < entry.path).is_some() {}
            if let Some((found, _)) = wanted.next_if(|(_, path)| **path == entry.path) {
                *found = Some((entry.node, entry.flag));
            }
        }
    }
}
