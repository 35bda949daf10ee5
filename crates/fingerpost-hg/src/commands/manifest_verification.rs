//! Verifying the manifests that an answer is made of, before it is made.

use std::sync::Arc;

use fingerpost_core::More;

use crate::manifest::ChainVerifier;
use crate::revisions::Reader;
use crate::{Rev, Revlog, Snapshot, StoreError};

/// Revisions of the root manifest that are to be verified, in pieces.
#[derive(Debug)]
pub(super) struct ManifestVerification {
    manifests: Arc<Revlog>,
    revs: Vec<Rev>,
    next: usize,
    verifier: ChainVerifier,
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
            let mut expect = |rev, texts: &mut _| snapshot.expected_manifest(manifests, rev, texts);
            self.verifier
                .add(manifests, rev, &mut reader.texts, &mut expect)?;
            self.next += 1;
        }
        self.verifier.finish(manifests, &mut reader.texts)?;
        Ok(More::No)
    }
}

/// What a revision costs besides its delta: two changesets, and now and then
/// a hash.
const REVISION_WORK: u64 = 16 << 10;
