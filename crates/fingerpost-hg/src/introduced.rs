//! Which visible changeset introduced a manifest or file revision.

use fingerpost_hg_proto::Node;
use hashbrown::{HashMap, HashSet};

use crate::changelog::Changelog;
use crate::manifest_entry::node_at;
use crate::state_file::corrupt;
use crate::{Manifests, Rev, RevSet, Revlog, RevlogName, Snapshot, StoreError, Texts, changeset};

/// How much text is remembered while one question is answered, in bytes.
const TEXTS_BYTES: usize = 4 << 20;
/// How many manifests are read at most to answer for revisions of one file.
const MANIFESTS_MAX: usize = 512;

/// Manifests that a served changeset uses although the first changeset that
/// used them is not served, or none: the manifest's node, and the first served
/// changeset that uses it.
pub(crate) type ReusedManifests = HashMap<Node, Rev>;

/// Which changesets changed or removed which path, from some changeset on: the
/// hash of the path, and the changeset. Eight bytes for each file of each.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    lineage: Option<u64>,
    from: usize,
    end: usize,
    /// Ascending by changeset.
    pairs: Vec<(u32, Rev)>,
}

impl Snapshot {
    /// The first served changeset that introduced a manifest or file revision:
    /// its linknode as this snapshot sees it. `None` if no served changeset
    /// did, and then the revision must not be served either.
    ///
    /// The link revision answers nearly always. Where it leads to a changeset
    /// that is not served, a later one may have introduced the same revision
    /// again, as an amended changeset does with the files that were not
    /// amended: then the served changesets after it that touched the path are
    /// looked at. That work is bounded; a revision that would need more counts
    /// as not introduced.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a changeset or manifest that had to be read.
    pub fn introducer(
        &self,
        name: RevlogName<'_>,
        revlog: &Revlog,
        rev: Rev,
    ) -> Result<Option<Rev>, StoreError> {
        Ok(self.introducers(name, revlog, [rev])?.get(&rev).copied())
    }

    /// [`Snapshot::introducer`] of each of these revisions that has one, for
    /// not much more work than that of one: it is bounded for all together.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::introducer`].
    pub(crate) fn introducers(
        &self,
        name: RevlogName<'_>,
        revlog: &Revlog,
        revs: impl IntoIterator<Item = Rev>,
    ) -> Result<HashMap<Rev, Rev>, StoreError> {
        let (mut found, mut later) = (HashMap::new(), HashMap::new());
        for rev in revs {
            let Some(link) = self.link(name, revlog, rev) else {
                continue;
            };
            let node = revlog.node(rev);
            match name {
                _ if self.is_served(link) => drop(found.insert(rev, link)),
                RevlogName::Changelog => {}
                RevlogName::Manifest => {
                    let user = self.reused_manifests()?.get(&node);
                    found.extend(user.map(|user| (rev, *user)));
                }
                RevlogName::Tree(_) | RevlogName::Filelog(_) => {
                    later.insert(node, (rev, link));
                }
            }
        }
        if let RevlogName::Tree(path) | RevlogName::Filelog(path) = name {
            self.find_later_introducers(path, revlog, later, &mut found)?;
        }
        Ok(found)
    }

    /// Whether any revision may be served.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::introducer`].
    pub(crate) fn serves_any(
        &self,
        name: RevlogName<'_>,
        revlog: &Revlog,
    ) -> Result<bool, StoreError> {
        let link_is_served = |rev| {
            let link = self.link(name, revlog, rev);
            link.is_some_and(|link| self.is_served(link))
        };
        Ok(revlog.revs().any(link_is_served)
            || !self.introducers(name, revlog, revlog.revs())?.is_empty())
    }

    /// The changeset that a link revision names, if this snapshot has it.
    fn link(&self, name: RevlogName<'_>, revlog: &Revlog, rev: Rev) -> Option<Rev> {
        let link = match name {
            RevlogName::Changelog => rev,
            _ => Rev(revlog.link_rev(rev)),
        };
        (link.index() < self.len()).then_some(link)
    }

    /// Whether a revision of the root manifest may be served.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::introducer`].
    pub fn servable_manifest(&self, manifests: &Revlog, rev: Rev) -> Result<bool, StoreError> {
        let introducer = self.introducer(RevlogName::Manifest, manifests, rev)?;
        Ok(introducer.is_some())
    }

    /// The manifests that were first used by a changeset that is not served.
    fn reused_manifests(&self) -> Result<&ReusedManifests, StoreError> {
        if let Some(reused) = self.reused_manifests.get() {
            return Ok(reused);
        }
        let manifests = self.manifests()?;
        let links = manifests.revs().map(|rev| Rev(manifests.link_rev(rev)));
        // Who is named by a link revision introduced that manifest itself.
        let linked = RevSet::from_revs(self.len(), links);
        let first = self.first_unserved().map_or(self.len(), Rev::index);
        let mut texts = Texts::new(0);
        let mut reused = ReusedManifests::default();
        for rev in self.changelog().revs().skip(first) {
            if self.is_served(rev) && !linked.contains(rev) {
                let manifest = self.manifest_node(&mut texts, rev)?;
                reused.entry(manifest).or_insert(rev);
            }
        }
        Ok(self.reused_manifests.get_or_init(|| reused))
    }

    /// For each revision in `later`, with its number and link revision, the
    /// first served changeset after the link that has it under `path` and
    /// changed it.
    fn find_later_introducers(
        &self,
        path: &[u8],
        revlog: &Revlog,
        mut later: HashMap<Node, (Rev, Rev)>,
        found: &mut HashMap<Rev, Rev>,
    ) -> Result<(), StoreError> {
        let Some(first) = later.values().map(|(_, link)| *link).min() else {
            return Ok(());
        };
        let from = self.first_unserved().unwrap_or(first);
        let touched = {
            let with_dirs = self.store().requirements().treemanifest();
            let mut touched = self.shared.touched.lock();
            touched.extend(self.changelog(), from.index(), with_dirs)?;
            touched.after(path, first)
        };
        // A changeset has one revision under a path, so who introduced another
        // one did not introduce this one.
        let others: HashSet<u32> = revlog.revs().map(|rev| revlog.link_rev(rev)).collect();
        let candidates = touched
            .into_iter()
            .filter(|rev| self.is_served(*rev) && !others.contains(&rev.0));
        let root = self.manifests()?;
        let mut manifests = Manifests::new(self.store(), &root);
        let mut texts = Texts::new(TEXTS_BYTES);
        for candidate in candidates.take(MANIFESTS_MAX) {
            let manifest = self.manifest_node(&mut texts, candidate)?;
            let node = node_at(&mut manifests, &mut texts, manifest, path)?;
            let of_it = node.and_then(|node| later.get(&node).map(|of_it| (node, *of_it)));
            if let Some((node, (rev, link))) = of_it
                && link < candidate
            {
                found.insert(rev, candidate);
                later.remove(&node);
                if later.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The node and parents that a revision of the root manifest must have by
    /// the changesets, whose texts are verified; `None` if they do not say.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a changeset's text.
    pub(crate) fn expected_manifest(
        &self,
        manifests: &Revlog,
        rev: Rev,
        texts: &mut Texts,
    ) -> Result<Option<(Node, [Node; 2])>, StoreError> {
        let changeset = Rev(manifests.link_rev(rev));
        if changeset.index() >= self.len() {
            return Ok(None);
        }
        let node = self.manifest_node(texts, changeset)?;
        let mut parents = [Node::NULL; 2];
        for (node, parent) in parents
            .iter_mut()
            .zip(self.changelog().revlog().parents(changeset))
        {
            if let Some(parent) = parent {
                *node = self.manifest_node(texts, parent)?;
            }
        }
        Ok(Some((node, parents)))
    }

    /// The node of a changeset's root manifest.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the changeset's text.
    pub fn manifest_node(&self, texts: &mut Texts, rev: Rev) -> Result<Node, StoreError> {
        let text = self.changelog().text(texts, rev)?;
        changeset::manifest_node(&text).map_err(|error| bad_changeset(self.changelog(), rev, error))
    }
}

impl Touched {
    /// Reads the changesets from `from` on, unless they were read.
    fn extend(
        &mut self,
        changelog: &Changelog,
        from: usize,
        with_dirs: bool,
    ) -> Result<(), StoreError> {
        if self.lineage != Some(changelog.lineage()) || from < self.from {
            *self = Self {
                lineage: Some(changelog.lineage()),
                from,
                end: from,
                pairs: Vec::new(),
            };
        }
        let mut texts = Texts::new(0);
        for rev in changelog.revs().skip(self.end) {
            let text = changelog.text(&mut texts, rev)?;
            let files =
                changeset::files(&text).map_err(|error| bad_changeset(changelog, rev, error))?;
            for path in files {
                self.pairs.push((hash(path), rev));
                let slashes = memchr::memchr_iter(b'/', path).filter(|_| with_dirs);
                self.pairs
                    .extend(slashes.map(|slash| (hash(&path[..slash]), rev)));
            }
            self.end = rev.index() + 1;
        }
        Ok(())
    }

    /// The changesets after `after` that touched a path with this path's hash.
    fn after(&self, path: &[u8], after: Rev) -> Vec<Rev> {
        let start = self.pairs.partition_point(|(_, rev)| *rev <= after);
        let wanted = hash(path);
        let mut revs: Vec<Rev> = self.pairs[start..]
            .iter()
            .filter(|(hash, _)| *hash == wanted)
            .map(|(_, rev)| *rev)
            .collect();
        revs.dedup();
        revs
    }
}

/// A hash that only says where to look: equal ones are compared.
fn hash(path: &[u8]) -> u32 {
    // FNV-1a.
    path.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

pub(crate) fn bad_changeset(
    changelog: &Changelog,
    rev: Rev,
    error: crate::ChangesetError,
) -> StoreError {
    corrupt(
        changelog.revlog().file(),
        format!("revision {rev}: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{Commit, World};

    #[test]
    fn who_touched_a_path_is_found_from_there_on() {
        let mut world = World::new();
        let commit = |files| Commit {
            files,
            ..Commit::default()
        };
        world.add(commit(&[("d/e/f", Some("1"))]));
        world.add(commit(&[("d/e/f", Some("2")), ("d/e/g", Some("2"))]));
        world.add(commit(&[("d/h", Some("3"))]));
        world.write();
        let snapshot = world.open().snapshot().unwrap();
        let mut touched = Touched::default();
        touched.extend(snapshot.changelog(), 1, false).unwrap();
        assert_eq!(touched.after(b"d/e/f", Rev(0)), [Rev(1)]);
        assert_eq!(touched.after(b"d/e/f", Rev(1)), []);
        assert_eq!(touched.after(b"d/e", Rev(0)), []);
        // Asked from further back, it reads again.
        touched.extend(snapshot.changelog(), 0, false).unwrap();
        assert_eq!(touched.from, 0);
        assert_eq!(touched.pairs.len(), 4);
        let mut with_dirs = Touched::default();
        with_dirs.extend(snapshot.changelog(), 0, true).unwrap();
        assert_eq!(with_dirs.after(b"d/e", Rev(0)), [Rev(1)]);
        assert_eq!(with_dirs.after(b"d", Rev(0)), [Rev(1), Rev(2)]);
    }

    #[test]
    fn all_revisions_of_a_file_are_answered_for_at_once() {
        let mut world = World::new();
        world.add(Commit::default());
        for (parent, content) in [(0, "1"), (1, "2"), (0, "1"), (3, "2")] {
            world.add(Commit {
                parents: [Some(parent), None],
                files: &[("f", Some(content))],
                message: if parent < 2 { content } else { "again" },
                ..Commit::default()
            });
        }
        world.write();
        world.phases(&[(1, 1), (1, 3)]);
        world.prune(1);
        world.prune(2);
        let snapshot = world.open().snapshot().unwrap();
        let name = RevlogName::Filelog(b"f");
        let filelog = Revlog::open(snapshot.store(), name).unwrap();
        let found = snapshot
            .introducers(name, &filelog, filelog.revs())
            .unwrap();
        assert_eq!(snapshot.served().collect::<Vec<_>>(), [0, 3, 4].map(Rev));
        assert_eq!(found, [(Rev(0), Rev(3)), (Rev(1), Rev(4))].into());
        assert!(snapshot.serves_any(name, &filelog).unwrap());
    }
}
