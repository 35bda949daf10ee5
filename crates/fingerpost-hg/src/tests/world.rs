//! A repository for tests, written changeset by changeset.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use fingerpost_core::{ManualClock, Timestamp};
use fingerpost_hg_proto::Node;

use crate::testing::{Revision, RevlogWriter, empty_repository};
use crate::{Repository, RepositoryOptions, Rev};

/// What a changeset is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit<'a> {
    pub(crate) parents: [Option<usize>; 2],
    /// Path and content of what it changes; `None` removes the path.
    pub(crate) files: &'a [(&'a str, Option<&'a str>)],
    /// As stored: items joined by NUL.
    pub(crate) extra: &'a str,
    /// Makes equal changesets differ.
    pub(crate) message: &'a str,
}

/// A repository that a test writes.
pub(crate) struct World {
    dir: tempfile::TempDir,
    store: PathBuf,
    changelog: RevlogWriter,
    manifests: RevlogWriter,
    filelogs: BTreeMap<String, RevlogWriter>,
    /// The files of each changeset: path and node.
    trees: Vec<BTreeMap<String, Node>>,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: empty_repository(dir.path()),
            dir,
            changelog: RevlogWriter::new(false, false),
            manifests: RevlogWriter::new(false, true),
            filelogs: BTreeMap::new(),
            trees: Vec::new(),
            // The beginning of time: no stamp is ever believed, so every test
            // also tests that what is compared is the same.
            clock: Arc::new(ManualClock::new(Timestamp(0))),
        }
    }

    pub(crate) fn dot_hg(&self) -> PathBuf {
        self.dir.path().join(".hg")
    }

    pub(crate) fn store_dir(&self) -> &PathBuf {
        &self.store
    }

    /// Adds a changeset without writing it.
    pub(crate) fn add(&mut self, commit: Commit<'_>) -> Node {
        let rev = self.changelog.len() as u32;
        let parents = commit
            .parents
            .map(|p| p.map(|p| Rev::from_index(p).unwrap()));
        let [p1, _] = commit.parents;
        let mut tree = p1.map_or_else(BTreeMap::new, |p1| self.trees[p1].clone());
        for (path, content) in commit.files {
            match content {
                None => drop(tree.remove(*path)),
                Some(content) => {
                    let before = tree.get(*path).copied();
                    let node = self.add_file(path, content, before, rev);
                    tree.insert((*path).to_owned(), node);
                }
            }
        }
        let lines = tree.iter().map(|(path, node)| format!("{path}\0{node}\n"));
        let manifest = self.add_manifest(&lines.collect::<String>(), rev);
        let paths = commit.files.iter().map(|(path, _)| format!("{path}\n"));
        let extra = match commit.extra {
            "" => String::new(),
            extra => format!(" {extra}"),
        };
        let text = format!(
            "{manifest}\ntest\n0 0{extra}\n{}\n{}",
            paths.collect::<String>(),
            commit.message
        );
        self.trees.push(tree);
        let revision = Revision {
            parents,
            ..Revision::root(text.as_bytes(), rev)
        };
        let rev = self.changelog.add(revision);
        self.changelog.node(rev)
    }

    /// Adds a child of `p1` and writes everything.
    pub(crate) fn commit(&mut self, p1: Option<usize>, message: &str) -> Node {
        let node = self.add(Commit {
            parents: [p1, None],
            message,
            ..Commit::default()
        });
        self.write();
        node
    }

    /// A file revision; one that is there already is not added again, as in hg.
    fn add_file(&mut self, path: &str, content: &str, before: Option<Node>, link: u32) -> Node {
        let filelog = self.filelogs.entry(path.to_owned());
        let filelog = filelog.or_insert_with(|| RevlogWriter::new(true, true));
        let parent = before.and_then(|before| find(filelog, &before));
        add_once(filelog, content, [parent, None], link)
    }

    /// Manifests here have no parents, so that equal trees are one revision.
    fn add_manifest(&mut self, text: &str, link: u32) -> Node {
        match text {
            "" => Node::NULL,
            text => add_once(&mut self.manifests, text, [None, None], link),
        }
    }

    pub(crate) fn node(&self, at: usize) -> Node {
        self.changelog.node(Rev::from_index(at).unwrap())
    }

    /// Writes all revlogs in hg's order.
    pub(crate) fn write(&self) {
        for (path, filelog) in &self.filelogs {
            filelog.write_filelog(&self.store, path);
        }
        self.manifests
            .write(&self.store, "00manifest.i", "00manifest.d");
        self.write_changelog();
    }

    pub(crate) fn write_changelog(&self) {
        self.changelog
            .write(&self.store, "00changelog.i", "00changelog.d");
    }

    /// Starts the changelog over; manifests and filelogs stay.
    pub(crate) fn clear_changelog(&mut self) {
        self.changelog = RevlogWriter::new(false, false);
        self.trees.clear();
    }

    /// Writes `phaseroots`: phase and changeset.
    pub(crate) fn phases(&self, roots: &[(u8, usize)]) {
        let lines = roots
            .iter()
            .map(|(phase, at)| format!("{phase} {}\n", self.node(*at)));
        fs::write(self.store.join("phaseroots"), lines.collect::<String>()).unwrap();
    }

    /// Writes `bookmarks`: name and changeset.
    pub(crate) fn bookmarks(&self, marks: &[(&str, usize)]) {
        let lines = marks
            .iter()
            .map(|(name, at)| format!("{} {name}\n", self.node(*at)));
        fs::write(self.dot_hg().join("bookmarks"), lines.collect::<String>()).unwrap();
    }

    /// Appends a marker that prunes a changeset.
    pub(crate) fn prune(&self, at: usize) {
        let path = self.store.join("obsstore");
        let mut bytes = fs::read(&path).unwrap_or_else(|_| vec![1]);
        bytes.extend(marker_v1(self.node(at), &[]));
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn options(&self) -> RepositoryOptions {
        RepositoryOptions {
            clock: Arc::clone(&self.clock) as _,
            ..RepositoryOptions::default()
        }
    }

    pub(crate) fn open(&self) -> Repository {
        Repository::open(&self.dot_hg(), self.options()).unwrap()
    }
}

fn find(revlog: &RevlogWriter, node: &Node) -> Option<Rev> {
    let mut revs = (0..revlog.len()).filter_map(Rev::from_index);
    revs.find(|rev| revlog.node(*rev) == *node)
}

fn add_once(revlog: &mut RevlogWriter, text: &str, parents: [Option<Rev>; 2], link: u32) -> Node {
    let node_of = |parent: Option<Rev>| parent.map_or(Node::NULL, |parent| revlog.node(parent));
    let node = crate::hash(parents.map(node_of), text.as_bytes());
    if find(revlog, &node).is_none() {
        revlog.add(Revision {
            parents,
            ..Revision::root(text.as_bytes(), link)
        });
    }
    node
}

/// A version 1 marker without texts and without recorded parents.
pub(crate) fn marker_v1(predecessor: Node, successors: &[Node]) -> Vec<u8> {
    let mut marker = vec![0; 16];
    marker.extend([u8::try_from(successors.len()).unwrap(), 3, 0]);
    marker.extend(predecessor.as_bytes());
    for successor in successors {
        marker.extend(successor.as_bytes());
    }
    let size = u32::try_from(marker.len()).unwrap();
    marker[..4].copy_from_slice(&size.to_be_bytes());
    marker
}
