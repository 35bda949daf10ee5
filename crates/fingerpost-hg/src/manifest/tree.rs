//! Manifests of a repository, in one piece or one for each directory.

use std::collections::BTreeMap;

use fingerpost_hg_proto::Node;

use super::{ManifestFlag, find_in_manifest, manifest_entries, parse_manifest};
use crate::error::StoreError;
use crate::revlog::{Rev, Revlog, RevlogName};
use crate::store::Store;
use crate::texts::Texts;

/// Deeper directories are refused.
pub const TREE_DEPTH_MAX: usize = 512;
/// So many manifests of directories are held open.
const TREES_MAX: usize = 1024;

/// What a walk calls with each file: its path, revision and kind.
pub type EachFile<'a> = &'a mut dyn FnMut(&[u8], Node, ManifestFlag) -> Result<(), StoreError>;

/// The manifests of a repository.
///
/// With the requirement `treemanifest` each directory has a manifest of its
/// own, and entries of directories have the flag [`ManifestFlag::Tree`].
#[derive(Debug)]
pub struct Manifests<'s> {
    store: &'s Store,
    root: &'s Revlog,
    trees: BTreeMap<Vec<u8>, Revlog>,
}

/// A directory on the way down.
struct Level {
    /// Length of its path, with the slash at the end.
    prefix: usize,
    /// What is left of it, the next entry last.
    entries: Vec<(Vec<u8>, Node, ManifestFlag)>,
}

impl<'s> Manifests<'s> {
    /// The manifests of a store whose root was opened already.
    pub fn new(store: &'s Store, root: &'s Revlog) -> Self {
        let trees = BTreeMap::new();
        Self { store, root, trees }
    }

    /// The manifest of the root directory.
    pub fn root(&self) -> &'s Revlog {
        self.root
    }

    /// The manifest of a directory, a path without slashes at its ends; the
    /// empty path is the root.
    ///
    /// # Errors
    ///
    /// As [`Revlog::open`]. A directory that never was has no revisions.
    pub fn tree(&mut self, dir: &[u8]) -> Result<&Revlog, StoreError> {
        if dir.is_empty() {
            return Ok(self.root);
        }
        if !self.trees.contains_key(dir) {
            if self.trees.len() >= TREES_MAX {
                self.trees.clear();
            }
            let revlog = Revlog::open(self.store, RevlogName::Tree(dir))?;
            self.trees.insert(dir.to_vec(), revlog);
        }
        Ok(self.trees.get(dir).unwrap_or(self.root))
    }

    /// The revision and kind of each of these files, which are sorted and
    /// without repetition; `None` where the file is not in the manifest.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a manifest, or that one is missing.
    pub fn entries(
        &mut self,
        rev: Rev,
        paths: &[&[u8]],
        texts: &mut Texts,
    ) -> Result<Vec<Option<(Node, ManifestFlag)>>, StoreError> {
        if !self.store.requirements().treemanifest() {
            return manifest_entries(self.root, rev, paths, texts);
        }
        let root = self.root.node(rev);
        paths
            .iter()
            .map(|path| self.entry(root, path, texts))
            .collect()
    }

    /// Looks one path up, directory by directory.
    fn entry(
        &mut self,
        root: Node,
        path: &[u8],
        texts: &mut Texts,
    ) -> Result<Option<(Node, ManifestFlag)>, StoreError> {
        let (mut start, mut node) = (0, root);
        loop {
            let rest = path.get(start..).unwrap_or_default();
            let slash = memchr::memchr(b'/', rest);
            let name = &rest[..slash.unwrap_or(rest.len())];
            let dir = path.get(..start.saturating_sub(1)).unwrap_or_default();
            let tree = self.tree(dir)?;
            let rev = tree.require(&node)?;
            let text = texts.text(tree, rev)?;
            let entry = find_in_manifest(&text, name)
                .map_err(|error| tree.corrupt(rev, &error.to_string()))?;
            match (entry, slash) {
                (Some(entry), Some(slash)) if entry.flag == ManifestFlag::Tree => {
                    (start, node) = (start + slash + 1, entry.node);
                }
                (Some(entry), None) if entry.flag != ManifestFlag::Tree => {
                    return Ok(Some((entry.node, entry.flag)));
                }
                _ => return Ok(None),
            }
        }
    }

    /// Calls `each` with every file of a manifest: path, revision, kind, in the
    /// order of the paths.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a manifest, that one is missing, or the
    /// error of `each`, which ends the walk.
    pub fn walk(
        &mut self,
        rev: Rev,
        texts: &mut Texts,
        each: EachFile<'_>,
    ) -> Result<(), StoreError> {
        if !self.store.requirements().treemanifest() {
            return self.walk_flat(rev, texts, each);
        }
        let mut path = Vec::new();
        let mut levels = vec![self.level(&path, self.root.node(rev), texts)?];
        while let Some(level) = levels.last_mut() {
            path.truncate(level.prefix);
            let Some((name, node, flag)) = level.entries.pop() else {
                levels.pop();
                continue;
            };
            path.extend_from_slice(&name);
            if flag != ManifestFlag::Tree {
                each(&path, node, flag)?;
                continue;
            }
            if levels.len() >= TREE_DEPTH_MAX {
                let file = self.root.file().to_owned();
                let what = format!("its directories are more than {TREE_DEPTH_MAX} deep");
                return Err(StoreError::Corrupt { file, what });
            }
            levels.push(self.level(&path, node, texts)?);
        }
        Ok(())
    }

    fn walk_flat(&self, rev: Rev, texts: &mut Texts, each: EachFile<'_>) -> Result<(), StoreError> {
        let bad = |what: &str| self.root.corrupt(rev, what);
        let text = texts.text(self.root, rev)?;
        for entry in parse_manifest(&text) {
            let entry = entry.map_err(|error| bad(&error.to_string()))?;
            if entry.flag == ManifestFlag::Tree {
                return Err(bad("it has a directory's manifest in a store without them"));
            }
            each(entry.path, entry.node, entry.flag)?;
        }
        Ok(())
    }

    /// The entries of a directory, whose path ends with a slash unless it is
    /// the root.
    fn level(&mut self, dir: &[u8], node: Node, texts: &mut Texts) -> Result<Level, StoreError> {
        let tree = self.tree(dir.strip_suffix(b"/").unwrap_or(dir))?;
        let rev = tree.require(&node)?;
        let text = texts.text(tree, rev)?;
        let mut entries = Vec::new();
        for entry in parse_manifest(&text) {
            let entry = entry.map_err(|error| tree.corrupt(rev, &error.to_string()))?;
            let mut name = entry.path.to_vec();
            if entry.flag == ManifestFlag::Tree {
                name.push(b'/');
            }
            entries.push((name, entry.node, entry.flag));
        }
        // A directory's files come where its path with the slash belongs.
        entries.sort_unstable_by(|(one, ..), (other, ..)| other.cmp(one));
        let prefix = dir.len();
        Ok(Level { prefix, entries })
    }
}
