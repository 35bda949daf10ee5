//! When content under an old node may have changed.

use std::fmt;

use fingerpost_hg_proto::Node;
use sha2::{Digest, Sha256};

use crate::changelog::Changelog;
use crate::inputs::Inputs;
use crate::state_file::StateFile;
use crate::{FileStamp, Snapshot};

/// The longest list of backups that is looked through, in bytes.
const BACKUPS_BYTES_MAX: u64 = 16 << 20;

/// Names the content under the nodes of a repository: an answer that was
/// computed from nodes alone stays right as long as the generation is the same.
///
/// A node names its content for good, except when `hg censor` removes it, or a
/// repository is stripped or replaced under its path. Then the generation
/// changes. It is made of the epoch from [`crate::RepositoryOptions`] and of
/// what was noticed since, so it is the same in every process that noticed
/// nothing, and what happened while no process looked is not in it.
///
/// What is noticed: a changelog that lost or reordered changesets; a
/// transaction that rewrote a filelog or manifest, if it was the last one when
/// we looked; one that changed nothing we know of; another directory in the
/// place of `.hg` or of its store; and what [`crate::Repository::note_rewrite`]
/// is told. A [`crate::Mercurial`] remembers it for as long as the process
/// lives, also of repositories that it closed in between.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub [u8; 16]);

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generation(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

impl Generation {
    fn first(epoch: u64) -> Self {
        Self::from_digest(
            Sha256::new()
                .chain_update(b"fingerpost hg generation 1")
                .chain_update(epoch.to_be_bytes()),
        )
    }

    /// The one after an event, which is what was seen of it.
    fn after(self, event: &[u8]) -> Self {
        Self::from_digest(Sha256::new().chain_update(self.0).chain_update(event))
    }

    fn from_digest(digest: Sha256) -> Self {
        let digest = digest.finalize();
        let start = digest.first_chunk().expect("a digest has 32 bytes");
        Self(*start)
    }
}

/// What is remembered of a repository however much is forgotten.
#[derive(Debug)]
pub(crate) struct Memory {
    generation: Generation,
    seen: Option<Seen>,
    noted: u64,
    /// Whether something that we watch changed since a transaction last ended.
    explained: bool,
}

/// The history as it was last seen.
#[derive(Debug)]
struct Seen {
    len: usize,
    digest: [u8; 32],
    undo: Option<FileStamp>,
}

impl Memory {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            generation: Generation::first(epoch),
            seen: None,
            noted: 0,
            explained: false,
        }
    }

    /// That of a repository of which more may have been noticed than is known
    /// by now; `losses` is another number each time.
    pub(crate) fn after_losses(epoch: u64, losses: u64) -> Self {
        let mut memory = Self::new(epoch);
        if losses > 0 {
            let event = [b"losses", &losses.to_be_bytes()[..]].concat();
            memory.generation = memory.generation.after(&event);
        }
        memory
    }

    /// Remembers the history of a snapshot that is about to be forgotten.
    pub(crate) fn keep(&mut self, snapshot: &Snapshot) {
        let inputs = snapshot.inputs();
        self.seen = Some(Seen {
            len: inputs.changelog.len(),
            digest: nodes_digest(&inputs.changelog, inputs.changelog.len()),
            undo: inputs.undo,
        });
    }

    pub(crate) fn note_rewrite(&mut self) {
        self.noted += 1;
        self.generation = self.generation.after(&self.noted.to_be_bytes());
    }

    /// The generation of what was read now, which becomes the last one.
    pub(crate) fn generation(&mut self, previous: Option<&Inputs>, inputs: &Inputs) -> Generation {
        if let Some(event) = self.event(previous, inputs) {
            self.generation = self.generation.after(&event);
        }
        self.generation
    }

    /// What happened to old content since the last look, if anything did.
    fn event(&mut self, previous: Option<&Inputs>, inputs: &Inputs) -> Option<Vec<u8>> {
        let (same_history, undo_before) = match (previous, &self.seen) {
            (Some(previous), _) => (
                previous.changelog.lineage() == inputs.changelog.lineage(),
                previous.undo,
            ),
            (None, Some(seen)) => (seen.begins(&inputs.changelog), seen.undo),
            (None, None) => return None,
        };
        let tip = inputs.changelog.revs().next_back();
        let tip = tip.map_or(Node::NULL, |tip| inputs.changelog.node(tip));
        if !same_history {
            return Some([b"history", &tip.as_bytes()[..]].concat());
        }
        let changed = previous.is_none_or(|previous| !previous.same_state(inputs));
        let explained = self.explained || changed;
        if inputs.undo == undo_before {
            self.explained = explained;
            return None;
        }
        // hg leaves `undo` last, so what it explains may have been seen before it.
        self.explained = false;
        if explained && !rewrote_revlogs(inputs) {
            return None;
        }
        let undo = inputs.undo.map(|undo| (undo.ino, undo.ctime));
        Some(format!("rewrite {undo:?}").into_bytes())
    }
}

impl Seen {
    /// Whether a changelog begins with the changesets that were seen.
    fn begins(&self, changelog: &Changelog) -> bool {
        self.len <= changelog.len() && self.digest == nodes_digest(changelog, self.len)
    }
}

/// A digest of the first `len` nodes.
fn nodes_digest(changelog: &Changelog, len: usize) -> [u8; 32] {
    let mut digest = Sha256::new();
    for rev in changelog.revs().take(len) {
        digest.update(changelog.node(rev).as_bytes());
    }
    digest.finalize().into()
}

/// Whether the last transaction kept a backup of a filelog or manifest, which
/// it does when it writes one anew. What cannot be read counts as yes.
fn rewrote_revlogs(inputs: &Inputs) -> bool {
    let path = inputs.open.store().source().join("store/undo.backupfiles");
    let file = StateFile::new(path, "undo.backupfiles", BACKUPS_BYTES_MAX);
    let Ok(content) = file.read(&fingerpost_core::ManualClock::default()) else {
        return true;
    };
    // Each line: where, the file, its backup and a flag, separated by NUL.
    let mut lines = content.bytes().split(|byte| *byte == b'\n');
    lines.any(|line| {
        let file = line.split(|byte| *byte == 0).nth(1).unwrap_or_default();
        file.ends_with(b".i") || file.ends_with(b".d")
    })
}
