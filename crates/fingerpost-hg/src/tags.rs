//! Tags, for looking names up.

use std::collections::BTreeMap;

use fingerpost_hg_proto::Node;
use hashbrown::{HashMap, HashSet};

use crate::manifest_entry::node_at;
use crate::{FileText, Manifests, Rev, Revlog, RevlogName, Snapshot, StoreError, Texts};

/// The file that holds tags.
const HGTAGS: &[u8] = b".hgtags";
/// How much text is remembered while the manifests of heads are read, in bytes.
const TEXTS_BYTES: usize = 8 << 20;
/// How many heads are remembered; then they are looked at again.
const HEADS_MAX: usize = 200_000;

/// The tags of a snapshot, by name.
///
/// Every head has its own `.hgtags`. Where they differ, the one that knows the
/// other's node as an earlier one of the tag wins, and otherwise that of the
/// later head. A tag on the null node is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<Vec<u8>, Node>);

/// For each head that was looked at, the revision of its `.hgtags`.
#[derive(Debug, Default)]
pub(crate) struct HeadTags(HashMap<Node, Option<Node>>);

/// The nodes that a tag had, oldest first; the last is what it is on.
type History = Vec<Node>;

impl Tags {
    /// The changeset that a tag is on, if it is a served one.
    pub(crate) fn rev(&self, snapshot: &Snapshot, name: &[u8]) -> Option<Rev> {
        snapshot.rev(&self.node(name)?)
    }

    /// The node that a tag is on, which need not exist.
    pub fn node(&self, name: &[u8]) -> Option<Node> {
        self.0.get(name).copied()
    }

    /// Name and node of each, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Node)> {
        self.0.iter().map(|(name, node)| (&name[..], *node))
    }

    pub(crate) fn read(snapshot: &Snapshot) -> Result<Self, StoreError> {
        let filelog = Revlog::open(snapshot.store(), RevlogName::Filelog(HGTAGS))?;
        if filelog.is_empty() {
            return Ok(Self::default());
        }
        let mut texts = Texts::new(TEXTS_BYTES);
        let files = files_of_heads(snapshot, &mut texts)?;
        let mut merging = Merging::default();
        for file in files {
            merging.add(&texts.text(&filelog, filelog.require(&file)?)?);
        }
        Ok(merging.finish())
    }
}

/// Tags while the revisions of `.hgtags` are read, that of the earliest head
/// first.
#[derive(Debug, Default)]
pub(crate) struct Merging(BTreeMap<Vec<u8>, History>);

impl Merging {
    /// Merges a later revision.
    pub(crate) fn add(&mut self, text: &[u8]) {
        for (name, later) in parse(text) {
            let merged = match self.0.remove(&name) {
                Some(earlier) => merge(earlier, later),
                None => later,
            };
            self.0.insert(name, merged);
        }
    }

    /// What came of it.
    pub(crate) fn finish(self) -> Tags {
        let last = self.0.into_iter().filter_map(|(name, history)| {
            let node = history.last().copied()?;
            (!node.is_null()).then_some((name, node))
        });
        Tags(last.collect())
    }
}

/// The different revisions of `.hgtags` at the served heads, that of the
/// earliest head first.
fn files_of_heads(snapshot: &Snapshot, texts: &mut Texts) -> Result<Vec<Node>, StoreError> {
    let root = snapshot.manifests()?;
    let mut manifests = Manifests::new(snapshot.store(), &root);
    let mut known = snapshot.shared.head_tags.lock();
    if known.0.len() > HEADS_MAX {
        known.0.clear();
    }
    let (mut files, mut seen) = (Vec::new(), HashSet::new());
    for head in snapshot.heads(false).iter().rev() {
        let node = snapshot.node(*head);
        let file = match known.0.get(&node) {
            Some(file) => *file,
            None => {
                let manifest = snapshot.manifest_node(texts, *head)?;
                let file = node_at(&mut manifests, texts, manifest, HGTAGS)?;
                known.0.insert(node, file);
                file
            }
        };
        files.extend(file.filter(|file| seen.insert(*file)));
    }
    Ok(files)
}

/// The tags in one revision of `.hgtags`: lines of 40 hex digits, a space and a
/// name. Other lines are left out, as hg does with a warning.
fn parse(text: &[u8]) -> BTreeMap<Vec<u8>, History> {
    let mut tags: BTreeMap<Vec<u8>, History> = BTreeMap::new();
    for line in FileText::parse(text).content.split(|byte| *byte == b'\n') {
        let Some(space) = memchr::memchr(b' ', line) else {
            continue;
        };
        let name = line[space + 1..].trim_ascii();
        if let Some(node) = Node::from_hex(&line[..space]).filter(|_| !name.is_empty()) {
            tags.entry(name.to_vec()).or_default().push(node);
        }
    }
    tags
}

/// One history of a tag out of that of earlier heads and that of a later one.
///
/// The earlier node stays if it superseded the later head's: that one is in the
/// history before it, and not the other way round, or less often.
fn merge(earlier: History, later: History) -> History {
    let (Some((earlier_node, earlier_past)), Some((later_node, later_past))) =
        (earlier.split_last(), later.split_last())
    else {
        return [earlier, later].concat();
    };
    let supersedes = earlier_node != later_node
        && earlier_past.contains(later_node)
        && (!later_past.contains(earlier_node) || earlier_past.len() > later_past.len());
    let node = if supersedes {
        *earlier_node
    } else {
        *later_node
    };
    let mut past = later_past.to_vec();
    let known: HashSet<Node> = past.iter().copied().collect();
    past.extend(earlier_past.iter().filter(|node| !known.contains(*node)));
    past.push(node);
    past
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(first: u8) -> Node {
        Node::from_bytes([first; 20])
    }

    fn nodes(firsts: &[u8]) -> Vec<Node> {
        firsts.iter().copied().map(node).collect()
    }

    #[test]
    fn later_lines_win_within_a_file() {
        let text = format!(
            "{} a\n{} b c\nnonsense\n{} \n{} a\n",
            node(1),
            node(2),
            node(3),
            node(4)
        );
        let tags = parse(text.as_bytes());
        assert_eq!(tags[&b"a"[..]], nodes(&[1, 4]));
        assert_eq!(tags[&b"b c"[..]], nodes(&[2]));
        assert_eq!(tags.len(), 2);
    }

    #[test]
    fn copy_metadata_is_no_tag() {
        let text = format!("\x01\ncopy: x\n\x01\n{} a\n", node(1));
        assert_eq!(parse(text.as_bytes()).len(), 1);
    }

    #[test]
    fn the_head_that_knows_the_other_wins() {
        let check = |earlier: &[u8], later: &[u8], node: u8| {
            let merged = merge(nodes(earlier), nodes(later));
            assert_eq!(
                merged.last(),
                nodes(&[node]).last(),
                "{earlier:?} {later:?}"
            );
        };
        check(&[1], &[2], 2);
        check(&[1, 2], &[1], 2);
        check(&[1], &[1, 2], 2);
        check(&[1, 2], &[2, 1], 1);
        check(&[1, 2, 1, 2], &[2, 1], 2);
        check(&[1, 0], &[1], 0);
        check(&[1], &[1], 1);
    }

    #[test]
    fn histories_are_joined() {
        assert_eq!(merge(nodes(&[1, 2, 3]), nodes(&[1, 2])), nodes(&[1, 2, 3]));
    }
}
