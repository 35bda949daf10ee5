//! Verifying many revisions of a manifest with few hashes.
//!
//! A manifest of ten thousand files is a megabyte, and a changeset changes
//! some lines of it. To hash each revision of a long history costs many times
//! what it costs to send the deltas between them, and is not needed to find
//! out that bytes on the disk are not what they should be:
//!
//! Follow a chain of deltas, and remember which bytes of the text each of them
//! put in. As long as no delta takes out or splits what an earlier one put in,
//! every byte that the chain brought is in the last text. So one hash, of the
//! last text, vouches for all of them. A delta that is damaged in what it puts
//! in leaves that damage in the last text. One that is damaged in where it
//! acts (its length cannot be: the index knows the length of each text) puts
//! its lines into the wrong place, and there they still are, because later
//! deltas, which count from where they should be, either leave them there or
//! would cut into them. Before a delta takes out what an earlier one put in,
//! the text as it is by then is hashed, and remembering begins anew.
//!
//! Lines of a manifest are sorted and each path is in it once, so a text can
//! be put together from its lines in one way only; this is why the argument
//! holds for manifests and is not used for files.
//!
//! A node stands for the parents too. Those of a revision that is not hashed
//! itself are compared with what the changelog says, whose texts are; where
//! that says something else, the revision is hashed.

use std::ops::Range;

use fingerpost_hg_proto::Node;
use hashbrown::HashMap;

use super::parse_manifest;
use crate::delta::hunks;
use crate::error::StoreError;
use crate::revlog::{Rev, Revlog};
use crate::texts::Texts;

/// Chains that are followed at a time: as many as branches that a history
/// switches between.
const CHAINS_MAX: usize = 16;
/// Pieces of one text that are remembered before it is hashed.
const PIECES_MAX: usize = 4096;
/// Deltas that are followed at once to reach a revision; more are for
/// [`Texts::text`].
const BELOW_MAX: usize = 1 << 16;

/// Says what node and parents a revision must have by what is known for sure;
/// `None` if nothing is.
pub(crate) type Expect<'a> =
    dyn FnMut(Rev, &mut Texts) -> Result<Option<(Node, [Node; 2])>, StoreError> + 'a;

/// Verifies revisions of one manifest, the ones asked for and those that their
/// deltas lead to.
///
/// Nothing is verified before [`ChainVerifier::finish`] has returned.
#[derive(Debug, Default)]
pub(crate) struct ChainVerifier {
    chains: Vec<Chain>,
    /// The number of the chain that a revision is in.
    held: HashMap<Rev, u64>,
    next: u64,
}

/// Deltas that one hash will vouch for.
#[derive(Debug)]
struct Chain {
    number: u64,
    tip: Rev,
    revs: Vec<Rev>,
    /// Where in the tip's text the bytes are that the chain put in, ascending.
    pieces: Vec<Range<u32>>,
}

/// One replacement of a delta, without what it puts in.
#[derive(Clone, Copy, Debug)]
struct Change {
    start: u32,
    end: u32,
    put_in: u32,
}

impl ChainVerifier {
    /// Takes in a revision. It is verified at once where that is no more work.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a stored revision, perhaps of an earlier one.
    pub(crate) fn add(
        &mut self,
        manifest: &Revlog,
        rev: Rev,
        texts: &mut Texts,
        expect: &mut Expect<'_>,
    ) -> Result<(), StoreError> {
        let mut below = Vec::new();
        let mut at = Some(rev);
        while let Some(rev) = at.filter(|rev| !self.is_settled(manifest, *rev)) {
            below.push(rev);
            if below.len() > BELOW_MAX {
                return manifest.ensure_verified(rev, texts);
            }
            at = manifest.delta_base(rev);
        }
        while let Some(rev) = below.pop() {
            self.follow(manifest, rev, texts, expect)?;
        }
        Ok(())
    }

    /// Verifies everything that was taken in.
    ///
    /// # Errors
    ///
    /// As [`ChainVerifier::add`].
    pub(crate) fn finish(
        &mut self,
        manifest: &Revlog,
        texts: &mut Texts,
    ) -> Result<(), StoreError> {
        while let Some(chain) = self.chains.first() {
            self.vouch(chain.number, manifest, texts)?;
        }
        Ok(())
    }

    fn is_settled(&self, manifest: &Revlog, rev: Rev) -> bool {
        self.held.contains_key(&rev) || manifest.is_verified(rev)
    }

    /// Takes in a revision whose base is settled.
    fn follow(
        &mut self,
        manifest: &Revlog,
        rev: Rev,
        texts: &mut Texts,
        expect: &mut Expect<'_>,
    ) -> Result<(), StoreError> {
        let own = (manifest.node(rev), manifest.parent_nodes(rev));
        if expect(rev, texts)? != Some(own) {
            return manifest.ensure_verified(rev, texts);
        }
        let base = manifest
            .delta_base(rev)
            .filter(|_| manifest.flags(rev) == 0);
        let Some(base) = base else {
            return manifest.ensure_verified(rev, texts);
        };
        let delta = manifest.chunk(rev, texts.scratch())?;
        let Some(changes) = changes(delta).filter(|all| fits(manifest, rev, base, all)) else {
            // Not as deltas of manifests are: the hash of this text decides.
            return manifest.ensure_verified(rev, texts);
        };
        let index = match self.held.get(&base).copied() {
            None => self.begin(manifest, texts)?,
            Some(number) => {
                let extends = |chain: &Chain| {
                    chain.number == number
                        && chain.tip == base
                        && chain.pieces.len() + changes.len() <= PIECES_MAX
                        && !changes.iter().any(|change| chain.is_cut_by(change))
                };
                match self.chains.iter().position(extends) {
                    Some(index) => index,
                    None => {
                        self.vouch(number, manifest, texts)?;
                        self.begin(manifest, texts)?
                    }
                }
            }
        };
        let chain = &mut self.chains[index];
        chain.extend(rev, &changes);
        self.held.insert(rev, chain.number);
        Ok(())
    }

    /// Begins a chain behind a revision that was verified; its place.
    fn begin(&mut self, manifest: &Revlog, texts: &mut Texts) -> Result<usize, StoreError> {
        if self.chains.len() >= CHAINS_MAX {
            // The one that was begun first.
            let oldest = self.chains[0].number;
            self.vouch(oldest, manifest, texts)?;
        }
        self.next += 1;
        self.chains.push(Chain {
            number: self.next,
            tip: Rev(0),
            revs: Vec::new(),
            pieces: Vec::new(),
        });
        Ok(self.chains.len() - 1)
    }

    /// Hashes the last text of a chain, which vouches for the others. If the
    /// file was written to meanwhile, what was looked at and what was hashed
    /// may be different bytes; then each text is hashed.
    fn vouch(
        &mut self,
        number: u64,
        manifest: &Revlog,
        texts: &mut Texts,
    ) -> Result<(), StoreError> {
        let Some(index) = self.chains.iter().position(|chain| chain.number == number) else {
            return Ok(());
        };
        let chain = self.chains.remove(index);
        for rev in &chain.revs {
            self.held.remove(rev);
        }
        texts.text(manifest, chain.tip)?;
        let is_undisturbed = manifest.is_undisturbed();
        for rev in chain.revs {
            match is_undisturbed {
                true => manifest.set_verified(rev),
                false => manifest.ensure_verified(rev, texts)?,
            }
        }
        Ok(())
    }
}

impl Chain {
    /// Whether a change takes out or splits what the chain put in.
    fn is_cut_by(&self, change: &Change) -> bool {
        let first = self
            .pieces
            .partition_point(|piece| piece.end <= change.start);
        let Some(piece) = self.pieces.get(first) else {
            return false;
        };
        match change.start == change.end {
            true => piece.start < change.start,
            false => piece.start < change.end,
        }
    }

    /// Makes `rev` the tip: what was put in moves, and more is put in.
    fn extend(&mut self, rev: Rev, changes: &[Change]) {
        let mut pieces = Vec::with_capacity(self.pieces.len() + changes.len());
        let mut old = self.pieces.iter().peekable();
        let mut moved = 0_i64;
        let by = |at: u32, moved: i64| u32::try_from(i64::from(at) + moved).unwrap_or(u32::MAX);
        for change in changes {
            while let Some(piece) = old.next_if(|piece| piece.start < change.start) {
                pieces.push(by(piece.start, moved)..by(piece.end, moved));
            }
            let start = by(change.start, moved);
            if change.put_in > 0 {
                pieces.push(start..start.saturating_add(change.put_in));
            }
            moved += i64::from(change.put_in) - i64::from(change.end - change.start);
        }
        pieces.extend(old.map(|piece| by(piece.start, moved)..by(piece.end, moved)));
        self.pieces = pieces;
        self.tip = rev;
        self.revs.push(rev);
    }
}

/// The changes of a delta that puts in whole lines; `None` for any other.
fn changes(delta: &[u8]) -> Option<Vec<Change>> {
    let mut all = Vec::new();
    for hunk in hunks(delta) {
        let hunk = hunk.ok()?;
        if !parse_manifest(hunk.data).all(|entry| entry.is_ok()) {
            return None;
        }
        all.push(Change {
            start: hunk.start,
            end: hunk.end,
            put_in: u32::try_from(hunk.data.len()).ok()?,
        });
    }
    Some(all)
}

/// Whether the changes make a text of the length that the index knows.
fn fits(manifest: &Revlog, rev: Rev, base: Rev, changes: &[Change]) -> bool {
    let (Some(before), Some(after)) = (manifest.text_len(base), manifest.text_len(rev)) else {
        return false;
    };
    let grown: i64 = changes
        .iter()
        .map(|change| i64::from(change.put_in) - i64::from(change.end - change.start))
        .sum();
    let is_inside = changes.last().is_none_or(|last| last.end <= before);
    is_inside && i64::from(before) + grown == i64::from(after)
}

#[cfg(test)]
mod tests;
