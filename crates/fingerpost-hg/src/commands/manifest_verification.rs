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
    /// Whether the revisions were read before this verifies them.
    were_read: bool,
    /// Whether they are read again, whatever is known of them.
    again: bool,
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
            were_read: false,
            again: false,
            verifier: ChainVerifier::default(),
            texts: Texts::new(TEXTS_BYTES),
            filelogs: HashMap::new(),
        }
    }

    /// Will verify `revs`, of which something was used already. What was
    /// verified by somebody else is not what was read here if the file was
    /// written to meanwhile; then every one of them is hashed once more. Bytes
    /// that are right after that were so before: what is written over once does
    /// not come back under an open revlog.
    pub(super) fn of_what_was_read(manifests: Arc<Revlog>, revs: Vec<Rev>) -> Self {
        Self {
            were_read: true,
            ..Self::new(manifests, revs)
        }
    }

    /// Goes on for a while, and says whether there is more to do. Nothing is
    /// verified before there is not.
    pub(super) fn go_on(
        &mut self,
        snapshot: &Snapshot,
        reader: &mut Reader,
    ) -> Result<More, StoreError> {
        reader.begin_batch();
        while let Some(rev) = self.revs.get(self.next).copied() {
            if reader.is_batch_full(&[]) {
                return Ok(More::Yes);
            }
            self.verify(rev, snapshot, reader)?;
            self.next += 1;
        }
        self.verifier.finish(&self.manifests, &mut self.texts)?;
        if !self.were_read || self.again || self.manifests.is_undisturbed() {
            return Ok(More::No);
        }
        (self.again, self.next) = (true, 0);
        // What is remembered was not hashed where one hash vouched for many.
        self.texts.forget();
        Ok(More::Yes)
    }

    fn verify(
        &mut self,
        rev: Rev,
        snapshot: &Snapshot,
        reader: &mut Reader,
    ) -> Result<(), StoreError> {
        let manifests = &*self.manifests;
        let stored = u64::from(manifests.stored_len(rev));
        if self.again {
            reader.count_work(stored + u64::from(manifests.text_len(rev).unwrap_or(0)));
            // A text of a file that is written to is always hashed.
            return self.texts.text(manifests, rev).map(drop);
        }
        reader.count_work(stored + REVISION_WORK);
        let mut witness = Store {
            snapshot,
            manifests,
            changelog: &mut reader.changelog,
            filelogs: &mut self.filelogs,
        };
        self.verifier
            .add(manifests, rev, &mut self.texts, &mut witness)
    }
}

/// What a revision costs besides its delta: two changesets, and now and then
/// a hash.
const REVISION_WORK: u64 = 16 << 10;
/// How many files' revlogs are kept open: those that a history comes back to.
const FILELOGS_MAX: usize = 64;
/// What is remembered of manifests while they are verified.
const TEXTS_BYTES: usize = 24 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{Commit, World};

    /// Whether the root manifest is found to be right, after its data was
    /// written over.
    fn is_right(verification: &mut ManifestVerification, snapshot: &Snapshot) -> bool {
        let mut reader = Reader::new(0);
        loop {
            match verification.go_on(snapshot, &mut reader) {
                Ok(More::Yes) => {}
                Ok(More::No) => return true,
                Err(error) => {
                    assert!(error.may_be_stale(), "{error}");
                    return false;
                }
            }
        }
    }

    #[test]
    fn what_was_read_of_a_file_that_is_written_to_is_hashed_again() {
        let mut world = World::new();
        world.add(Commit {
            files: &[("f", Some("1"))],
            ..Commit::default()
        });
        world.write();
        let snapshot = world.open().snapshot().unwrap();
        let manifests = snapshot.manifests().unwrap();
        let new = |were_read| match were_read {
            true => ManifestVerification::of_what_was_read(Arc::clone(&manifests), vec![Rev(0)]),
            false => ManifestVerification::new(Arc::clone(&manifests), vec![Rev(0)]),
        };
        assert!(is_right(&mut new(true), &snapshot));
        let data = world.store_dir().join("00manifest.d");
        let mut bytes = std::fs::read(&data).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        bytes.push(0);
        std::fs::write(&data, bytes).unwrap();
        assert!(is_right(&mut new(false), &snapshot));
        assert!(!is_right(&mut new(true), &snapshot));
    }
}
