use proptest::prelude::*;

use super::*;
use crate::Limits;
use crate::testing::{Revision, RevlogWriter, Stored};

/// A manifest of which line `n` is in revision `node`, or not there.
fn text(lines: &[u32]) -> Vec<u8> {
    let is_there = |line: &(usize, &u32)| *line.1 != REMOVED;
    let line = |(path, node): (usize, &u32)| format!("f{path:02}\0{}\n", hex(*node));
    let lines: String = lines
        .iter()
        .enumerate()
        .filter(is_there)
        .map(line)
        .collect();
    lines.into_bytes()
}

const REMOVED: u32 = 999;

/// A node of which no other is one digit away, as with hashes.
fn hex(node: u32) -> String {
    format!("{node:020x}{node:020x}")
}

/// One revision: the line that it changes, to what, and of which revision, so
/// many before the last one.
type Edit = (usize, u32, usize);

/// A revlog in which each revision changes a line of one before it. An odd
/// node makes a merge of a change to a revision that is not the last one: the
/// lines are of both, the delta is against one or the other.
fn written(edits: &[Edit]) -> Vec<u8> {
    let mut texts = vec![vec![0; 8]];
    let mut writer = RevlogWriter::new(true, true);
    writer.add(Revision::root(&text(&texts[0]), 0));
    for (index, (line, node, back)) in edits.iter().enumerate() {
        let parent = index.saturating_sub(*back);
        let mut lines = texts[parent].clone();
        lines[*line] = *node;
        let is_merge = parent != index && node % 2 == 1;
        if is_merge {
            lines[4..].copy_from_slice(&texts[index][4..]);
        }
        let rev = |index| Rev::from_index(index).unwrap();
        let base = if is_merge && node % 4 == 1 {
            index
        } else {
            parent
        };
        let text = text(&lines);
        let revision = Revision {
            parents: [Some(rev(parent)), is_merge.then(|| rev(index))],
            stored: Stored::Delta(rev(base)),
            ..Revision::root(&text, u32::try_from(index + 1).unwrap())
        };
        writer.add(revision);
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

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let back = prop_oneof![3 => Just(0_usize), 1 => 1_usize..4];
    let node = prop_oneof![8 => 1_u32..REMOVED, 1 => Just(REMOVED)];
    proptest::collection::vec((0_usize..8, node, back), 1..24)
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
        let at = bytes
            .windows(40)
            .position(|digits| digits == hex(10).as_bytes());
        bytes[at.unwrap() + 39] = damage;
        let error = verify(&open(bytes).unwrap(), &known).unwrap_err();
        assert!(
            matches!(error, StoreError::HashMismatch { rev: Rev(1), .. }),
            "{error}"
        );
    }
}

#[test]
fn a_path_damaged_into_that_of_an_equal_file_is_noticed() {
    // Files 0 and 1 are alike, so that file 1 has the node that file 0 is said
    // to have, until the line is taken out.
    let mut bytes = written(&[(1, 1, 0), (0, 1, 0), (0, 2, 0)]);
    let known = open(bytes.clone()).unwrap();
    let line = text(&[1]);
    let at = bytes.windows(line.len()).rposition(|found| found == line);
    bytes[at.unwrap() + 2] = b'1';
    let error = verify(&open(bytes).unwrap(), &known).unwrap_err();
    assert!(
        matches!(error, StoreError::HashMismatch { rev: Rev(2), .. }),
        "{error}"
    );
}

#[test]
fn a_digit_of_the_wrong_case_is_noticed() {
    let mut bytes = written(&[(0, 0xa, 0), (0, 2, 0)]);
    let known = open(bytes.clone()).unwrap();
    let at = bytes
        .windows(40)
        .position(|digits| digits == hex(0xa).as_bytes());
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

#[test]
fn a_merge_of_texts_of_two_lengths_needs_no_hash_of_its_own() {
    // The second revision removes a line, the third, a child of the first,
    // does not; the fourth merges them.
    for (removed, is_hashed) in [(REMOVED, false), (2, true)] {
        let bytes = written(&[(0, removed, 0), (1, 2, 1), (2, 3, 1)]);
        let (revlog, known) = (open(bytes.clone()).unwrap(), open(bytes).unwrap());
        let (mut verifier, mut texts) = (ChainVerifier::default(), Texts::new(0));
        let merge = revlog.revs().next_back().unwrap();
        assert!(revlog.parents(merge)[1].is_some());
        verifier
            .add(&revlog, merge, &mut texts, &mut Known(&known))
            .unwrap();
        assert_eq!(revlog.is_verified(merge), is_hashed);
        verifier.finish(&revlog, &mut texts).unwrap();
        assert!(revlog.is_verified(merge));
    }
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
