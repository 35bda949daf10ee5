use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::server::{METHOD, Server, hash, unihash};
use super::world::{World, eventually};
use crate::following::Found;
use crate::state::DeletionEpoch;

/// A world that answers from a snapshot `a` of 200 rows.
async fn following() -> World {
    let server = Server::with_rows(200);
    server.snapshot("a");
    let mut world = World::new(server);
    world.start().await;
    world.answers_from("a").await;
    world
}

#[tokio::test]
async fn a_snapshot_answers_with_what_changed_since() {
    let world = following().await;
    for number in 0..200 {
        world.finds(number).await;
    }
    world.says(1000, Found::Unknown).await;
    assert_eq!(world.followed().lookup("n", &hash(1)), Found::Unknown);
    world.server.delete(7);
    world.server.add(1000);
    world.says(7, Found::Unknown).await;
    world.finds(1000).await;
    world.server.add(7);
    world.server.delete(1000);
    world.finds(7).await;
    world.says(1000, Found::Unknown).await;
    assert!(world.memory.is_deleted(7) && world.memory.is_deleted(1000));
    assert!(world.memory.added.lock().contains(&hash(1000)));
    let epoch = DeletionEpoch {
        history: [1; 16],
        epoch: 2,
    };
    eventually("the epoch", || {
        world.followed().shared.standing.epoch() == Some(epoch)
    })
    .await;
    assert_eq!(*world.memory.epoch.lock(), Some(epoch));
    let status = world.followed().status();
    assert_eq!((status.changes, status.knows_all), (2, true));
    assert_eq!((status.fetched, status.trouble), (1, None));
    // That a start knows nothing of what was remembered is all that ever went.
    assert_eq!(world.memory.all_gone(), 1);
}

#[tokio::test]
async fn an_answer_is_as_good_as_it_is_fresh() {
    let world = following().await;
    world.says(1000, Found::Unknown).await;
    world.server.inner(|inner| inner.is_up = false);
    let hit = Found::Unihash(unihash(3));
    assert_eq!(world.found_in(1000, 61), Found::Nothing);
    assert_eq!(world.found_in(3, 61), hit);
    assert_eq!(world.found_in(3, 23 * 3600), hit);
    assert_eq!(world.found_in(3, 24 * 3600 + 10), Found::Nothing);
    let is_current = |seconds| {
        let then = Instant::now() + Duration::from_secs(seconds);
        world.followed().shared.is_current(then)
    };
    assert!(world.followed().is_current() && !is_current(11));
    let trouble = || world.followed().status().trouble;
    eventually("the trouble is told", || trouble().is_some()).await;
    assert_eq!(world.found(3), hit);
    world.server.inner(|inner| inner.is_up = true);
    eventually("all is well", || trouble().is_none()).await;
}

#[tokio::test]
async fn who_saw_a_later_epoch_gets_nothing_until_it_is_known_what_went() {
    let world = following().await;
    world.finds(3).await;
    world.server.inner(|inner| inner.is_up = false);
    world.followed().saw(DeletionEpoch {
        history: [1; 16],
        epoch: 1,
    });
    assert_eq!(world.found(3), Found::Nothing);
    assert!(!world.followed().is_current());
    world.server.delete(4);
    world.server.inner(|inner| inner.is_up = true);
    world.finds(3).await;
    world.says(4, Found::Unknown).await;
}

#[tokio::test]
async fn look_ups_know_what_others_are_told() {
    let world = following().await;
    world.server.inner(|inner| inner.head_lags = 1);
    world.finds(3).await;
    // The memory looks each one up that it is told of.
    for number in 0..20 {
        world.server.delete(number);
        world.says(number, Found::Unknown).await;
        assert!(world.memory.is_deleted(number));
    }
}

#[tokio::test]
async fn what_may_be_elsewhere_is_asked_for() {
    let server = Server::with_rows(10);
    server.inner(|inner| inner.fallbacks = Some(vec!["base".to_owned()]));
    server.snapshot("a");
    let mut world = World::new(server);
    world.start().await;
    world.finds(1).await;
    world.settled().await;
    assert_eq!(world.found(1000), Found::Nothing);
    // Who knows what was deleted there.
    let before = world.memory.all_gone();
    world.server.raise();
    eventually("all is gone", || world.memory.all_gone() > before).await;
    world.finds(1).await;
}

#[tokio::test]
async fn what_was_left_out_is_asked_for() {
    let server = Server::with_rows(10);
    server.inner(|inner| inner.left_out = 1);
    server.snapshot("a");
    let mut world = World::new(server);
    world.start().await;
    world.finds(1).await;
    world.settled().await;
    assert_eq!(world.found(1000), Found::Nothing);
}

#[tokio::test]
async fn without_a_snapshot_deletions_are_heard_of() {
    let mut world = World::new(Server::with_rows(10));
    world.start().await;
    eventually("it is current", || world.followed().is_current()).await;
    world.server.add(10);
    world.server.delete(3);
    eventually("it is heard", || world.memory.is_deleted(3)).await;
    assert_eq!(world.found(1), Found::Nothing);
    assert!(world.memory.added.lock().is_empty());
    let asked = world.server.inner(|inner| inner.asked.clone());
    assert!(asked.iter().all(|wanted| wanted.deletions_only));
    assert_eq!(asked[0].since, None);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_gone_on_with() {
    let world = following().await;
    world.finds(1).await;
    let before = world.server.inner(|inner| {
        inner.is_up = false;
        inner.cut_after = Some(3);
        inner.position
    });
    for number in 0..10 {
        world.server.delete(number);
        world.server.add(1000 + number);
    }
    world.server.inner(|inner| inner.is_up = true);
    for number in 0..10 {
        world.says(number, Found::Unknown).await;
        world.finds(1000 + number).await;
        assert!(world.memory.is_deleted(number));
    }
    let behind_the_cut = Some(before + 3);
    let asked = world.server.inner(|inner| inner.asked.clone());
    assert!(asked.iter().any(|wanted| wanted.since == behind_the_cut));
    assert_eq!(world.memory.all_gone(), 1);
}

#[tokio::test]
async fn more_changes_than_an_answer_has_come_in_parts() {
    let world = following().await;
    world.server.inner(|inner| inner.is_up = false);
    world.server.delete(1);
    (0..20_001).for_each(|number| world.server.add(1000 + number));
    world.server.delete(2);
    world.server.snapshot("b");
    world.server.inner(|inner| inner.is_up = true);
    world.finds(21_000).await;
    world.says(1, Found::Unknown).await;
    world.says(2, Found::Unknown).await;
    world.answers_from("b").await;
    world.finds(21_000).await;
    assert_eq!(world.found(2), Found::Unknown);
}

#[tokio::test]
async fn an_old_snapshot_answers_once_it_is_up_to_date() {
    let server = Server::with_rows(100);
    server.snapshot("a");
    (0..10_001).for_each(|number| server.add(1000 + number));
    server.delete(2);
    let mut world = World::new(server);
    world.start().await;
    world.finds(3).await;
    assert_eq!(world.found(2), Found::Unknown);
    world.finds(11_000).await;
}

#[tokio::test]
async fn what_is_too_much_for_the_overlay_is_let_go() {
    let server = Server::with_rows(100);
    server.snapshot("a");
    let mut world = World::new(server);
    world.options.overlay_max = 4;
    world.options.overlay_and_deletions_max = 8;
    world.start().await;
    world.says(1000, Found::Unknown).await;
    for number in 1000..1006 {
        world.server.add(number);
    }
    world.finds(1003).await;
    world.says(1005, Found::Nothing).await;
    world.says(2000, Found::Nothing).await;
    // A deletion beats the snapshot even so.
    world.finds(1).await;
    world.server.delete(1);
    world.says(1, Found::Nothing).await;
    world.finds(2).await;
    for number in 3..8 {
        world.server.delete(number);
    }
    world.says(2, Found::Nothing).await;
    eventually("all were heard", || world.memory.is_deleted(7)).await;
    world.server.snapshot("b");
    world.finds(2).await;
    world.says(3, Found::Unknown).await;
}

#[tokio::test]
async fn a_snapshot_of_the_same_name_takes_the_place_of_the_one_before() {
    let server = Server::with_rows(200);
    server.snapshot("a");
    let mut world = World::new(server);
    world.options.newer_by = Duration::ZERO;
    world.start().await;
    world.answers_from("a").await;
    for number in [1000, 2000] {
        world.server.withdraw("a");
        world.server.add(number);
        let newest = world.server.snapshot("a").position;
        let position = || world.followed().status().snapshot.unwrap().position;
        eventually("it is another one", || position() == newest).await;
        for number in (0..200).chain([number]) {
            world.finds(number).await;
        }
    }
    let directories = || {
        let left = std::fs::read_dir(world.place().path()).unwrap();
        let names = left.flatten().filter(|entry| entry.path().is_dir());
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    eventually("the old ones are removed", || directories() == ["a"]).await;
    assert_eq!(world.followed().status().failures, 0);
    world.settled().await;
    world.stop().await;
    // It is still there for the next start.
    world.server.inner(|inner| inner.is_up = false);
    world.start().await;
    world.finds(2000).await;
}

/// Ends what would go on for ever, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_snapshot_takes_the_place_of_one_that_answers() {
    let world = following().await;
    world.says(1000, Found::Unknown).await;
    let (stop, followed) = (AtomicBool::new(false), world.followed().clone());
    let look_up = || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number = (number + 1) % 200;
            let found = followed.lookup(METHOD, &hash(number));
            assert_eq!(found, Found::Unihash(unihash(number)));
        }
    };
    std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let threads = [scope.spawn(look_up), scope.spawn(look_up)];
        let refresh = async {
            for (name, first) in [("b", 1000), ("c", 2000), ("d", 3000)] {
                (first..first + 50).for_each(|number| world.server.add(number));
                world.server.snapshot(name);
                world.server.add(first + 50);
                world.answers_from(name).await;
                world.finds(first).await;
                world.finds(first + 50).await;
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(refresh));
        drop(stopping);
        for thread in threads {
            thread.join().unwrap();
        }
    });
    world.server.delete(1000);
    world.says(1000, Found::Unknown).await;
    let place = world.place();
    eventually("the old ones are removed", || {
        let left = std::fs::read_dir(place.path()).unwrap();
        left.filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count()
            == 1
    })
    .await;
    assert_eq!(world.followed().status().fetched, 4);
}

#[tokio::test]
async fn what_only_the_server_says_is_asked_for_where_it_is_not_believed() {
    let server = Server::with_rows(200);
    server.snapshot("a");
    let mut world = World::new(server);
    world.options.believes_changes = false;
    world.start().await;
    world.answers_from("a").await;
    world.server.add(1000);
    world.server.delete(7);
    // A lie about what is not there costs a build, and no more.
    world.says(7, Found::Unknown).await;
    world.says(1000, Found::Nothing).await;
    world.finds(8).await;
}
