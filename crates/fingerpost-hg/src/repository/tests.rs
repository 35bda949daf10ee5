mod following;
mod racing;

use std::fs;
use std::sync::Arc;

use crate::tests::world::{Commit, World};
use crate::{Generation, Repository, Rev, Snapshot, StateToken, StoreError};

/// Token and generation of a repository now.
fn marks(repository: &Repository) -> (StateToken, Generation) {
    let snapshot = repository.snapshot().unwrap();
    (snapshot.state_token(), snapshot.generation())
}

fn served(snapshot: &Snapshot) -> Vec<usize> {
    snapshot.served().map(Rev::index).collect()
}

#[test]
fn nothing_changed_is_the_same_snapshot() {
    let mut world = World::new();
    world.commit(None, "one");
    world.phases(&[(1, 0)]);
    world.bookmarks(&[("x", 0)]);
    let repository = world.open();
    let first = repository.snapshot().unwrap();
    assert!(Arc::ptr_eq(&first, &repository.snapshot().unwrap()));
}

#[test]
fn a_commit_changes_the_token_and_not_the_generation() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    let before = marks(&repository);
    world.commit(Some(0), "two");
    let after = marks(&repository);
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1);
    assert_eq!(repository.snapshot().unwrap().len(), 2);
}

#[test]
fn every_change_of_an_answer_changes_the_token() {
    let mut world = World::new();
    world.commit(None, "one");
    world.commit(Some(0), "two");
    let repository = world.open();
    let mut tokens = vec![marks(&repository).0];
    let mut step = |what: &str| {
        let token = marks(&repository).0;
        assert!(!tokens.contains(&token), "{what}");
        tokens.push(token);
    };
    world.phases(&[(1, 1)]);
    step("draft");
    world.bookmarks(&[("x", 0)]);
    step("bookmark");
    world.bookmarks(&[("x", 1)]);
    step("bookmark moved");
    world.bookmarks(&[("x", 0)]);
    fs::write(world.store_dir().join("obsstore"), [1]).unwrap();
    world.prune(1);
    step("marker");
    world.phases(&[(2, 1)]);
    step("secret");
}

#[test]
fn what_changes_no_answer_changes_no_token() {
    let mut world = World::new();
    world.commit(None, "one");
    world.commit(Some(0), "two");
    world.phases(&[(1, 1)]);
    let repository = world.open();
    let before = marks(&repository).0;
    // A marker on a public changeset hides nothing; a rewritten file is the same.
    world.prune(0);
    world.phases(&[(1, 1)]);
    fs::write(world.store_dir().join("undo"), "x").unwrap();
    assert_eq!(marks(&repository).0, before);
    let elsewhere = World::new();
    fs::remove_dir_all(elsewhere.dot_hg()).unwrap();
    let status = std::process::Command::new("cp")
        .arg("-r")
        .args([world.dot_hg(), elsewhere.dot_hg()])
        .status();
    assert!(status.unwrap().success());
    assert_eq!(marks(&elsewhere.open()).0, before);
}

#[test]
fn the_token_depends_on_how_it_is_served() {
    let mut world = World::new();
    world.commit(None, "one");
    let publishing = marks(&world.open()).0;
    let mut options = world.options();
    options.publishing = false;
    let other = Repository::open(&world.dot_hg(), options).unwrap();
    assert_ne!(marks(&other).0, publishing);
}

#[test]
fn a_secret_root_written_before_its_changeset_is_honoured() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    // As hg does it: data, then the phase roots, then the changelog.
    world.add(Commit {
        parents: [Some(0), None],
        message: "secret",
        ..Commit::default()
    });
    world.phases(&[(2, 1)]);
    assert_eq!(served(&repository.snapshot().unwrap()), [0]);
    world.write();
    let snapshot = repository.snapshot().unwrap();
    assert_eq!(snapshot.len(), 2);
    assert_eq!(served(&snapshot), [0]);
}

#[test]
fn a_strip_starts_over() {
    let mut world = World::new();
    world.commit(None, "one");
    world.commit(Some(0), "two");
    let repository = world.open();
    let before = marks(&repository);
    world.clear_changelog();
    world.commit(None, "one");
    let after = marks(&repository);
    assert_eq!(repository.snapshot().unwrap().len(), 1);
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[test]
fn another_order_behind_the_same_last_changeset_is_noticed() {
    let mut world = World::new();
    let order = |world: &mut World, names: [&str; 4]| {
        world.clear_changelog();
        for name in names {
            world.add(Commit {
                message: name,
                ..Commit::default()
            });
        }
        // In place, as a strip and a pull do it: the inode stays.
        world.write();
    };
    order(&mut world, ["root", "aa", "bb", "cc"]);
    let repository = world.open();
    let (first, before) = (repository.snapshot().unwrap(), marks(&repository));
    order(&mut world, ["root", "bb", "aa", "cc"]);
    let second = repository.snapshot().unwrap();
    assert_eq!(first.node(Rev(3)), second.node(Rev(3)));
    assert_eq!(first.node(Rev(1)), second.node(Rev(2)));
    assert_eq!(second.rev(&first.node(Rev(1))), Some(Rev(2)));
    let after = marks(&repository);
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[test]
fn a_rewrite_of_the_same_history_keeps_token_and_generation() {
    let mut world = World::new();
    world.commit(None, "one");
    world.commit(Some(0), "two");
    let repository = world.open();
    let before = marks(&repository);
    let changelog = world.store_dir().join("00changelog.i");
    let bytes = fs::read(&changelog).unwrap();
    fs::write(world.store_dir().join("new"), bytes).unwrap();
    fs::rename(world.store_dir().join("new"), &changelog).unwrap();
    assert_eq!(marks(&repository), before);
}

#[test]
fn a_transaction_that_rewrote_a_filelog_is_another_generation() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    let undo = |name: &str, bytes: &[u8]| {
        let path = world.store_dir().join(name);
        fs::write(path.with_extension("new"), bytes).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    let first = marks(&repository);
    // As after a phase move, looked at between its last steps: explained by
    // what changed.
    world.phases(&[(1, 0)]);
    assert_eq!(marks(&repository).1, first.1);
    undo(
        "undo.backupfiles",
        b"2\n\0phaseroots\0undo.backup.phaseroots\0",
    );
    undo("undo", b"");
    let second = marks(&repository);
    assert_eq!(first.1, second.1);
    // As `hg censor` of 6.0.3 leaves it.
    undo(
        "undo.backupfiles",
        b"2\nstore\0data/f.i\0data/undo.backup.f.i\x000\n",
    );
    undo("undo", b"data/f.i.tmpcensored\x000\n");
    let third = marks(&repository);
    assert_eq!(second.0, third.0);
    assert_ne!(second.1, third.1);
    repository.note_rewrite();
    let fourth = marks(&repository);
    assert_ne!(third.1, fourth.1);
    assert_eq!(marks(&repository).1, fourth.1);
}

#[test]
fn what_was_forgotten_is_read_again() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    let before = marks(&repository);
    let held = repository.snapshot().unwrap();
    repository.forget_caches();
    assert!(repository.generation().is_none());
    assert_eq!(marks(&repository), before);
    assert!(!Arc::ptr_eq(&held, &repository.snapshot().unwrap()));
    repository.forget_caches();
    world.clear_changelog();
    world.commit(None, "another");
    assert_ne!(marks(&repository).1, before.1);
}

#[test]
fn forgetting_does_not_wait_for_who_reads() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    let building = repository.building.lock();
    repository.forget_caches();
    drop(building);
    assert!(repository.generation().is_some());
}

#[test]
fn a_replaced_store_is_opened_anew() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    let mut other = World::new();
    other.commit(None, "other");
    other.commit(Some(0), "two");
    fs::rename(world.store_dir(), world.dot_hg().join("old")).unwrap();
    fs::rename(other.store_dir(), world.store_dir()).unwrap();
    assert_eq!(repository.snapshot().unwrap().len(), 2);
}

#[test]
fn a_new_unknown_requirement_is_refused() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    let path = world.dot_hg().join("requires");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text + "from-the-future\n").unwrap();
    assert!(matches!(
        repository.snapshot(),
        Err(StoreError::Requirements(_))
    ));
}

#[test]
fn a_repository_that_is_gone_is_missing() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    fs::remove_dir_all(world.dot_hg()).unwrap();
    assert!(matches!(
        repository.snapshot(),
        Err(StoreError::Missing { .. })
    ));
}

#[test]
fn a_corrupt_phaseroots_serves_nothing_and_is_named() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    fs::write(world.store_dir().join("phaseroots"), "2 nonsense\n").unwrap();
    let error = repository.snapshot().unwrap_err();
    assert!(
        error.to_string().starts_with("phaseroots: line 1"),
        "{error}"
    );
}

#[test]
fn bookmarks_are_where_the_repository_keeps_them() {
    let mut source = World::new();
    source.commit(None, "one");
    source.bookmarks(&[("theirs", 0)]);
    let share = World::new();
    fs::remove_dir_all(share.store_dir()).unwrap();
    let requires = fs::read_to_string(share.dot_hg().join("requires")).unwrap();
    fs::write(
        share.dot_hg().join("requires"),
        requires.clone() + "shared\n",
    )
    .unwrap();
    fs::write(
        share.dot_hg().join("sharedpath"),
        source.dot_hg().to_str().unwrap(),
    )
    .unwrap();
    let line = format!("{} ours\n", source.node(0));
    fs::write(share.dot_hg().join("bookmarks"), line).unwrap();
    let names = |repository: &Repository| {
        let snapshot = repository.snapshot().unwrap();
        snapshot.bookmarks().keys().cloned().collect::<Vec<_>>()
    };
    let repository = share.open();
    assert_eq!(names(&repository), [b"ours"]);
    fs::write(share.dot_hg().join("shared"), "bookmarks\n").unwrap();
    assert_eq!(names(&repository), [b"theirs".to_vec()]);
    let line = format!("{} stored\n", source.node(0));
    fs::write(source.store_dir().join("bookmarks"), line).unwrap();
    let requires = requires + "shared\nbookmarksinstore\n";
    fs::write(share.dot_hg().join("requires"), requires).unwrap();
    assert_eq!(names(&repository), [b"stored".to_vec()]);
}

#[test]
fn snapshots_stay_as_they_were() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    let first = repository.snapshot().unwrap();
    world.commit(Some(0), "two");
    world.phases(&[(2, 0)]);
    let second = repository.snapshot().unwrap();
    assert_eq!(served(&first), [0]);
    assert!(served(&second).is_empty());
    assert_eq!(first.len(), 1);
}
