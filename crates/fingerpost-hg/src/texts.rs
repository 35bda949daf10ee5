//! Texts of revisions, remembered for as long as one request needs them.

use bytes::Bytes;
use fingerpost_hg_proto::Node;
use sha1::{Digest, Sha1};

use crate::delta::{self, Fold};
use crate::error::StoreError;
use crate::revlog::{FLAG_ELLIPSIS, FLAG_EXTERNAL, Rev, Revlog, Scratch};

/// How a censored text begins.
const CENSORED: &[u8] = b"\x01\ncensored:";
/// So many texts are remembered at most, however short they are.
const TEXTS_MAX: usize = 64;
/// A buffer of so many bytes is used for any text.
const SPARE_BYTES: usize = 4 << 10;
/// A text's recorded length is not believed further than this before the text
/// is there.
const TEXT_BYTES_TRUSTED: usize = 1 << 20;
/// Applied deltas are forgotten when they are in so many pieces.
const PIECES_MAX: usize = 1 << 20;

/// Makes texts out of stored revisions and remembers the last of them, so that
/// who walks a revlog in order applies one delta for each revision.
///
/// For one thread of one request; the memory that it holds is its budget, two
/// texts, and a batch of deltas. It is best used for one revlog at a time: who
/// goes back and forth between changelog and manifest has one for each.
#[derive(Debug)]
pub struct Texts {
    scratch: Scratch,
    fold: Fold,
    chain: Vec<Rev>,
    /// The last used is at the end.
    recent: Vec<Recent>,
    spare: Vec<u8>,
    budget: usize,
}

#[derive(Debug)]
struct Recent {
    revlog: u64,
    rev: Rev,
    text: Bytes,
}

impl Texts {
    /// Remembers texts of at most `budget` bytes together, and always the last.
    pub fn new(budget: usize) -> Self {
        Self {
            scratch: Scratch::default(),
            fold: Fold::default(),
            chain: Vec::new(),
            recent: Vec::new(),
            spare: Vec::new(),
            budget,
        }
    }

    /// Buffers for [`Revlog::chunk`].
    pub fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    /// Forgets every text, when the walk goes on in another revlog.
    pub(crate) fn forget(&mut self) {
        self.recent.clear();
    }

    /// Whether the text of a revision is at hand.
    pub fn remembers(&self, revlog: &Revlog, rev: Rev) -> bool {
        let is_it = |recent: &Recent| (recent.revlog, recent.rev) == (revlog.id(), rev);
        self.recent.iter().any(is_it)
    }

    /// The text of a revision as it is stored, with the metadata of a filelog,
    /// verified against its node unless [`Revlog::is_verified`] and
    /// [`Revlog::is_undisturbed`]. That of a censored revision is its tombstone.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::External`] for a text that is not in the store,
    /// [`StoreError::HashMismatch`] if the text is not the one of the node, or
    /// what is wrong with what is stored.
    pub fn text(&mut self, revlog: &Revlog, rev: Rev) -> Result<Bytes, StoreError> {
        if let Some(text) = self.recall(revlog, rev) {
            return Ok(text);
        }
        if revlog.flags(rev) & (FLAG_EXTERNAL | FLAG_ELLIPSIS) != 0 {
            let (file, node) = (revlog.file().to_owned(), revlog.node(rev));
            return Err(StoreError::External { file, rev, node });
        }
        let text = self.make(revlog, rev)?;
        if !revlog.is_verified(rev) || !revlog.is_undisturbed() {
            verify(revlog, rev, &text)?;
            revlog.set_verified(rev);
        }
        let text = Bytes::from(text);
        self.remember(revlog, rev, text.clone());
        Ok(text)
    }

    /// Verifies a revision as [`Texts::text`] does, for somebody who does not
    /// need the text: it is not remembered in the place of others.
    pub(crate) fn verify_only(&mut self, revlog: &Revlog, rev: Rev) -> Result<(), StoreError> {
        if self.remembers(revlog, rev) {
            return Ok(());
        }
        let text = self.make(revlog, rev)?;
        verify(revlog, rev, &text)?;
        revlog.set_verified(rev);
        if text.capacity() > self.spare.capacity() {
            self.spare = text;
        }
        Ok(())
    }

    /// A remembered text, which thereby becomes the last used.
    fn recall(&mut self, revlog: &Revlog, rev: Rev) -> Option<Bytes> {
        let is_it = |recent: &Recent| (recent.revlog, recent.rev) == (revlog.id(), rev);
        let index = self.recent.iter().rposition(is_it)?;
        self.recent[index..].rotate_left(1);
        self.recent.last().map(|recent| recent.text.clone())
    }

    fn remember(&mut self, revlog: &Revlog, rev: Rev, text: Bytes) {
        let revlog = revlog.id();
        self.recent.push(Recent { revlog, rev, text });
        let mut bytes: usize = self.recent.iter().map(|recent| recent.text.len()).sum();
        while self.recent.len() > 1 && (bytes > self.budget || self.recent.len() > TEXTS_MAX) {
            let oldest = self.recent.remove(0);
            bytes -= oldest.text.len();
            // Otherwise somebody still holds it.
            if oldest.text.is_unique() && oldest.text.len() >= self.spare.capacity() / 2 {
                self.spare = Vec::from(oldest.text);
            }
        }
    }

    /// Makes a text out of the nearest one that is remembered or stored whole.
    fn make(&mut self, revlog: &Revlog, rev: Rev) -> Result<Vec<u8>, StoreError> {
        let mut base = self.base_of(revlog, rev)?;
        let limits = *revlog.limits();
        let bad = |rev, error: delta::DeltaError| revlog.corrupt(rev, &error.to_string());
        self.fold
            .start(base.len())
            .map_err(|error| bad(rev, error))?;
        while let Some(rev) = self.chain.pop() {
            let start = self.fold.data.len();
            revlog.append_chunk(rev, &mut self.scratch, &mut self.fold.data)?;
            self.fold.push(start).map_err(|error| bad(rev, error))?;
            check_text_len(revlog, rev, self.fold.len())?;
            let full = self.fold.data.len() >= limits.delta_bytes_batch;
            if self.chain.is_empty() || full || self.fold.pieces() > PIECES_MAX {
                let mut text = self.buffer(self.fold.len());
                self.fold.apply(&base, &mut text);
                if let Base::Own(text) = base {
                    self.spare = text;
                }
                base = Base::Own(text);
                self.fold
                    .start(base.len())
                    .map_err(|error| bad(rev, error))?;
            }
        }
        match base {
            Base::Own(text) => Ok(text),
            Base::Shared(text) => Ok(text.into()),
        }
    }

    /// An empty buffer for a text of this length. A much larger one is left
    /// for larger texts: who holds the text holds all of its buffer.
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        match self.spare.capacity() <= len.saturating_mul(2).max(SPARE_BYTES) {
            true => {
                self.spare.clear();
                std::mem::take(&mut self.spare)
            }
            false => Vec::with_capacity(len),
        }
    }

    /// The text that the chain of deltas to a revision begins with; the
    /// revisions of the chain are left in `chain`, the last one first.
    fn base_of(&mut self, revlog: &Revlog, rev: Rev) -> Result<Base, StoreError> {
        self.chain.clear();
        let mut at = rev;
        loop {
            if let Some(text) = self.recall(revlog, at) {
                return Ok(Base::Shared(text));
            }
            let Some(base) = revlog.delta_base(at) else {
                break;
            };
            self.chain.push(at);
            at = base;
        }
        let len = revlog.text_len(at).unwrap_or_default() as usize;
        let mut text = self.buffer(len.min(TEXT_BYTES_TRUSTED));
        revlog.append_chunk(at, &mut self.scratch, &mut text)?;
        check_text_len(revlog, at, text.len())?;
        Ok(Base::Own(text))
    }
}

/// A text to apply deltas to.
enum Base {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl std::ops::Deref for Base {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// Checks a text's length against the index and the limit.
fn check_text_len(revlog: &Revlog, rev: Rev, len: usize) -> Result<(), StoreError> {
    let (bytes, limit) = (len as u64, revlog.limits().text_bytes_max);
    if bytes > limit {
        let (file, what) = (revlog.file().to_owned(), "a text");
        return Err(StoreError::TooLarge {
            file,
            what,
            bytes,
            limit,
        });
    }
    match revlog.text_len(rev) {
        Some(recorded) if recorded as usize != len => {
            Err(revlog.corrupt(rev, "its text has another length than the index says"))
        }
        _ => Ok(()),
    }
}

/// Checks that a text is the one that its node stands for.
fn verify(revlog: &Revlog, rev: Rev, text: &[u8]) -> Result<(), StoreError> {
    let node = revlog.node(rev);
    let is_right = match revlog.is_censored(rev) {
        false => hash(revlog.parent_nodes(rev), text) == node,
        true => text.starts_with(CENSORED),
    };
    if is_right {
        return Ok(());
    }
    let file = revlog.file().to_owned();
    Err(StoreError::HashMismatch { file, rev, node })
}

/// The node of a text with these parents.
pub fn hash(parents: [Node; 2], text: &[u8]) -> Node {
    let [p1, p2] = parents;
    let mut sha1 = Sha1::new();
    sha1.update(p1.min(p2).as_bytes());
    sha1.update(p1.max(p2).as_bytes());
    sha1.update(text);
    Node::from_bytes(sha1.finalize().into())
}

#[cfg(test)]
mod tests;
