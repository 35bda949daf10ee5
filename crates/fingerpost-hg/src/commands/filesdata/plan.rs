//! Which revisions of which files a set of changesets needs.
//!
//! The reference reads every manifest whole. Here the files that a changeset
//! names are found in the stored delta of its manifest, which is short, and
//! the whole manifest is made only for what is not in there.

use fingerpost_core::{Failure, More};
use fingerpost_hg_proto::Node;
use hashbrown::{HashMap, HashSet};

use crate::commands::failures::internal;
use crate::commands::path_filter::PathFilter;
use crate::delta::hunks;
use crate::introduced::bad_changeset;
use crate::revisions::Reader;
use crate::{
    Rev, Revlog, Snapshot, StoreError, files, manifest_entries, manifest_node, parse_manifest,
};

/// One file of the answer.
#[derive(Debug)]
pub(super) struct FilePlan {
    pub(super) path: Box<[u8]>,
    /// Its revisions, each with the first requested changeset that has it.
    pub(super) nodes: Vec<(Node, Rev)>,
}

/// Makes the plan, changeset by changeset.
#[derive(Debug, Default)]
pub(super) struct Planner {
    revs: Vec<Rev>,
    next: usize,
    filter: PathFilter,
    have_parents: bool,
    files: Vec<FilePlan>,
    index: HashMap<Box<[u8]>, u32>,
    seen: HashSet<(u32, Node)>,
    /// Manifests of which everything is in the plan.
    manifests: HashSet<Rev>,
    looked_at: Vec<Rev>,
    bytes: usize,
}

impl Planner {
    /// A plan for the changesets `revs`, in their order. With `have_parents`
    /// only for the files that each changes, else for all that it has.
    pub(super) fn new(revs: Vec<Rev>, filter: PathFilter, have_parents: bool) -> Self {
        Self {
            revs,
            filter,
            have_parents,
            ..Self::default()
        }
    }

    /// Plans for some changesets more, and says whether there are others.
    /// `manifests` is the same revlog every time: what is remembered are its
    /// numbers.
    ///
    /// # Errors
    ///
    /// Fails when the plan takes more than `bytes_max`, or with what cannot be read.
    pub(super) fn go_on(
        &mut self,
        snapshot: &Snapshot,
        manifests: &Revlog,
        reader: &mut Reader,
        bytes_max: usize,
    ) -> Result<More, Failure> {
        while let Some(rev) = self.revs.get(self.next).copied() {
            if reader.is_batch_full(&[]) {
                return Ok(More::Yes);
            }
            self.add(rev, snapshot, manifests, reader)
                .map_err(internal)?;
            self.next += 1;
            if self.bytes > bytes_max {
                let text = "the answer has more files than this server's memory allows for one \
                            request; ask for fewer changesets";
                return Err(Failure::refused("too-many-files", text));
            }
        }
        Ok(More::No)
    }

    /// The manifests that the plan is made of. It holds only if they are right.
    pub(super) fn take_manifests(&mut self) -> Vec<Rev> {
        std::mem::take(&mut self.looked_at)
    }

    /// The files, sorted by path.
    pub(super) fn finish(mut self) -> Vec<FilePlan> {
        self.files
            .sort_unstable_by(|one, other| one.path.cmp(&other.path));
        self.files
    }

    fn add(
        &mut self,
        changeset: Rev,
        snapshot: &Snapshot,
        manifests: &Revlog,
        reader: &mut Reader,
    ) -> Result<(), StoreError> {
        let changelog = snapshot.changelog();
        let text = changelog.text(&mut reader.changelog, changeset)?;
        reader.count_work(text.len() as u64 + CHANGESET_WORK);
        let damaged = |error| bad_changeset(changelog, changeset, error);
        let node = manifest_node(&text).map_err(damaged)?;
        if node.is_null() {
            return Ok(());
        }
        let manifest = manifests.require(&node)?;
        if self.have_parents {
            let paths = files(&text).map_err(damaged)?;
            let paths: Vec<&[u8]> = paths.filter(|path| self.filter.wants(path)).collect();
            self.looked_at.push(manifest);
            let entries = manifest_entries(manifests, manifest, &paths, &mut reader.texts)?;
            for (path, entry) in paths.iter().zip(entries) {
                // A path that is not in the manifest was removed.
                if let Some((node, _)) = entry {
                    self.insert(path, node, changeset);
                }
            }
        } else if self.manifests.insert(manifest) {
            self.add_manifest(changeset, manifests, manifest, reader)?;
        }
        Ok(())
    }

    /// Adds every file of a manifest that is not in the plan yet: where it is
    /// stored as a delta against one that is, what the delta puts in alone.
    fn add_manifest(
        &mut self,
        changeset: Rev,
        manifests: &Revlog,
        manifest: Rev,
        reader: &mut Reader,
    ) -> Result<(), StoreError> {
        self.looked_at.push(manifest);
        let base = manifests.delta_base(manifest);
        if base.is_some_and(|base| self.manifests.contains(&base)) {
            let delta = manifests.chunk(manifest, &mut reader.scratch)?;
            if let Some(lines) = whole_lines(delta) {
                reader.count_work(lines.len() as u64);
                return self.add_lines(&lines, changeset, manifests, manifest);
            }
        }
        let text = reader.texts.text(manifests, manifest)?;
        reader.count_work(text.len() as u64);
        self.add_lines(&text, changeset, manifests, manifest)
    }

    fn add_lines(
        &mut self,
        lines: &[u8],
        changeset: Rev,
        manifests: &Revlog,
        manifest: Rev,
    ) -> Result<(), StoreError> {
        for entry in parse_manifest(lines) {
            let entry = entry.map_err(|error| manifests.corrupt(manifest, &error.to_string()))?;
            if self.filter.wants(entry.path) {
                self.insert(entry.path, entry.node, changeset);
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: &[u8], node: Node, changeset: Rev) {
        let number = match self.index.get(path) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.files.len()).expect("the plan's bytes are bounded");
                self.index.insert(path.into(), number);
                self.files.push(FilePlan {
                    path: path.into(),
                    nodes: Vec::new(),
                });
                self.bytes += 2 * path.len() + FILE_BYTES;
                number
            }
        };
        if self.seen.insert((number, node)) {
            self.files[number as usize].nodes.push((node, changeset));
            self.bytes += NODE_BYTES;
        }
    }
}

/// What a delta of a manifest puts in; `None` if that is not whole lines, as
/// the deltas of manifests are.
fn whole_lines(delta: &[u8]) -> Option<Vec<u8>> {
    let mut lines = Vec::with_capacity(delta.len());
    for hunk in hunks(delta) {
        lines.extend_from_slice(hunk.ok()?.data);
        if lines.last().is_some_and(|last| *last != b'\n') {
            return None;
        }
    }
    Some(lines)
}

/// What a changeset costs besides its text, in bytes of text that could have
/// been hashed instead: some ten microseconds.
const CHANGESET_WORK: u64 = 16 << 10;
/// What a file takes besides its path, and a revision, in the plan's tables.
const FILE_BYTES: usize = 120;
const NODE_BYTES: usize = 64;
