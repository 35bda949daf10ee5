//! Deltas between two texts that no stored delta joins.
//!
//! The format is the one that revlogs and the wire share: `start, end, length`
//! as big-endian 32-bit numbers, offsets into the base, then the new bytes.
//! Any correct delta will do for a client; ours replaces whole lines.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

/// Appends a delta that makes `text` of `base`. Both are shorter than 4 GiB,
/// which revlogs cannot exceed.
pub(crate) fn append_text_delta(base: &[u8], text: &[u8], out: &mut Vec<u8>) {
    let (before, after) = changed_middle(base, text);
    if before.is_empty() && after.is_empty() {
        return;
    }
    // A comparison takes some ten bytes for each byte of short lines.
    let is_long = before.len() + after.len() > COMPARED_BYTES_MAX;
    if before.is_empty() || after.is_empty() || is_long {
        append_hunk(before, &text[after], out);
        return;
    }
    let (old, new) = (
        lines(&base[before.clone()], before.start),
        lines(&text[after.clone()], after.start),
    );
    let mut input = InternedInput::default();
    input.update_before(old.windows(2).map(|ends| &base[ends[0]..ends[1]]));
    input.update_after(new.windows(2).map(|ends| &text[ends[0]..ends[1]]));
    for hunk in Diff::compute(Algorithm::Histogram, &input).hunks() {
        let replaced = old[hunk.before.start as usize]..old[hunk.before.end as usize];
        let with = new[hunk.after.start as usize]..new[hunk.after.end as usize];
        append_hunk(replaced, &text[with], out);
    }
}

/// What is left of both when the lines that they begin and end with in common
/// are cut off. A change of one place is then one hunk without a comparison.
fn changed_middle(base: &[u8], text: &[u8]) -> (Range<usize>, Range<usize>) {
    let shorter = base.len().min(text.len());
    let same = base.iter().zip(text).take_while(|(a, b)| a == b).count();
    let start = if same == base.len() && same == text.len() {
        same
    } else {
        memchr::memrchr(b'\n', &base[..same]).map_or(0, |at| at + 1)
    };
    let room = shorter - start;
    let same = base.iter().rev().zip(text.iter().rev());
    let same = same.take(room).take_while(|(a, b)| a == b).count();
    let end = line_aligned(base, text, same);
    (start..base.len() - end, start..text.len() - end)
}

/// The longest common tail of at most `same` bytes that begins at a line in
/// both texts.
fn line_aligned(base: &[u8], text: &[u8], same: usize) -> usize {
    let begins = |whole: &[u8]| {
        let at = whole.len() - same;
        at == 0 || whole[at - 1] == b'\n'
    };
    if begins(base) && begins(text) {
        return same;
    }
    let tail = &base[base.len() - same..];
    memchr::memchr(b'\n', tail).map_or(0, |at| same - at - 1)
}

/// The offsets where lines begin, and the end; a last line needs no newline.
fn lines(text: &[u8], offset: usize) -> Vec<usize> {
    let mut ends = vec![offset];
    ends.extend(memchr::memchr_iter(b'\n', text).map(|at| offset + at + 1));
    if text.last().is_some_and(|last| *last != b'\n') {
        ends.push(offset + text.len());
    }
    ends
}

/// Longer texts are replaced from their first to their last difference.
const COMPARED_BYTES_MAX: usize = 16 << 20;

fn append_hunk(replaced: Range<usize>, with: &[u8], out: &mut Vec<u8>) {
    for number in [replaced.start, replaced.end, with.len()] {
        let number = u32::try_from(number).expect("texts are shorter than 4 GiB");
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(with);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delta(base: &[u8], text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append_text_delta(base, text, &mut out);
        out
    }

    /// Applies a delta as the format says, hunk by hunk.
    fn applied(base: &[u8], mut delta: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while !delta.is_empty() {
            let number = |from| u32::from_be_bytes(delta[from..from + 4].try_into().unwrap());
            let (start, end, len) = (number(0) as usize, number(4) as usize, number(8) as usize);
            assert!(at <= start && start <= end && end <= base.len());
            out.extend_from_slice(&base[at..start]);
            out.extend_from_slice(&delta[12..12 + len]);
            (at, delta) = (end, &delta[12 + len..]);
        }
        out.extend_from_slice(&base[at..]);
        out
    }

    #[test]
    fn equal_texts_need_no_hunk() {
        assert_eq!(delta(b"", b""), b"");
        assert_eq!(delta(b"a\nb", b"a\nb"), b"");
    }

    #[test]
    fn one_changed_line_is_one_hunk() {
        let found = delta(b"a\nb\nc\n", b"a\nx\nc\n");
        assert_eq!(found, b"\0\0\0\x02\0\0\0\x04\0\0\0\x02x\n");
    }

    #[test]
    fn an_added_line_is_inserted_at_a_line() {
        assert_eq!(delta(b"a\nb\n", b"a\na\nb\n").len(), 12 + 2);
        assert_eq!(delta(b"ab\n", b"b\n").len(), 12 + 2);
    }

    #[test]
    fn two_changed_places_are_two_hunks() {
        let found = delta(b"a\nb\nc\nd\ne\n", b"a\nX\nc\nY\ne\n");
        assert_eq!(found.len(), 2 * (12 + 2));
    }

    proptest! {
        #[test]
        fn a_delta_makes_the_text_of_its_base(
            base in "[ab\n]{0,60}",
            text in "[ab\n]{0,60}",
        ) {
            let delta = delta(base.as_bytes(), text.as_bytes());
            prop_assert_eq!(applied(base.as_bytes(), &delta), text.as_bytes());
        }
    }
}
