//! Finding one file or directory in a manifest.

use fingerpost_hg_proto::Node;

use crate::{ManifestFlag, Manifests, Revlog, StoreError, TREE_DEPTH_MAX, Texts, find_in_manifest};

/// The node under a path, of a file or of a directory, in the root manifest
/// with this node; directories are followed where the repository keeps a
/// manifest for each. None if nothing is there. Every text is verified.
pub(crate) fn node_at(
    manifests: &mut Manifests<'_>,
    texts: &mut Texts,
    root: Node,
    path: &[u8],
) -> Result<Option<Node>, StoreError> {
    if root.is_null() {
        return Ok(None);
    }
    if let Some((node, _)) = named(manifests.root(), texts, root, path)? {
        return Ok(Some(node));
    }
    let (mut dir_node, mut start) = (root, 0);
    for _ in 0..TREE_DEPTH_MAX {
        let dir = &path[..start.max(1) - 1];
        let rest = &path[start..];
        let slash = memchr::memchr(b'/', rest);
        let name = &rest[..slash.unwrap_or(rest.len())];
        let found = named(manifests.tree(dir)?, texts, dir_node, name)?;
        match (found, slash) {
            (Some((node, ManifestFlag::Tree)), Some(slash)) => {
                (dir_node, start) = (node, start + slash + 1);
            }
            (Some((node, _)), None) => return Ok(Some(node)),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The node on the line of this name in one manifest.
fn named(
    manifest: &Revlog,
    texts: &mut Texts,
    node: Node,
    name: &[u8],
) -> Result<Option<(Node, ManifestFlag)>, StoreError> {
    let rev = manifest.require(&node)?;
    let text = texts.text(manifest, rev)?;
    let entry =
        find_in_manifest(&text, name).map_err(|error| manifest.corrupt(rev, &error.to_string()))?;
    Ok(entry.map(|entry| (entry.node, entry.flag)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RevlogName;
    use crate::testing::{REQUIRES, Revision, RevlogWriter, empty_repository, open_store};

    fn node(first: u8) -> Node {
        Node::from_bytes([first; 20])
    }

    #[test]
    fn directories_are_followed_only_where_they_have_manifests() {
        for tree in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let store = empty_repository(dir.path());
            let write = |text: &str, file: &str| {
                let mut revlog = RevlogWriter::new(true, true);
                let rev = revlog.add(Revision::root(text.as_bytes(), 0));
                revlog.write(&store, file, "unused");
                revlog.node(rev)
            };
            let lines = format!("a\0{}\nd/f\0{}x\n", node(1), node(2));
            let (sub, text) = match tree {
                false => (None, lines),
                true => {
                    let requires = format!("{REQUIRES}treemanifest\n");
                    std::fs::write(dir.path().join(".hg/requires"), requires).unwrap();
                    let sub = write(&format!("f\0{}x\n", node(2)), "meta/d/00manifest.i");
                    (Some(sub), format!("a\0{}\nd\0{sub}t\n", node(1)))
                }
            };
            let root_node = write(&text, "00manifest.i");
            let store = open_store(dir.path());
            let root = Revlog::open(&store, RevlogName::Manifest).unwrap();
            let mut manifests = Manifests::new(&store, &root);
            let mut texts = Texts::new(0);
            let mut at = |path: &[u8]| node_at(&mut manifests, &mut texts, root_node, path);
            assert_eq!(at(b"a").unwrap(), Some(node(1)));
            assert_eq!(at(b"d/f").unwrap(), Some(node(2)));
            assert_eq!(at(b"d").unwrap(), sub);
            for nothing in [&b"a/b"[..], b"d/g", b"d/f/g", b"", b"/", b"e/f"] {
                assert_eq!(at(nothing).unwrap(), None);
            }
        }
    }
}
