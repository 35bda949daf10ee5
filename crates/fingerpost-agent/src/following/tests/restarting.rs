use std::fs;
use std::path::Path;

use super::server::{Server, unihash};
use super::world::{World, eventually};
use crate::following::Found;

/// A world that answered from a snapshot, heard of a deletion and an addition, and ended.
async fn stopped() -> World {
    let server = Server::with_rows(100);
    server.snapshot("a");
    let mut world = World::new(server);
    world.start().await;
    world.finds(1).await;
    world.server.delete(1);
    world.server.add(1000);
    world.says(1, Found::Unknown).await;
    world.finds(1000).await;
    world.settled().await;
    world.stop().await;
    world.server.inner(|inner| inner.shards_sent.clear());
    world
}

const HOUR: i64 = 3_600_000_000;

#[tokio::test]
async fn with_the_server_it_goes_on_where_it_was() {
    let mut world = stopped().await;
    world.server.delete(2);
    world.server.add(1001);
    world.start().await;
    world.finds(3).await;
    for number in [1, 2] {
        world.says(number, Found::Unknown).await;
    }
    world.finds(1000).await;
    world.finds(1001).await;
    // Others hear of what they missed, and of nothing else.
    eventually("it is heard", || world.memory.is_deleted(2)).await;
    assert!(!world.memory.is_deleted(1));
    assert_eq!(world.memory.all_gone(), 0);
    assert!(world.server.inner(|inner| inner.shards_sent.is_empty()));
}

#[tokio::test]
async fn without_it_the_snapshot_answers_less_what_was_deleted() {
    let mut world = stopped().await;
    for _ in 0..2 {
        // An offline start leaves everything as it was.
        world.server.inner(|inner| inner.is_up = false);
        world.clock.advance_micros(11 * HOUR);
        world.start().await;
        world.finds(3).await;
        assert_eq!(world.found(1), Found::Nothing);
        assert_eq!(world.found(1000), Found::Nothing);
        assert!(!world.followed().is_current());
        assert_eq!(
            world
                .followed()
                .shared
                .standing
                .epoch()
                .map(|epoch| epoch.epoch),
            Some(1)
        );
        assert_eq!(world.found_in(3, 3600), Found::Unihash(unihash(3)));
        assert_eq!(world.found_in(3, 14 * 3600), Found::Nothing);
        world.stop().await;
    }
    world.start().await;
    world.server.delete(3);
    world.server.inner(|inner| inner.is_up = true);
    world.says(3, Found::Unknown).await;
    world.finds(1000).await;
    assert!(world.server.inner(|inner| inner.shards_sent.is_empty()));
}

#[tokio::test]
async fn nothing_is_answered_from_what_is_too_old_or_of_a_wrong_clock() {
    for hours in [25, -2] {
        let mut world = stopped().await;
        world.server.inner(|inner| inner.is_up = false);
        world.clock.advance_micros(hours * HOUR);
        world.start().await;
        let trouble = || world.followed().status().trouble;
        eventually("it was asked", || trouble().is_some()).await;
        assert_eq!(world.found(3), Found::Nothing);
        world.server.inner(|inner| inner.is_up = true);
        world.finds(3).await;
        world.says(1, Found::Unknown).await;
    }
}

#[tokio::test]
async fn with_a_log_that_is_lost_a_start_needs_the_server() {
    let lose: fn(&Path) = |log| fs::remove_file(log).unwrap();
    let cut: fn(&Path) = |log| {
        let text = fs::read_to_string(log).unwrap();
        let head = text.lines().next().unwrap();
        fs::write(log, format!("{head}\n")).unwrap();
    };
    for damage in [lose, cut] {
        needs_the_server_after(damage).await;
    }
}

async fn needs_the_server_after(damage: fn(&Path)) {
    let mut world = stopped().await;
    damage(&world.place().file("deleted.ndjson"));
    world.server.inner(|inner| inner.is_up = false);
    world.start().await;
    let trouble = || world.followed().status().trouble;
    eventually("it was asked", || trouble().is_some()).await;
    assert_eq!(world.found(3), Found::Nothing);
    world.server.inner(|inner| inner.is_up = true);
    world.finds(3).await;
}
