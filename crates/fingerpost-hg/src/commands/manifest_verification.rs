//! Verifying the manifests that an answer is made of, before it is made.

use std::sync::Arc;

use fingerpost_core::More;

use fingerpost_hg_proto::Node;
use hashbrown::HashMap;

use crate::manifest::{ChainVerifier, Witness};
use crate::revisions::Reader;
use crate::{Rev, Revlog, RevlogName, Snapshot, StoreError, Texts};

/// Revisions of the root manifest that are to be verified, in pieces.
#[derive(Debug)]
pub(super) struct ManifestVerification {
    manifests: Arc<Revlog>,
    revs: Vec<Rev>,
    next: usize,
    verifier: ChainVerifier,
    /// More of them than an answer needs: a history with merges comes back to
    /// many branches.
    texts: Texts,
    /// Those that were asked for last.
    filelogs: HashMap<Box<[u8]>, Revlog>,
}

/// What the rest of the store says of a manifest.
struct Store<'a> {
    snapshot: &'a Snapshot,
    manifests: &'a Revlog,
    changelog: &'a mut Texts,
    filelogs: &'a mut HashMap<Box<[u8]>, Revlog>,
}

impl Witness for Store<'_> {
    fn manifest(&mut self, rev: Rev) -> Result<Option<(Node, [Node; 2])>, StoreError> {
        self.snapshot
            .expected_manifest(self.manifests, rev, self.changelog)
    }

    fn has_file(&mut self, path: &[u8], node: &Node) -> Result<bool, StoreError> {
        if let Some(filelog) = self.filelogs.get(path) {
            return Ok(filelog.rev(node).is_some());
        }
        if self.filelogs.len() >= FILELOGS_MAX {
            self.filelogs.clear();
        }
        let filelog = Revlog::open(self.snapshot.store(), RevlogName::Filelog(path))?;
        let found = filelog.rev(node).is_some();
        self.filelogs.insert(path.into(), filelog);
        Ok(found)
    }
}

impl ManifestVerification {
    /// Will verify `revs`, in ascending order, whatever theirs is.
    pub(super) fn new(manifests: Arc<Revlog>, mut revs: Vec<Rev>) -> Self {
        revs.sort_unstable();
        revs.dedup();
        Self {
            manifests,
            revs,
            next: 0,
            verifier: ChainVerifier::default(),
            texts: Texts::new(TEXTS_BYTES),
            filelogs: HashMap::new(),
        }
    }

    /// Goes on for a while, and says whether there is more to do. Nothing is
    /// verified before there is not.
    pub(super) fn go_on(
        &mut self,
        snapshot: &Snapshot,
        reader: &mut Reader,
    ) -> Result<More, StoreError> {
        let manifests = &*self.manifests;
        reader.begin_batch();
        while let Some(rev) = self.revs.get(self.next).copied() {
            if reader.is_batch_full(&[]) {
                return Ok(More::Yes);
            }
            reader.count_work(u64::from(manifests.stored_len(rev)) + REVISION_WORK);
            let mut witness = Store {
                snapshot,
                manifests,
                changelog: &mut reader.changelog,
                filelogs: &mut self.filelogs,
            };
            self.verifier
                .add(manifests, rev, &mut self.texts, &mut witness)?;
            self.next += 1;
        }
        self.verifier.finish(manifests, &mut self.texts)?;
        Ok(More::No)
    }
}

/// What a revision costs besides its delta: two changesets, and now and then
/// a hash.
const REVISION_WORK: u64 = 16 << 10;
/// How many files' revlogs are kept open: those that a history comes back to.
const FILELOGS_MAX: usize = 64;
/// What is remembered of manifests while they are verified.
const TEXTS_BYTES: usize = 24 << 20;
