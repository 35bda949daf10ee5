//! Finding one path in a manifest.

use fingerpost_hg_proto::Node;
use memchr::memmem;

use crate::state_file::corrupt;
use crate::{Revlog, RevlogName, Snapshot, StoreError, Texts};

/// How deep directories are followed; deeper than any path can be long.
const DEPTH_MAX: usize = 4096;

/// The node of a file in the manifest with this node, directories followed
/// where the repository keeps a manifest for each. None if it is not there.
pub(crate) fn file_node(
    snapshot: &Snapshot,
    manifests: &Revlog,
    texts: &mut Texts,
    manifest: &Node,
    path: &[u8],
) -> Result<Option<Node>, StoreError> {
    if manifest.is_null() {
        return Ok(None);
    }
    let text = texts.text(manifests, manifests.require(manifest)?)?;
    if !snapshot.store().requirements().treemanifest() {
        return entry(&text, path, manifests.file());
    }
    let (mut text, mut file, mut done) = (text, manifests.file().to_owned(), 0);
    for _ in 0..DEPTH_MAX {
        let rest = &path[done..];
        let Some(slash) = memchr::memchr(b'/', rest) else {
            return entry(&text, rest, &file);
        };
        let Some(node) = entry(&text, &rest[..slash], &file)? else {
            return Ok(None);
        };
        done += slash + 1;
        let tree = Revlog::open(snapshot.store(), RevlogName::Tree(&path[..done - 1]))?;
        text = texts.text(&tree, tree.require(&node)?)?;
        tree.file().clone_into(&mut file);
    }
    Ok(None)
}

/// The node on the line of this name.
fn entry(text: &[u8], name: &[u8], file: &str) -> Result<Option<Node>, StoreError> {
    let key = [b"\n", name, b"\0"].concat();
    let after = match text.strip_prefix(&key[1..]) {
        Some(after) => after,
        None => match memmem::find(text, &key) {
            Some(at) => &text[at + key.len()..],
            None => return Ok(None),
        },
    };
    let node = after.get(..40).and_then(Node::from_hex);
    node.map(Some)
        .ok_or_else(|| corrupt(file, "a line of a manifest has no node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_whole() {
        let hex = "ab6f6465b68b31ae30e4c3be9b7a36403a275cb3";
        let text = format!("a\0{hex}\nab\0{hex}x\nb/a\0{hex}\n");
        let find = |name: &[u8]| entry(text.as_bytes(), name, "f").unwrap();
        assert_eq!(find(b"a"), find(b"b/a"));
        assert!(find(b"ab").is_some());
        assert_eq!(find(b"b"), None);
        assert_eq!(find(b"/a"), None);
        assert!(entry(b"a\0ab\n", b"a", "f").is_err());
    }
}
