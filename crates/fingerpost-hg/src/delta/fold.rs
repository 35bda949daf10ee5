//! Folding a chain of deltas into one before any text is copied.
//!
//! A text is described as a list of pieces, each a range of the base or of new
//! data. A delta over a text that is described so is again such a list, made by
//! walking both lists once. Deltas are folded as equals: two descriptions are
//! joined when they cover about as many deltas, so a chain of `k` deltas costs
//! the length of their lists times the logarithm of `k`, and the text is copied
//! once.

use super::{DeltaError, hunks};
use crate::revlog::forget_large;

/// A range of the base or of the collected data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    from_base: bool,
    start: u32,
    len: u32,
}

impl Piece {
    fn end(self) -> u32 {
        self.start + self.len
    }

    /// The part from `skip` on of at most `len` bytes.
    fn part(self, skip: u32, len: u32) -> Self {
        let skip = skip.min(self.len);
        let len = len.min(self.len - skip);
        Self {
            start: self.start + skip,
            len,
            ..self
        }
    }
}

/// Pieces that make a text out of the text below it.
#[derive(Debug, Default)]
struct Layer {
    pieces: Vec<Piece>,
    deltas: usize,
}

/// A chain of deltas that is being folded over a base.
///
/// The data of the deltas is appended to [`Fold::data`] and stays there; the
/// pieces refer to it.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    layers: Vec<Layer>,
    spare: Vec<Vec<Piece>>,
    /// The deltas themselves, one after another.
    pub(crate) data: Vec<u8>,
    /// Length of the text that the deltas make so far.
    len: u32,
}

impl Fold {
    /// Begins over a base of this length, and forgets what was before.
    pub(crate) fn start(&mut self, base_len: usize) -> Result<(), DeltaError> {
        forget_large(&mut self.data, 0);
        self.data.clear();
        self.spare
            .extend(self.layers.drain(..).map(|layer| layer.pieces));
        self.len = u32::try_from(base_len).map_err(|_| DeltaError::TooLong)?;
        Ok(())
    }

    /// Length of the text that the deltas make.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// How many pieces are held at the moment.
    pub(crate) fn pieces(&self) -> usize {
        self.layers.iter().map(|layer| layer.pieces.len()).sum()
    }

    /// Adds the delta that [`Fold::data`] has from `start` on.
    pub(crate) fn push(&mut self, start: usize) -> Result<(), DeltaError> {
        let mut pieces = self.spare.pop().unwrap_or_default();
        pieces.clear();
        self.len = read_pieces(&self.data, start, self.len, &mut pieces)?;
        let mut layer = Layer { pieces, deltas: 1 };
        while let Some(below) = self.layers.pop_if(|below| below.deltas <= layer.deltas) {
            layer = self.joined(below, layer);
        }
        self.layers.push(layer);
        Ok(())
    }

    fn joined(&mut self, below: Layer, above: Layer) -> Layer {
        let mut pieces = self.spare.pop().unwrap_or_default();
        pieces.clear();
        join(&below.pieces, &above.pieces, &mut pieces);
        let deltas = below.deltas + above.deltas;
        self.spare.extend([below.pieces, above.pieces]);
        Layer { pieces, deltas }
    }

    /// Appends the text that the deltas make of `base` to `out`.
    pub(crate) fn apply(&mut self, base: &[u8], out: &mut Vec<u8>) {
        while let Some(above) = self.layers.pop() {
            let Some(below) = self.layers.pop() else {
                out.reserve_exact(self.len());
                for piece in &above.pieces {
                    let source = if piece.from_base { base } else { &self.data };
                    let range = piece.start as usize..piece.end() as usize;
                    // Pieces were checked when their delta was read.
                    out.extend_from_slice(source.get(range).unwrap_or_default());
                }
                self.spare.push(above.pieces);
                return;
            };
            let joined = self.joined(below, above);
            self.layers.push(joined);
        }
        out.extend_from_slice(base);
    }
}

/// Reads a delta over a text of `base_len` bytes as pieces, and returns the
/// length of the text that it makes.
fn read_pieces(
    data: &[u8],
    start: usize,
    base_len: u32,
    pieces: &mut Vec<Piece>,
) -> Result<u32, DeltaError> {
    let delta = data.get(start..).unwrap_or_default();
    let (mut kept, mut len) = (0, 0_u32);
    // What was read of the delta, in bytes.
    let mut at = start;
    let mut add = |piece: Piece| {
        len = len.checked_add(piece.len).ok_or(DeltaError::TooLong)?;
        if piece.len > 0 {
            pieces.push(piece);
        }
        Ok(())
    };
    for hunk in hunks(delta) {
        let hunk = hunk?;
        if hunk.end > base_len {
            return Err(DeltaError::Bounds);
        }
        add(Piece {
            from_base: true,
            start: kept,
            len: hunk.start - kept,
        })?;
        at += super::HUNK_HEAD_BYTES;
        let new = u32::try_from(at).map_err(|_| DeltaError::TooLong)?;
        add(Piece {
            from_base: false,
            start: new,
            len: hunk.data.len() as u32,
        })?;
        at += hunk.data.len();
        kept = hunk.end;
    }
    add(Piece {
        from_base: true,
        start: kept,
        len: base_len - kept,
    })?;
    Ok(len)
}

/// Describes the text of `above` in terms of what is below `below`.
fn join(below: &[Piece], above: &[Piece], out: &mut Vec<Piece>) {
    // Where the current piece of `below` begins in the text that it makes. The
    // ranges that `above` takes of that text ascend.
    let (mut index, mut begins) = (0, 0);
    for &piece in above {
        if !piece.from_base {
            out.push(piece);
            continue;
        }
        let (mut at, end) = (piece.start, piece.end());
        while at < end {
            let Some(&under) = below.get(index) else {
                return;
            };
            let under_end = begins + under.len;
            if under_end <= at {
                (index, begins) = (index + 1, under_end);
                continue;
            }
            let part = under.part(at - begins, end - at);
            at += part.len;
            push(out, part);
        }
    }
}

/// Adds a piece, as a part of the last one where it continues that.
fn push(out: &mut Vec<Piece>, piece: Piece) {
    match out.last_mut() {
        Some(last) if last.from_base == piece.from_base && last.end() == piece.start => {
            last.len += piece.len;
        }
        _ => out.push(piece),
    }
}
