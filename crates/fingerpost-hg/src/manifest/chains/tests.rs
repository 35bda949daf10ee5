use proptest::prelude::*;

use super::*;
use crate::Limits;
use crate::testing::{Revision, RevlogWriter};

/// A manifest of which line `n` is in revision `node`.
fn text(lines: &[u32]) -> Vec<u8> {
    let line = |(path, node): (usize, &u32)| format!("f{path:02}\0{node:040x}\n");
    let lines: String = lines.iter().enumerate().map(line).collect();
    lines.into_bytes()
}

/// A revlog in which each revision changes a line of one before it: of the
/// last, or of one further back.
fn written(edits: &[(usize, u32, usize)]) -> Vec<u8> {
    let mut texts = vec![vec![0; 8]];
    let mut writer = RevlogWriter::new(true, true);
    writer.add(Revision::root(&text(&texts[0]), 0));
    for (index, (line, node, back)) in edits.iter().enumerate() {
        let parent = index.saturating_sub(*back);
        let mut lines = texts[parent].clone();
        lines[*line] = *node;
        let link_rev = u32::try_from(index + 1).unwrap();
        let parent = Rev::from_index(parent).unwrap();
        writer.add(Revision::child(parent, &text(&lines), link_rev));
        texts.push(lines);
    }
    writer.bytes().0
}

fn open(bytes: Vec<u8>) -> Result<Revlog, StoreError> {
    Revlog::from_bytes("00manifest.i", bytes, Vec::new(), Limits::default())
}

/// What an undamaged revlog says.
struct Known<'a>(&'a Revlog);

impl Witness for Known<'_> {
    fn manifest(&mut self, rev: Rev) -> Result<Option<(Node, [Node; 2])>, StoreError> {
        let rev = self.0.checked(rev.0);
        Ok(rev.map(|rev| (self.0.node(rev), self.0.parent_nodes(rev))))
    }

    fn has_file(&mut self, path: &[u8], node: &Node) -> Result<bool, StoreError> {
        let wanted = [path, b"\0", &node.to_hex(), b"\n"].concat();
        let has = |rev| {
            let text = Texts::new(0).text(self.0, rev).unwrap();
            text.windows(wanted.len()).any(|line| line == wanted)
        };
        Ok(self.0.revs().any(has))
    }
}

/// Verifies all of `manifest` by what `known` says.
fn verify(manifest: &Revlog, known: &Revlog) -> Result<(), StoreError> {
    let (mut verifier, mut texts) = (ChainVerifier::default(), Texts::new(0));
    for rev in manifest.revs() {
        verifier.add(manifest, rev, &mut texts, &mut Known(known))?;
    }
    verifier.finish(manifest, &mut texts)
}

fn edits() -> impl Strategy<Value = Vec<(usize, u32, usize)>> {
    let back = prop_oneof![4 => Just(0_usize), 1 => 1_usize..4];
    proptest::collection::vec((0_usize..8, 1_u32..1000, back), 1..24)
}

fn content(revlog: &Revlog, rev: Rev) -> Option<(Node, [Node; 2], Vec<u8>)> {
    let text = Texts::new(0).text(revlog, rev).ok()?;
    Some((revlog.node(rev), revlog.parent_nodes(rev), text.to_vec()))
}

#[test]
fn one_hash_vouches_for_a_chain_of_lines() {
    let bytes = written(&[(0, 1, 0), (3, 2, 0), (0, 3, 0)]);
    let (revlog, known) = (open(bytes.clone()).unwrap(), open(bytes).unwrap());
    let (mut verifier, mut texts) = (ChainVerifier::default(), Texts::new(0));
    for rev in revlog.revs() {
        verifier
            .add(&revlog, rev, &mut texts, &mut Known(&known))
            .unwrap();
    }
    let verified = || revlog.revs().filter(|rev| revlog.is_verified(*rev)).count();
    assert_eq!(verified(), 1, "the root alone, which is stored whole");
    verifier.finish(&revlog, &mut texts).unwrap();
    assert_eq!(verified(), 4);
}

#[test]
fn a_damaged_line_that_is_taken_out_again_is_noticed() {
    // The other digit, and the same one in upper case.
    for damage in *b"fA" {
        let mut bytes = written(&[(0, 10, 0), (0, 2, 0)]);
        let known = open(bytes.clone()).unwrap();
        let hex = format!("{:040x}", 10);
        let at = bytes
            .windows(40)
            .position(|digits| digits == hex.as_bytes());
        bytes[at.unwrap() + 39] = damage;
        let error = verify(&open(bytes).unwrap(), &known).unwrap_err();
        assert!(
            matches!(error, StoreError::HashMismatch { rev: Rev(1), .. }),
            "{error}"
        );
    }
}

#[test]
fn a_digit_of_the_wrong_case_is_noticed() {
    let mut bytes = written(&[(0, 0xa, 0), (0, 2, 0)]);
    let known = open(bytes.clone()).unwrap();
    let at = bytes
        .windows(40)
        .position(|hex| hex == format!("{:040x}", 0xa).as_bytes());
    bytes[at.unwrap() + 39] = b'A';
    let error = verify(&open(bytes).unwrap(), &known).unwrap_err();
    assert!(
        matches!(error, StoreError::HashMismatch { rev: Rev(1), .. }),
        "{error}"
    );
}

#[test]
fn a_wrong_parent_is_noticed() {
    let mut bytes = written(&[(0, 1, 0), (1, 2, 0), (2, 3, 0)]);
    let known = open(bytes.clone()).unwrap();
    let first = known.stored_len(Rev(0)) as usize + known.stored_len(Rev(1)) as usize;
    let entry = 64 * 2 + first;
    bytes[entry + 27] = 0;
    assert!(verify(&open(bytes).unwrap(), &known).is_err());
}

#[test]
fn a_wrong_base_is_noticed_though_later_lines_hide_it() {
    // Revision 2 changes line 1, and 3 line 0 again, so that a revision 2 made
    // of revision 0 is wrong in line 0 alone, and 3 is right.
    let mut bytes = written(&[(0, 1, 0), (1, 2, 0), (0, 3, 0)]);
    let known = open(bytes.clone()).unwrap();
    let before = known.stored_len(Rev(0)) as usize + known.stored_len(Rev(1)) as usize;
    let base = 64 * 2 + before + 16;
    assert_eq!(bytes[base + 3], 1);
    bytes[base + 3] = 0;
    let error = verify(&open(bytes).unwrap(), &known).unwrap_err();
    assert!(
        matches!(error, StoreError::HashMismatch { rev: Rev(2), .. }),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn everything_that_is_right_is_verified(edits in edits()) {
        let manifest = open(written(&edits)).unwrap();
        verify(&manifest, &manifest).unwrap();
        prop_assert!(manifest.revs().all(|rev| manifest.is_verified(rev)));
    }

    #[test]
    fn nothing_that_is_wrong_is_verified(
        edits in edits(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let right = open(written(&edits)).unwrap();
        let mut bytes = written(&edits);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let Ok(wrong) = open(bytes) else { return Ok(()) };
        // What is wrong may or may not be an error, but never verified.
        let _ = verify(&wrong, &right);
        for rev in wrong.revs().filter(|rev| wrong.is_verified(*rev)) {
            let known = right.rev(&wrong.node(rev)).and_then(|rev| content(&right, rev));
            prop_assert_eq!(known, content(&wrong, rev), "revision {}", rev);
        }
    }
}
