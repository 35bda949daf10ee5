use std::fs;
use std::path::Path;

use super::*;
use crate::testing::{
    REQUIRES, Revision, RevlogWriter, empty_repository, open_store, unpack_fixture,
};

fn verified(dir: &Path) -> (VerifySummary, Vec<Problem>) {
    let mut problems = Vec::new();
    let summary = verify(&open_store(dir), &mut |verification| {
        if let Verification::Problem(problem) = verification {
            problems.push(problem);
        }
    });
    assert_eq!(summary.problems, problems.len());
    (summary, problems)
}

#[test]
fn the_recorded_repositories_are_whole() {
    for (name, changesets, censored) in [("sample-dothg", 11, 0), ("censored", 3, 1)] {
        let dir = tempfile::tempdir().unwrap();
        unpack_fixture(name, dir.path());
        let (summary, problems) = verified(dir.path());
        assert_eq!(problems, []);
        assert_eq!(
            (summary.changesets, summary.censored),
            (changesets, censored),
            "{name}"
        );
        assert!(summary.files > 0 && summary.file_revisions >= summary.files);
    }
}

#[test]
fn progress_reaches_the_end_of_each_stage() {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("sample-dothg", dir.path());
    let mut ended = Vec::new();
    verify(&open_store(dir.path()), &mut |verification| {
        if let Verification::Progress { stage, done, total } = verification {
            assert!(done <= total);
            if done == total {
                ended.push(stage);
            }
        }
    });
    let stages = [
        VerifyStage::Changesets,
        VerifyStage::Manifests,
        VerifyStage::Files,
    ];
    assert_eq!(ended, stages);
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("sample-dothg", dir.path());
    let store = dir.path().join(".hg/store");
    for name in [
        "00changelog.i",
        "00manifest.i",
        "data/src/a.txt.i",
        "data/big.bin.i",
    ] {
        let path = store.join(name);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 16 + 1) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let (_, problems) = verified(dir.path());
            let meaningless = means_nothing(&whole, at);
            assert!(!problems.is_empty() || meaningless, "{name}: byte {at}");
            for problem in &problems {
                assert!(!problem.file.is_empty() && !problem.what.is_empty());
            }
        }
        fs::write(&path, &whole).unwrap();
    }
}

/// Whether a byte of an inline revlog is one that no reader looks at: the
/// padding of an entry, or the high bytes of the first offset. A link revision
/// may be another that is there, and a text's flag for copies says nothing.
fn means_nothing(bytes: &[u8], at: usize) -> bool {
    let mut start = 0;
    loop {
        let len = u32::from_be_bytes(bytes[start + 8..start + 12].try_into().unwrap());
        let end = start + 64 + len as usize;
        if at < end {
            let inside = at - start;
            let first = start == 0 && (4..6).contains(&inside);
            return first
                || inside == 6
                || (20..24).contains(&inside)
                || (52..64).contains(&inside);
        }
        start = end;
    }
}

#[test]
fn a_missing_filelog_is_named() {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("sample-dothg", dir.path());
    fs::remove_file(dir.path().join(".hg/store/data/src/a.txt.i")).unwrap();
    let (_, problems) = verified(dir.path());
    let names: Vec<_> = problems
        .iter()
        .map(|problem| problem.file.as_str())
        .collect();
    assert_eq!(names, ["data/src/a.txt.i"]);
}

#[test]
fn a_cut_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("sample-dothg", dir.path());
    let path = dir.path().join(".hg/store/data/src/a.txt.i");
    let whole = fs::read(&path).unwrap();
    for len in [0, 1, 63, 64, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        let (_, problems) = verified(dir.path());
        assert!(
            problems
                .iter()
                .any(|problem| problem.file == "data/src/a.txt.i"),
            "{len}"
        );
    }
}

#[test]
fn a_link_to_no_changeset_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_repository(dir.path());
    let mut manifest = RevlogWriter::new(true, true);
    manifest.add(Revision::root(b"", 7));
    manifest.write(&store, "00manifest.i", "");
    let (_, problems) = verified(dir.path());
    assert_eq!(problems.len(), 1);
    assert!(problems[0].what.contains("changeset 7"), "{problems:?}");
}

#[test]
fn trees_are_verified_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_repository(dir.path());
    fs::write(
        dir.path().join(".hg/requires"),
        format!("{REQUIRES}treemanifest\n"),
    )
    .unwrap();
    let write = |text: String, file: &str| {
        let mut writer = RevlogWriter::new(true, true);
        let rev = writer.add(Revision::root(text.as_bytes(), 0));
        writer.write(&store, file, "");
        writer.node(rev)
    };
    let file = write("content".to_owned(), "data/dir/f.i");
    let sub = write(format!("f\0{file}\n"), "meta/dir/00manifest.i");
    let root = write(format!("dir\0{sub}t\n"), "00manifest.i");
    write(format!("{root}\nme\n0 0\ndir/f\n\nfirst"), "00changelog.i");
    let (summary, problems) = verified(dir.path());
    assert_eq!(problems, []);
    assert_eq!(
        (summary.manifests, summary.files, summary.file_revisions),
        (2, 1, 1)
    );
    fs::remove_file(store.join("meta/dir/00manifest.i")).unwrap();
    let (_, problems) = verified(dir.path());
    assert_eq!(problems[0].file, "meta/dir/00manifest.i");
}
