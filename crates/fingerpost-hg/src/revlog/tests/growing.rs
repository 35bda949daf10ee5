//! Files that change while they are read.

use std::path::Path;

use super::*;

const NAME: RevlogName<'_> = RevlogName::Filelog(b"f");

fn write(store: &Path, texts: &[Vec<u8>], inline: bool) {
    let (index, data) = writer_of(texts, inline, true, Packing::Zstd).bytes();
    // In place, as `hg` appends: another file would have another inode.
    fs::create_dir_all(store.join("data")).unwrap();
    if !inline {
        fs::write(store.join("data/f.d"), data).unwrap();
    }
    fs::write(store.join("data/f.i"), index).unwrap();
}

#[test]
fn an_appended_revision_is_growth() {
    let texts = history(60);
    for inline in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = empty_repository(dir.path());
        let store = open_store(dir.path());
        write(&path, &texts[..20], inline);
        let mut revlog = Revlog::open(&store, NAME).unwrap();
        assert!(matches!(
            revlog.refresh(&store, NAME).unwrap(),
            Refreshed::Unchanged
        ));
        for len in 21..=60 {
            write(&path, &texts[..len], inline);
            let Refreshed::Grown(grown) = revlog.refresh(&store, NAME).unwrap() else {
                panic!("{len} revisions are not grown from {}", revlog.len());
            };
            revlog = grown;
            assert_eq!(revlog.len(), len);
            let mut reader = Texts::new(0);
            for rev in revlog.revs() {
                assert_eq!(reader.text(&revlog, rev).unwrap(), texts[rev.index()]);
                assert_eq!(revlog.rev(&revlog.node(rev)), Some(rev));
            }
        }
        assert!(matches!(
            revlog.refresh(&store, NAME).unwrap(),
            Refreshed::Unchanged
        ));
    }
}

#[test]
fn growth_copies_few_entries() {
    let texts = history(300);
    let (index, _) = writer_of(&texts, false, true, Packing::Literal).bytes();
    let mut grown = Index::default();
    for entry in index.chunks(64) {
        grown = grown.extended(entry.to_vec()).unwrap();
    }
    assert_eq!(grown.len(), 300);
    assert!(grown.piece_count() <= 9, "{} pieces", grown.piece_count());
}

#[test]
fn a_strip_is_a_replacement() {
    let texts = history(20);
    for inline in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = empty_repository(dir.path());
        let store = open_store(dir.path());
        write(&path, &texts, inline);
        let revlog = Revlog::open(&store, NAME).unwrap();
        write(&path, &texts[..10], inline);
        let Refreshed::Replaced(after) = revlog.refresh(&store, NAME).unwrap() else {
            panic!("a shorter file is not replaced");
        };
        assert_eq!(after.len(), 10);
    }
}

#[test]
fn other_revisions_in_a_longer_file_are_a_replacement() {
    let texts = history(20);
    for inline in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = empty_repository(dir.path());
        let store = open_store(dir.path());
        write(&path, &texts[..10], inline);
        let revlog = Revlog::open(&store, NAME).unwrap();
        write(&path, &texts[5..], inline);
        let Refreshed::Replaced(after) = revlog.refresh(&store, NAME).unwrap() else {
            panic!("other entries are not replaced");
        };
        assert_eq!(after.len(), 15);
    }
}

#[test]
fn splitting_is_a_replacement_and_the_old_one_still_reads() {
    let texts = history(12);
    let dir = tempfile::tempdir().unwrap();
    let path = empty_repository(dir.path());
    let store = open_store(dir.path());
    write(&path, &texts, true);
    let inline = Revlog::open(&store, NAME).unwrap();
    // `hg` renames a new index over the old one.
    fs::rename(path.join("data/f.i"), path.join("old")).unwrap();
    write(&path, &texts, false);
    let Refreshed::Replaced(split) = inline.refresh(&store, NAME).unwrap() else {
        panic!("a split file is not replaced");
    };
    assert!(!split.is_inline());
    let mut reader = Texts::new(0);
    for rev in split.revs() {
        assert_eq!(
            reader.text(&inline, rev).unwrap(),
            reader.text(&split, rev).unwrap()
        );
    }
}

#[test]
fn a_file_that_appears_and_goes_is_noticed() {
    let texts = history(3);
    let dir = tempfile::tempdir().unwrap();
    let path = empty_repository(dir.path());
    let store = open_store(dir.path());
    let none = Revlog::open(&store, NAME).unwrap();
    assert!(matches!(
        none.refresh(&store, NAME).unwrap(),
        Refreshed::Unchanged
    ));
    write(&path, &texts, true);
    let Refreshed::Replaced(some) = none.refresh(&store, NAME).unwrap() else {
        panic!("a new file is not noticed");
    };
    assert_eq!(some.len(), 3);
    fs::remove_file(path.join("data/f.i")).unwrap();
    let Refreshed::Replaced(gone) = some.refresh(&store, NAME).unwrap() else {
        panic!("a removed file is not noticed");
    };
    assert!(!gone.exists());
}
