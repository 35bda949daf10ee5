use proptest::prelude::*;

use super::*;
use crate::testing::hunk;

fn applied(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let mut out = Vec::new();
    apply(base, delta, &mut out).map(|()| out)
}

/// Applies a chain of deltas by folding it.
fn folded(base: &[u8], deltas: &[Vec<u8>]) -> Result<Vec<u8>, DeltaError> {
    let mut fold = Fold::default();
    fold.start(base.len())?;
    for delta in deltas {
        let start = fold.data.len();
        fold.data.extend_from_slice(delta);
        fold.push(start)?;
    }
    let len = fold.len();
    let mut out = Vec::new();
    fold.apply(base, &mut out);
    assert_eq!(out.len(), len);
    Ok(out)
}

#[test]
fn a_delta_replaces_ranges() {
    let delta = [hunk(0, 1, b"J"), hunk(5, 5, b","), hunk(6, 11, b"")].concat();
    assert_eq!(applied(b"hello world", &delta).unwrap(), b"Jello, ");
}

#[test]
fn an_empty_delta_changes_nothing() {
    assert_eq!(applied(b"text", b"").unwrap(), b"text");
    assert_eq!(folded(b"text", &[Vec::new()]).unwrap(), b"text");
    assert_eq!(folded(b"text", &[]).unwrap(), b"text");
}

#[test]
fn broken_deltas_are_refused() {
    let short = hunk(0, 0, b"abc");
    for (delta, error) in [
        (short[..14].to_vec(), DeltaError::Truncated),
        (short[..5].to_vec(), DeltaError::Truncated),
        (hunk(2, 1, b""), DeltaError::Order),
        (
            [hunk(0, 3, b""), hunk(2, 4, b"")].concat(),
            DeltaError::Order,
        ),
        (hunk(0, 5, b""), DeltaError::Bounds),
        (hunk(5, 5, b"x"), DeltaError::Bounds),
    ] {
        assert_eq!(applied(b"base", &delta), Err(error));
        assert_eq!(folded(b"base", &[delta]), Err(error));
    }
}

#[test]
fn bounds_are_those_of_the_text_between() {
    let longer = hunk(4, 4, b"+more");
    assert_eq!(
        folded(b"base", &[longer, hunk(9, 9, b"!")]).unwrap(),
        b"base+more!"
    );
    let shorter = hunk(0, 4, b"");
    assert_eq!(
        folded(b"base", &[shorter, hunk(1, 1, b"!")]),
        Err(DeltaError::Bounds)
    );
}

#[test]
fn a_long_chain_is_folded_in_little_time_and_memory() {
    let base = vec![b'.'; 1 << 20];
    let deltas: Vec<_> = (0..4000_usize)
        .map(|index| hunk(index * 251 % (1 << 20), index * 251 % (1 << 20) + 3, b"abc"))
        .collect();
    let mut fold = Fold::default();
    fold.start(base.len()).unwrap();
    for delta in &deltas {
        let start = fold.data.len();
        fold.data.extend_from_slice(delta);
        fold.push(start).unwrap();
        assert!(fold.pieces() < 3 * 4000 * 3);
    }
    let mut text = Vec::new();
    fold.apply(&base, &mut text);
    let mut expected = base;
    for index in 0..4000_usize {
        let at = index * 251 % (1 << 20);
        expected[at..at + 3].copy_from_slice(b"abc");
    }
    assert!(text == expected);
}

/// A delta out of chance that is valid over a text of this length, and the
/// length of what it makes.
fn delta_from(choices: &[(u16, u16, Vec<u8>)], base_len: usize) -> (Vec<u8>, usize) {
    let (mut out, mut at, mut len) = (Vec::new(), 0, base_len);
    for (skip, cut, data) in choices {
        let start = at + usize::from(*skip) % (base_len - at + 1);
        let end = start + usize::from(*cut) % (base_len - start + 1);
        out.extend(hunk(start, end, data));
        len = len - (end - start) + data.len();
        at = end;
    }
    (out, len)
}

proptest! {
    #[test]
    fn folding_is_applying_one_after_another(
        base in proptest::collection::vec(any::<u8>(), 0..60),
        chain in proptest::collection::vec(
            proptest::collection::vec(
                (any::<u16>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..6)), 0..5),
            0..20),
    ) {
        let (mut deltas, mut text) = (Vec::new(), base.clone());
        for choices in &chain {
            let (delta, len) = delta_from(choices, text.len());
            text = applied(&text, &delta).unwrap();
            prop_assert_eq!(text.len(), len);
            deltas.push(delta);
        }
        prop_assert_eq!(folded(&base, &deltas).unwrap(), text);
    }

    #[test]
    fn any_bytes_are_a_delta_or_an_error(
        base in proptest::collection::vec(any::<u8>(), 0..40),
        mut delta in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        // High bytes of numbers are zero in anything that could be right.
        for at in [0, 1, 2, 4, 5, 6, 8, 9, 10] {
            if let Some(byte) = delta.get_mut(at) {
                *byte = 0;
            }
        }
        let applied = applied(&base, &delta);
        prop_assert_eq!(applied, folded(&base, &[delta]));
    }
}
