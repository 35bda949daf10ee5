//! Mappings page by page, and the changes since a position.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{SystemClock, Timestamp};
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv::changes::{ChangeFilter, Changes, ChangesSince, DeletionEpoch};
use fingerpost_hashequiv::namespace::NamespaceConfig;
use fingerpost_hashequiv::sqlite::MIGRATIONS;
use fingerpost_snapshot::Change;
use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, TestRunner};
use tokio::time::timeout;

use crate::order::{operation, run};
use crate::place::{Base, Place, on_each_store};
use crate::world::{World, hash};

on_each_store! {
    what_came_and_went_is_told_in_its_order,
    only_own_rows_are_told_and_every_epoch,
    old_deletions_are_forgotten_and_young_ones_are_not,
    deletions_are_told_alone_and_to_who_waits,
    a_removal_moves_the_epoch_and_not_the_history,
}

type Table = BTreeMap<[u8; 32], [u8; 32]>;

const FAR_AWAY: Timestamp = Timestamp(i64::MAX / 2);
/// The longest wait for a look.
const PATIENCE: Duration = Duration::from_secs(20);

/// Goes on with a walk for one page; where it is then.
async fn page(world: &World, table: &mut Table, after: i64, limit: usize) -> Option<i64> {
    let page = world.service.mappings(after, limit).await.unwrap();
    table.extend(page.rows.iter().map(|row| (row.taskhash, row.unihash)));
    page.next
}

async fn all(world: &World) -> Table {
    let (mut table, mut next) = (Table::new(), Some(0));
    while let Some(after) = next {
        next = page(world, &mut table, after, 3).await;
    }
    table
}

async fn told(world: &World, since: u64, limit: usize) -> Changes {
    match world
        .service
        .changes(since, limit, ChangeFilter::All)
        .await
        .unwrap()
    {
        ChangesSince::Told(changes) => changes,
        gone @ ChangesSince::Gone { .. } => panic!("{gone:?}"),
    }
}

/// Applies every change after a position, some at a time.
async fn follow(world: &World, table: &mut Table, since: u64) -> (u64, u64) {
    let (mut position, mut epoch) = (since, told(world, since, 1).await.epoch);
    loop {
        let some = told(world, position, 2).await;
        assert_eq!(some.epoch, epoch, "the epoch at {position}");
        for change in some.changes {
            assert!(change.position() > position);
            position = change.position();
            match change {
                Change::Adopted {
                    taskhash, unihash, ..
                } => {
                    table.insert(taskhash, unihash);
                }
                Change::Deleted { taskhash, .. } => {
                    table.remove(&taskhash);
                }
                Change::Epoch { epoch: raised, .. } => {
                    assert_eq!(raised, epoch + 1);
                    epoch = raised;
                }
            }
        }
        position = some.position;
        if some.is_all {
            return (position, epoch);
        }
    }
}

async fn remove(world: &World, task: &str) {
    let argument = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash(task));
    world.command("remove", &argument).await.unwrap();
}

/// Only positions that are not told any more.
async fn is_gone(world: &World, since: u64) -> bool {
    let changes = world
        .service
        .changes(since, 10, ChangeFilter::All)
        .await
        .unwrap();
    matches!(changes, ChangesSince::Gone { .. })
}

async fn what_came_and_went_is_told_in_its_order(place: Place) {
    let world = World::new(&place).await;
    world.report("1", "a", "d").await;
    let cut = world.service.cut().await.unwrap();
    world.report("2", "b", "e").await;
    remove(&world, "1").await;
    world.report("1", "c", "f").await;
    let since = told(&world, cut.position, 10).await;
    let words = since.changes.iter().map(|change| match change {
        Change::Adopted { taskhash, .. } => format!("+{:x}", taskhash[0] & 15),
        Change::Deleted { taskhash, .. } => format!("-{:x}", taskhash[0] & 15),
        Change::Epoch { epoch, .. } => format!("epoch {epoch}"),
    });
    assert_eq!(words.collect::<Vec<_>>(), ["+2", "-1", "epoch 1", "+1"]);
    assert!(since.is_all);
    assert_eq!(since.position, world.service.cut().await.unwrap().position);
    assert!(is_gone(&world, since.position + 1).await);
    assert_eq!(told(&world, since.position, 10).await.changes, []);
}

async fn only_own_rows_are_told_and_every_epoch(place: Place) {
    let config = Config {
        namespaces: vec![NamespaceConfig {
            fallback: Some("default".to_owned()),
            ..NamespaceConfig::named("fix")
        }],
        ..Config::default()
    };
    let worlds = World::of_namespaces(&place, config, &["default", "fix"]).await;
    let [default, fix] = worlds.try_into().ok().unwrap();
    default.report("1", "a", "d").await;
    fix.report("2", "b", "e").await;
    assert_eq!(all(&fix).await.len(), 1);
    remove(&default, "1").await;
    let changes = told(&fix, 0, 10).await.changes;
    assert!(
        matches!(
            changes[..],
            [Change::Adopted { .. }, Change::Epoch { epoch: 1, .. }]
        ),
        "{changes:?}"
    );
}

async fn told_of_deletions(world: &World, since: u64, limit: usize) -> Changes {
    let filter = ChangeFilter::Deletions;
    match world.service.changes(since, limit, filter).await.unwrap() {
        ChangesSince::Told(changes) => changes,
        gone @ ChangesSince::Gone { .. } => panic!("{gone:?}"),
    }
}

async fn deletions_are_told_alone_and_to_who_waits(place: Place) {
    let world = World::new(&place).await;
    world.report("1", "a", "d").await;
    remove(&world, "1").await;
    world.report("2", "b", "e").await;
    let start = world.service.cut().await.unwrap();
    let mut watching = world.service.watch_changes(ChangeFilter::Deletions);
    timeout(PATIENCE, watching.changed()).await.unwrap();
    let quiet = watching.changes(start.position, 9).unwrap();
    assert_eq!((quiet.changes.len(), quiet.epoch), (0, 1));
    assert_eq!(watching.changes(0, 9), None, "of before nothing is kept");
    world.report("3", "c", "f").await;
    remove(&world, "2").await;
    world.report("4", "c", "f").await;
    remove(&world, "3").await;
    let stored = told_of_deletions(&world, start.position, 9).await;
    assert_eq!((stored.changes.len(), stored.epoch), (4, 1));
    assert!(stored.is_all && stored.position == world.service.cut().await.unwrap().position);
    let all_seen = async {
        while watching.changes(start.position, 9).as_ref() != Some(&stored) {
            watching.changed().await;
        }
    };
    timeout(PATIENCE, all_seen).await.unwrap();
    for (since, limit) in [(start.position, 1), (start.position + 3, 9)] {
        let known = watching.changes(since, limit).unwrap();
        assert_eq!(known, told_of_deletions(&world, since, limit).await);
    }
}

async fn a_removal_moves_the_epoch_and_not_the_history(place: Place) {
    let config = Config {
        namespaces: vec![
            NamespaceConfig {
                fallback: Some("default".to_owned()),
                ..NamespaceConfig::named("fix")
            },
            NamespaceConfig::named("lab"),
        ],
        ..Config::default()
    };
    let names = ["default", "fix", "lab"];
    let worlds = World::of_namespaces(&place, config, &names).await;
    let epochs = || {
        let epochs = worlds.iter().map(|world| world.service.epoch_in_history());
        epochs.collect::<Vec<_>>()
    };
    worlds[0].report("1", "a", "d").await;
    let before = epochs();
    remove(&worlds[0], "1").await;
    let moved = |epoch: DeletionEpoch| DeletionEpoch {
        number: epoch.number + 1,
        ..epoch
    };
    assert_eq!(
        epochs(),
        [moved(before[0]), moved(before[1]), before[2]],
        "of all who could have found it"
    );
}

async fn old_deletions_are_forgotten_and_young_ones_are_not(place: Place) {
    let world = World::new(&place).await;
    let long_ago = Timestamp(1);
    world.report("1", "a", "d").await;
    remove(&world, "1").await;
    let old = world.service.cut().await.unwrap().position;
    world.service.forget_changes(long_ago).await.unwrap();
    assert!(!is_gone(&world, 0).await);
    assert_eq!(world.service.forget_changes(FAR_AWAY).await.unwrap(), 2);
    assert!(is_gone(&world, old - 1).await);
    world.report("2", "b", "e").await;
    remove(&world, "2").await;
    world.service.forget_changes(long_ago).await.unwrap();
    assert_eq!(told(&world, old, 10).await.changes.len(), 2);
}

/// A backup of PostgreSQL is made and restored by its own programs.
#[tokio::test]
async fn a_restored_backup_goes_on_from_no_position_that_was_told() {
    let world = World::new(&Place::Files).await;
    world.report("1", "a", "d").await;
    let (db, directory) = world.base.sqlite();
    let (copy, restored) = (
        directory.path().join("copy"),
        directory.path().join("restored"),
    );
    db.backup(&copy, &mut |_, _| {}).unwrap();
    world.report("2", "b", "e").await;
    let told_before = world.service.cut().await.unwrap().position;
    fingerpost_db::restore(&copy, &restored, false, &mut |_, _| {}).unwrap();
    let base = Base::of_file(Arc::clone(directory), "restored", MIGRATIONS.len());
    let open = || World::on(base.clone(), Config::default(), None, Arc::new(SystemClock));
    let other = open().await;
    let history = |world: &World| world.service.epoch_in_history().history;
    assert_ne!(history(&other), history(&world));
    assert_eq!(history(&other), history(&open().await));
    for position in [0, told_before] {
        assert!(is_gone(&other, position).await);
    }
    let cut = other.service.cut().await.unwrap();
    // Once for each life, and not for each start.
    assert_eq!(open().await.service.cut().await.unwrap(), cut);
    other.report("3", "c", "f").await;
    assert_eq!(told(&other, cut.position, 10).await.changes.len(), 1);
}

#[test]
fn pages_with_the_changes_since_their_beginning_are_what_the_server_has() {
    property(60, async || Place::Files);
}

#[test]
fn pages_with_the_changes_since_their_beginning_are_what_postgresql_has() {
    property(40, Place::cluster);
}

fn property(cases: u32, place: impl AsyncFnOnce() -> Place) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = runtime.block_on(place());
    let operations = proptest::collection::vec(operation(), 1..40);
    let inputs = (operations, 0..20_usize, 1..4_usize);
    let config = RunnerConfig {
        cases,
        ..RunnerConfig::default()
    };
    let outcome = TestRunner::new(config).run(&inputs, |(operations, begin, limit)| {
        runtime.block_on(async {
            let world = World::new(&place).await;
            let (mut table, mut next, mut cut) = (Table::new(), None, None);
            for (number, operation) in operations.iter().enumerate() {
                run(&world, operation).await;
                if number == begin {
                    cut = Some(world.service.cut().await.unwrap());
                    next = Some(0);
                }
                if let Some(after) = next {
                    next = page(&world, &mut table, after, limit).await;
                }
            }
            while let Some(after) = next {
                next = page(&world, &mut table, after, limit).await;
            }
            let since = cut.map_or(0, |cut| cut.position);
            let (position, epoch) = follow(&world, &mut table, since).await;
            prop_assert_eq!(table, all(&world).await);
            let now = world.service.cut().await.unwrap();
            prop_assert_eq!((position, epoch), (now.position, now.epoch));
            let mut from_nothing = Table::new();
            follow(&world, &mut from_nothing, 0).await;
            prop_assert_eq!(from_nothing, all(&world).await);
            Ok(())
        })
    });
    outcome.unwrap();
}
