use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::testing::{Revision, RevlogWriter, empty_repository, open_store};
use crate::tests::world::World;
use crate::{Repository, RepositoryOptions, Revlog, RevlogName};

/// Moves what is under a path away and leaves a link to it there.
fn make_link(path: &Path) {
    let away = path.with_extension("away");
    fs::rename(path, &away).unwrap();
    symlink(&away, path).unwrap();
}

/// What opening the filelog of `dir/f` says.
fn filelog_error(root: &Path) -> StoreError {
    let store = open_store(root);
    Revlog::open(&store, RevlogName::Filelog(b"dir/f")).unwrap_err()
}

#[test]
fn a_filelog_that_is_a_link_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let filelog = empty_repository(root.path()).join("data/dir/f.i");
    fs::create_dir_all(filelog.parent().unwrap()).unwrap();
    symlink("nowhere", &filelog).unwrap();
    let dangling = filelog_error(root.path());
    fs::write(filelog.with_file_name("nowhere"), "not of the store").unwrap();
    for error in [dangling, filelog_error(root.path())] {
        assert_eq!(
            error.to_string(),
            "data/dir/f.i: a symbolic link is not followed"
        );
        assert!(!error.may_be_stale());
    }
}

#[test]
fn a_directory_of_filelogs_that_is_a_link_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let data = empty_repository(root.path()).join("data");
    fs::create_dir_all(data.join("dir")).unwrap();
    let mut writer = RevlogWriter::new(true, true);
    writer.add(Revision::root(b"text", 0));
    fs::write(data.join("dir/f.i"), writer.bytes().0).unwrap();
    let store = open_store(root.path());
    assert!(Revlog::open(&store, RevlogName::Filelog(b"dir/f")).is_ok());
    make_link(&data.join("dir"));
    let error = filelog_error(root.path());
    assert!(matches!(&error, StoreError::SymbolicLink { file } if file == "data/dir/f.i"));
    let error = store.stamp("data/dir/f.i").unwrap_err();
    assert!(matches!(error, StoreError::SymbolicLink { .. }));
}

/// What a snapshot of the world says, when it is first opened and when it was
/// open already.
fn snapshot_errors(world: &World, change: impl FnOnce()) -> [String; 2] {
    let open = world.open();
    open.snapshot().unwrap();
    change();
    let options = RepositoryOptions::default();
    let anew = Repository::open(&world.dot_hg(), options).and_then(|new| new.snapshot());
    [anew, open.snapshot()].map(|outcome| outcome.unwrap_err().to_string())
}

#[test]
fn no_file_of_the_state_may_be_a_link() {
    for (name, shown) in [
        (".hg/requires", "requires"),
        (".hg/bookmarks", "bookmarks"),
        (".hg/store", "store"),
        (".hg/store/00changelog.i", "00changelog.i"),
        (".hg/store/phaseroots", "phaseroots"),
        (".hg/store/obsstore", "obsstore"),
        (".hg/store/undo", "undo"),
    ] {
        let mut world = World::new();
        world.commit(None, "one");
        world.phases(&[(1, 0)]);
        world.bookmarks(&[("x", 0)]);
        fs::write(world.store_dir().join("obsstore"), [1]).unwrap();
        fs::write(world.store_dir().join("undo"), "").unwrap();
        let path = world.dot_hg().parent().unwrap().join(name);
        let errors = snapshot_errors(&world, || make_link(&path));
        let expected = format!("{shown}: a symbolic link is not followed");
        assert_eq!(errors, [&*expected; 2], "{name}");
    }
}
