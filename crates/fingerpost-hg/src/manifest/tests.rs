use proptest::prelude::*;

use super::*;
use crate::error::StoreError;
use crate::revlog::{Rev, Revlog, RevlogName};
use crate::store::Limits;
use crate::testing::{
    REQUIRES, Revision, RevlogWriter, empty_repository, open_store, unpack_fixture,
};
use crate::texts::Texts;

fn node(number: u8) -> Node {
    Node::from_bytes([number; 20])
}

fn line(path: &str, number: u8, flag: &str) -> String {
    format!("{path}\0{}{flag}\n", node(number))
}

#[test]
fn entries_have_path_node_and_flag() {
    let text = [
        line("a b", 1, ""),
        line("b", 2, "x"),
        line("c", 3, "l"),
        line("d", 4, "t"),
    ]
    .concat();
    let entries: Vec<_> = parse_manifest(text.as_bytes())
        .map(Result::unwrap)
        .collect();
    let flags: Vec<_> = entries.iter().map(|entry| entry.flag).collect();
    let expected = [
        ManifestFlag::Plain,
        ManifestFlag::Executable,
        ManifestFlag::Symlink,
        ManifestFlag::Tree,
    ];
    assert_eq!(flags, expected);
    assert_eq!(entries[0].path, b"a b");
    assert_eq!(entries[3].node, node(4));
    assert_eq!(parse_manifest(b"").count(), 0);
}

#[test]
fn lines_of_another_form_are_refused() {
    let good = line("path", 1, "");
    for text in [
        "path".to_owned(),
        line("path", 1, "z"),
        line("path", 1, "xx"),
        line("", 1, ""),
        line("pa\nth", 1, ""),
        good[..good.len() - 1].to_owned(),
        good.replace('1', "g"),
        good.replace("01", "1"),
    ] {
        let last = parse_manifest(text.as_bytes()).last();
        assert_eq!(last, Some(Err(ManifestError::Line)), "{text:?}");
        assert_eq!(
            find_in_manifest(text.as_bytes(), b"path"),
            Err(ManifestError::Line),
            "{text:?}"
        );
    }
}

#[test]
fn paths_out_of_order_are_refused() {
    for paths in [["b", "a"], ["a", "a"]] {
        let text = paths.map(|path| line(path, 1, "")).concat();
        let last = parse_manifest(text.as_bytes()).last();
        assert_eq!(last, Some(Err(ManifestError::Order)));
    }
}

proptest! {
    #[test]
    fn finding_is_reading_in_order(
        paths in proptest::collection::btree_set("[a-c./ ]{1,6}", 0..40),
        wanted in "[a-c./ ]{1,6}",
    ) {
        let text: String = paths.iter().map(|path| line(path, path.len() as u8, "")).collect();
        for path in paths.iter().chain([&wanted]) {
            let expected = parse_manifest(text.as_bytes())
                .map(Result::unwrap)
                .find(|entry| entry.path == path.as_bytes());
            prop_assert_eq!(find_in_manifest(text.as_bytes(), path.as_bytes()), Ok(expected));
        }
    }
}

/// A manifest that changes one file at a time, then removes one.
fn changing() -> (Revlog, Vec<String>) {
    let mut lines: Vec<String> = (0..50)
        .map(|file| line(&format!("f{file:02}"), 0, ""))
        .collect();
    let (mut writer, mut texts) = (RevlogWriter::new(true, true), Vec::new());
    for rev in 0..10_u32 {
        match rev {
            0 => {}
            9 => drop(lines.remove(7)),
            _ => lines[rev as usize * 5] = line(&format!("f{:02}", rev * 5), rev as u8, "x"),
        }
        let text = lines.concat();
        match rev.checked_sub(1) {
            None => writer.add(Revision::root(text.as_bytes(), rev)),
            Some(parent) => writer.add(Revision::child(Rev(parent), text.as_bytes(), rev)),
        };
        texts.push(text);
    }
    let (index, data) = writer.bytes();
    let revlog = Revlog::from_bytes("00manifest.i", index, data, Limits::default()).unwrap();
    (revlog, texts)
}

#[test]
fn a_changed_path_is_found_in_the_delta_alone() {
    let (manifest, _) = changing();
    let mut texts = Texts::new(1 << 20);
    let found = manifest_entries(&manifest, Rev(3), &[b"f15"], &mut texts).unwrap();
    assert_eq!(found, [Some((node(3), ManifestFlag::Executable))]);
    assert!(!texts.remembers(&manifest, Rev(3)), "the text was made");
}

#[test]
fn other_paths_are_found_in_the_text() {
    let (manifest, all) = changing();
    for rev in manifest.revs() {
        let mut texts = Texts::new(0);
        let paths: Vec<String> = (0..52).map(|file| format!("f{file:02}")).collect();
        let paths: Vec<&[u8]> = paths.iter().map(String::as_bytes).collect();
        let found = manifest_entries(&manifest, rev, &paths, &mut texts).unwrap();
        for (path, found) in paths.iter().zip(found) {
            let expected = find_in_manifest(all[rev.index()].as_bytes(), path).unwrap();
            assert_eq!(found, expected.map(|entry| (entry.node, entry.flag)));
        }
    }
}

#[test]
fn a_manifest_that_is_none_is_an_error() {
    let mut writer = RevlogWriter::new(true, true);
    writer.add(Revision::root(b"no manifest", 0));
    let (index, data) = writer.bytes();
    let manifest = Revlog::from_bytes("00manifest.i", index, data, Limits::default()).unwrap();
    let error = manifest_entries(&manifest, Rev(0), &[b"a"], &mut Texts::new(0)).unwrap_err();
    assert!(
        error.to_string().starts_with("00manifest.i: revision 0"),
        "{error}"
    );
}

#[test]
fn every_file_of_the_recorded_repository_is_there() {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("sample-dothg", dir.path());
    let store = open_store(dir.path());
    let root = Revlog::open(&store, RevlogName::Manifest).unwrap();
    let mut manifests = Manifests::new(&store, &root);
    let mut texts = Texts::new(1 << 20);
    let mut files = 0;
    for rev in root.revs() {
        manifests
            .walk(rev, &mut texts, &mut |path, node, _| {
                files += 1;
                let filelog = Revlog::open(&store, RevlogName::Filelog(path))?;
                let rev = filelog.require(&node)?;
                Texts::new(0).text(&filelog, rev).map(drop)
            })
            .unwrap();
    }
    assert!(files > 20, "{files}");
}

/// A store with tree manifests of `a/x`, `a.txt`, `a/b/y`.
fn tree_store(dir: &std::path::Path) {
    let store = empty_repository(dir);
    std::fs::write(
        dir.join(".hg/requires"),
        format!("{REQUIRES}treemanifest\n"),
    )
    .unwrap();
    let write = |text: String, file: &str| {
        let mut writer = RevlogWriter::new(true, true);
        let rev = writer.add(Revision::root(text.as_bytes(), 0));
        writer.write(&store, file, "");
        writer.node(rev)
    };
    let deep = write(line("y", 3, ""), "meta/a/b/00manifest.i");
    let sub = write(
        format!("b\0{deep}t\n{}", line("x", 2, "x")),
        "meta/a/00manifest.i",
    );
    write(
        format!("a\0{sub}t\n{}", line("a.txt", 1, "l")),
        "00manifest.i",
    );
}

#[test]
fn trees_are_walked_in_the_order_of_paths() {
    let dir = tempfile::tempdir().unwrap();
    tree_store(dir.path());
    let store = open_store(dir.path());
    let root = Revlog::open(&store, RevlogName::Manifest).unwrap();
    let mut seen = Vec::new();
    Manifests::new(&store, &root)
        .walk(Rev(0), &mut Texts::new(0), &mut |path, node, flag| {
            seen.push((String::from_utf8(path.to_vec()).unwrap(), node, flag));
            Ok(())
        })
        .unwrap();
    let expected = [
        ("a.txt".to_owned(), node(1), ManifestFlag::Symlink),
        ("a/b/y".to_owned(), node(3), ManifestFlag::Plain),
        ("a/x".to_owned(), node(2), ManifestFlag::Executable),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn paths_are_looked_up_through_trees() {
    let dir = tempfile::tempdir().unwrap();
    tree_store(dir.path());
    let store = open_store(dir.path());
    let root = Revlog::open(&store, RevlogName::Manifest).unwrap();
    let mut manifests = Manifests::new(&store, &root);
    let paths: [&[u8]; 7] = [
        b"a", b"a.txt", b"a.txt/b", b"a/b/y", b"a/none", b"a/x", b"z/z",
    ];
    let found = manifests
        .entries(Rev(0), &paths, &mut Texts::new(0))
        .unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|found| found.map(|(node, _)| node))
        .collect();
    let expected = [
        None,
        Some(node(1)),
        None,
        Some(node(3)),
        None,
        Some(node(2)),
        None,
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_missing_tree_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    tree_store(dir.path());
    std::fs::remove_file(dir.path().join(".hg/store/meta/a/b/00manifest.i")).unwrap();
    let store = open_store(dir.path());
    let root = Revlog::open(&store, RevlogName::Manifest).unwrap();
    let error = Manifests::new(&store, &root)
        .walk(Rev(0), &mut Texts::new(0), &mut |_, _, _| Ok(()))
        .unwrap_err();
    assert!(matches!(&error, StoreError::Missing { file } if file == "meta/a/b/00manifest.i"));
}

#[test]
fn a_tree_in_a_flat_store_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    tree_store(dir.path());
    std::fs::write(dir.path().join(".hg/requires"), REQUIRES).unwrap();
    let store = open_store(dir.path());
    let root = Revlog::open(&store, RevlogName::Manifest).unwrap();
    let error = Manifests::new(&store, &root)
        .walk(Rev(0), &mut Texts::new(0), &mut |_, _, _| Ok(()))
        .unwrap_err();
    assert!(
        matches!(error, StoreError::CorruptRevision { .. }),
        "{error}"
    );
}
