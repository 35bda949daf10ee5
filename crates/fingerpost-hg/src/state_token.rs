//! What the answers of a repository depend on, in 32 bytes.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::Snapshot;
use crate::changelog::Changelog;

/// A digest of the state that answers depend on; see
/// [`Snapshot::state_token`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateToken(pub [u8; 32]);

impl fmt::Debug for StateToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateToken(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

impl StateToken {
    /// Every part goes in with its length, so that no two states are one text.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        part(b"fingerpost hg state 1");
        let terms = snapshot.terms();
        part(&[u8::from(terms.publishing), u8::from(terms.marker_exchange)]);
        for name in snapshot.store().requirements().names() {
            part(name.as_bytes());
        }
        part(b"");
        let changelog = snapshot.changelog();
        part(&(changelog.len() as u64).to_be_bytes());
        part(&snapshot.shared().nodes.lock().of(changelog));
        for bytes in snapshot.inputs().state_bytes() {
            part(bytes);
        }
        // Markers hide changesets and do nothing else, so what they hide
        // stands for them: a marker that hides nothing changes no answer.
        for rev in snapshot.view().unserved() {
            digest.update(rev.0.to_be_bytes());
        }
        Self(digest.finalize().into())
    }
}

/// The digest of all nodes of a changelog in order, extended as it grows.
#[derive(Debug, Default)]
pub(crate) struct NodesDigest {
    lineage: Option<u64>,
    len: usize,
    digest: Sha256,
}

impl NodesDigest {
    /// The digest for this changelog.
    pub(crate) fn of(&mut self, changelog: &Changelog) -> [u8; 32] {
        // A snapshot may be older than the last one that asked.
        if self.lineage != Some(changelog.lineage()) || self.len > changelog.len() {
            *self = Self {
                lineage: Some(changelog.lineage()),
                ..Self::default()
            };
        }
        for rev in changelog.revs().skip(self.len) {
            self.digest.update(changelog.node(rev).as_bytes());
        }
        self.len = changelog.len();
        self.digest.clone().finalize().into()
    }
}
