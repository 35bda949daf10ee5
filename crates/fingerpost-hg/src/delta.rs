//! Deltas: how a text is made out of another.
//!
//! A stored delta is a list of replacements: `start, end, length` as big-endian
//! 32 bit numbers, then `length` bytes that take the place of the bytes
//! `start..end` of the base.

mod fold;

pub(crate) use fold::Fold;

/// Bytes of a replacement's numbers.
const HUNK_HEAD_BYTES: usize = 12;

/// One replacement of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunk<'a> {
    /// Where the replaced bytes of the base begin.
    pub start: u32,
    /// Where they end.
    pub end: u32,
    /// What takes their place.
    pub data: &'a [u8],
}

/// What is wrong with a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It ends within a replacement.
    #[error("its delta ends too early")]
    Truncated,
    /// A replacement begins before the one before it ends, or ends before it
    /// begins.
    #[error("the replacements of its delta are not in order")]
    Order,
    /// A replacement is beyond the end of the base.
    #[error("its delta replaces bytes beyond the end of its base")]
    Bounds,
    /// The text that it makes is longer than a text can be.
    #[error("its delta makes a text that is too long")]
    TooLong,
}

/// The replacements of a delta in ascending order, each checked as it comes:
/// they do not overlap. Bounds are checked by those who know the base.
#[derive(Clone, Debug)]
pub struct Hunks<'a> {
    rest: &'a [u8],
    end: u32,
}

/// The replacements of a delta.
pub fn hunks(delta: &[u8]) -> Hunks<'_> {
    Hunks {
        rest: delta,
        end: 0,
    }
}

impl<'a> Iterator for Hunks<'a> {
    type Item = Result<Hunk<'a>, DeltaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let hunk = self.take();
        if hunk.is_err() {
            self.rest = &[];
        }
        Some(hunk)
    }
}

impl<'a> Hunks<'a> {
    fn take(&mut self) -> Result<Hunk<'a>, DeltaError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<HUNK_HEAD_BYTES>()
            .ok_or(DeltaError::Truncated)?;
        let [start, end, len] = [0, 4, 8].map(|at| {
            let number = head[at..at + 4].try_into();
            u32::from_be_bytes(number.expect("the range has four bytes"))
        });
        let (data, rest) = rest
            .split_at_checked(len as usize)
            .ok_or(DeltaError::Truncated)?;
        if start < self.end || end < start {
            return Err(DeltaError::Order);
        }
        (self.rest, self.end) = (rest, end);
        Ok(Hunk { start, end, data })
    }
}

/// Applies a delta: appends the text that it makes of `base` to `out`.
///
/// # Errors
///
/// Returns what is wrong with the delta; `out` then has a part of the text.
pub fn apply(base: &[u8], delta: &[u8], out: &mut Vec<u8>) -> Result<(), DeltaError> {
    let mut kept = 0;
    for hunk in hunks(delta) {
        let hunk = hunk?;
        let (start, end) = (hunk.start as usize, hunk.end as usize);
        if end > base.len() {
            return Err(DeltaError::Bounds);
        }
        out.extend_from_slice(&base[kept..start]);
        out.extend_from_slice(hunk.data);
        kept = end;
    }
    out.extend_from_slice(&base[kept..]);
    Ok(())
}

#[cfg(test)]
mod tests;
