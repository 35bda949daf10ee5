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
//! A line that is taken out whole, for another one of the same path, needs no
//! hash of the text: it names a revision of a file, and a damaged line names one
//! that is not there. Only lines with a flag, which could be damaged into another
//! one, do, and lines that go for good: files that are alike have revisions with
//! the same node, so that a path could be damaged into that of the other.
//!
//! Lines of a manifest are sorted and each path is in it once, so a text can
//! be put together from its lines in one way only; this is why the argument
//! holds for manifests and is not used for files.
//!
//! All of this holds for deltas against a parent: a wrong number of a base
//! could leave a text wrong in lines that later deltas replace. Deltas that
//! skip are hashed, and merges of texts of one length, of which one could be
//! taken for the other.
//!
//! What is left: damage that moves both ends of a replacement by the same
//! distance, if the line that it put into the wrong place, the one that it
//! should have replaced, and what stands in the wrong place are all replaced
//! once more before the next hash.
//!
//! A node stands for the parents too. Those of a revision that is not hashed
//! itself are compared with what the changelog says, whose texts are; where
//! that says something else, the revision is hashed.

use std::ops::Range;

use fingerpost_hg_proto::Node;
use hashbrown::HashMap;

use super::{ManifestFlag, parse_manifest};
use crate::delta::hunks;
use crate::error::StoreError;
use crate::revlog::{Rev, Revlog};
use crate::texts::Texts;

/// Chains that are followed at a time: as many as branches that a history
/// switches between.
const CHAINS_MAX: usize = 16;
/// Pieces of one text that are remembered before it is hashed.
const PIECES_MAX: usize = 4096;
/// Deltas between two texts that are made and remembered: whatever branches
/// off in between has no long way to a text.
const DEPTH_MAX: u32 = 32;
/// Deltas that are followed at once to reach a revision; more are for
/// [`Texts::text`].
const BELOW_MAX: usize = 1 << 16;

/// What is known for sure from elsewhere.
pub(crate) trait Witness {
    /// The node and parents that a revision must have; `None` if that is not
    /// known.
    fn manifest(&mut self, rev: Rev) -> Result<Option<(Node, [Node; 2])>, StoreError>;

    /// Whether there is such a revision of a file.
    fn has_file(&mut self, path: &[u8], node: &Node) -> Result<bool, StoreError>;
}

/// Verifies revisions of one manifest, the ones asked for and those that their
/// deltas lead to.
///
/// Nothing is verified before [`ChainVerifier::finish`] has returned.
#[derive(Debug, Default)]
pub(crate) struct ChainVerifier {
    chains: Vec<Chain>,
    /// The revisions that were taken in.
    held: HashMap<Rev, Held>,
    next: u64,
}

/// A revision that was taken in.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The number of the chain that it is or was in.
    chain: u64,
    /// Deltas between it and a text that was made.
    depth: u32,
}

/// Deltas that one hash will vouch for, once everything that they stand on is
/// vouched for as well.
#[derive(Debug)]
struct Chain {
    number: u64,
    tip: Rev,
    /// The lines that the chain put in, ascending.
    pieces: Vec<Piece>,
}

/// A line that a delta put in.
#[derive(Clone, Debug)]
struct Piece {
    /// Where it is in the text of the tip.
    place: Range<u32>,
    line: Box<[u8]>,
}

/// One replacement of a delta.
#[derive(Clone, Debug)]
struct Change {
    start: u32,
    end: u32,
    put_in: Vec<Box<[u8]>>,
    put_in_bytes: u32,
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
        witness: &mut dyn Witness,
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
            self.follow(manifest, rev, texts, witness)?;
        }
        Ok(())
    }

    /// Verifies everything that was taken in. If the file was written to
    /// meanwhile, what was looked at and what was hashed may be different
    /// bytes; then each text is hashed.
    ///
    /// # Errors
    ///
    /// As [`ChainVerifier::add`].
    pub(crate) fn finish(
        &mut self,
        manifest: &Revlog,
        texts: &mut Texts,
    ) -> Result<(), StoreError> {
        for chain in self.chains.drain(..) {
            texts.verify_only(manifest, chain.tip)?;
        }
        let is_undisturbed = manifest.is_undisturbed();
        for (rev, _) in self.held.drain() {
            match is_undisturbed {
                true => manifest.set_verified(rev),
                false => manifest.ensure_verified(rev, texts)?,
            }
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
        witness: &mut dyn Witness,
    ) -> Result<(), StoreError> {
        let own = (manifest.node(rev), manifest.parent_nodes(rev));
        if witness.manifest(rev)? != Some(own) {
            return manifest.ensure_verified(rev, texts);
        }
        let base = parent_as_base(manifest, rev).filter(|_| manifest.flags(rev) == 0);
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
            Some(Held { chain: number, .. }) => {
                match self.extends(number, base, &changes, witness)? {
                    Some(index) => index,
                    None => {
                        // A tip whose lines are cut is hashed. Before the tip, the
                        // chain branches: the new one stands on what the other
                        // will vouch for.
                        let is_tip = |chain: &Chain| chain.number == number && chain.tip == base;
                        if self.chains.iter().any(is_tip) {
                            self.take(number);
                            texts.text(manifest, base)?;
                        }
                        self.begin(manifest, texts)?
                    }
                }
            }
        };
        let mut depth = self.held.get(&base).map_or(0, |held| held.depth) + 1;
        if depth > DEPTH_MAX {
            texts.text(manifest, base)?;
            depth = 1;
        }
        let chain = &mut self.chains[index];
        chain.extend(rev, changes);
        let chain = chain.number;
        self.held.insert(rev, Held { chain, depth });
        Ok(())
    }

    /// The place of a chain that may go on from `base` with these changes.
    fn extends(
        &self,
        number: u64,
        base: Rev,
        changes: &[Change],
        witness: &mut dyn Witness,
    ) -> Result<Option<usize>, StoreError> {
        let index = self.chains.iter().position(|chain| chain.number == number);
        let Some(index) = index.filter(|index| self.chains[*index].tip == base) else {
            return Ok(None);
        };
        let chain = &self.chains[index];
        let more: usize = changes.iter().map(|change| change.put_in.len()).sum();
        if chain.pieces.len() + more > PIECES_MAX {
            return Ok(None);
        }
        for change in changes {
            if !chain.allows(change, witness)? {
                return Ok(None);
            }
        }
        Ok(Some(index))
    }

    /// Begins a chain behind a revision that was verified; its place.
    fn begin(&mut self, manifest: &Revlog, texts: &mut Texts) -> Result<usize, StoreError> {
        if self.chains.len() >= CHAINS_MAX {
            // The one that was begun first.
            let oldest = self.chains.remove(0);
            texts.verify_only(manifest, oldest.tip)?;
        }
        self.next += 1;
        self.chains.push(Chain {
            number: self.next,
            tip: Rev(0),
            pieces: Vec::new(),
        });
        Ok(self.chains.len() - 1)
    }

    /// Takes out a chain, for whose tip somebody vouches.
    fn take(&mut self, number: u64) {
        self.chains.retain(|chain| chain.number != number);
    }
}

impl Chain {
    /// Whether a change cuts nothing that the chain put in, and takes out only
    /// lines that are right for sure.
    fn allows(&self, change: &Change, witness: &mut dyn Witness) -> Result<bool, StoreError> {
        let first = self
            .pieces
            .partition_point(|piece| piece.place.end <= change.start);
        for piece in &self.pieces[first..] {
            let Range { start, end } = piece.place;
            if start >= change.end {
                break;
            }
            let is_taken_out = change.start <= start && end <= change.end;
            if !is_taken_out || !change.puts_back(&piece.line) {
                return Ok(false);
            }
            if !names_a_file(&piece.line, witness)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes `rev` the tip: what was put in moves, goes, and more is put in.
    fn extend(&mut self, rev: Rev, changes: Vec<Change>) {
        let mut pieces = Vec::with_capacity(self.pieces.len() + changes.len());
        let mut old = std::mem::take(&mut self.pieces).into_iter().peekable();
        let mut moved = 0_i64;
        for change in changes {
            while let Some(piece) = old.next_if(|piece| piece.place.start < change.start) {
                pieces.push(piece.moved(moved));
            }
            while old
                .next_if(|piece| piece.place.start < change.end)
                .is_some()
            {}
            let mut start = shifted(change.start, moved);
            for line in change.put_in {
                let end = start.saturating_add(u32::try_from(line.len()).unwrap_or(u32::MAX));
                pieces.push(Piece {
                    place: start..end,
                    line,
                });
                start = end;
            }
            moved += i64::from(change.put_in_bytes) - i64::from(change.end - change.start);
        }
        pieces.extend(old.map(|piece| piece.moved(moved)));
        self.pieces = pieces;
        self.tip = rev;
    }
}

impl Change {
    /// Whether a line for the same path is put in.
    fn puts_back(&self, line: &[u8]) -> bool {
        let path = line.split(|byte| *byte == b'\0').next();
        let is_for = |other: &[u8]| other.split(|byte| *byte == b'\0').next() == path;
        self.put_in.iter().any(|other| is_for(other))
    }
}

impl Piece {
    fn moved(mut self, by: i64) -> Self {
        self.place = shifted(self.place.start, by)..shifted(self.place.end, by);
        self
    }
}

/// The base of a revision's delta, if one can say that it is the right one.
/// Which text a delta is against stands in the index alone; that it is a parent
/// vouches for it, unless it may have been damaged into the other one, whose
/// text is as long.
fn parent_as_base(manifest: &Revlog, rev: Rev) -> Option<Rev> {
    let base = manifest.delta_base(rev)?;
    let other = match manifest.parents(rev) {
        [Some(first), other] if first == base => other,
        [other, Some(second)] if second == base => other,
        _ => return None,
    };
    let is_as_long = |other| manifest.text_len(other) == manifest.text_len(base);
    (!other.is_some_and(is_as_long)).then_some(base)
}

fn shifted(at: u32, by: i64) -> u32 {
    u32::try_from(i64::from(at) + by).unwrap_or(u32::MAX)
}

/// Whether a line without a flag names a revision of a file that there is, and
/// is written as hg writes it: a digit whose case was damaged names the same
/// revision.
fn names_a_file(line: &[u8], witness: &mut dyn Witness) -> Result<bool, StoreError> {
    match parse_manifest(line).next() {
        Some(Ok(entry)) if entry.flag == ManifestFlag::Plain => {
            // A digit may be damaged into the same one in upper case.
            let hex = line.get(entry.path.len() + 1..line.len() - 1);
            let is_exact = hex == Some(&entry.node.to_hex()[..]);
            Ok(is_exact && witness.has_file(entry.path, &entry.node)?)
        }
        _ => Ok(false),
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
        let lines = hunk.data.split_inclusive(|byte| *byte == b'\n');
        all.push(Change {
            start: hunk.start,
            end: hunk.end,
            put_in: lines.map(Box::from).collect(),
            put_in_bytes: u32::try_from(hunk.data.len()).ok()?,
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
        .map(|change| i64::from(change.put_in_bytes) - i64::from(change.end - change.start))
        .sum();
    let is_inside = changes.last().is_none_or(|last| last.end <= before);
    is_inside && i64::from(before) + grown == i64::from(after)
}

#[cfg(test)]
mod tests;
