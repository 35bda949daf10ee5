use super::server::Server;
use super::world::{World, eventually};
use crate::following::Found;

#[tokio::test]
async fn after_a_restore_everything_is_begun_anew() {
    let server = Server::with_rows(50);
    server.snapshot("a");
    let mut world = World::new(server);
    world.start().await;
    world.finds(1).await;
    world.settled().await;
    let before = world.memory.all_gone();
    world.server.restore();
    world.says(1, Found::Nothing).await;
    eventually("all is gone", || world.memory.all_gone() > before).await;
    let history = || world.memory.epoch.lock().map(|epoch| epoch.history[0]);
    eventually("the other history", || history() == Some(2)).await;
    world.server.delete(2);
    eventually("it is heard", || world.memory.is_deleted(2)).await;
    world.server.snapshot("a");
    world.finds(1).await;
    world.says(2, Found::Unknown).await;
}

#[tokio::test]
async fn another_history_alone_is_enough() {
    let server = Server::with_rows(50);
    let mut world = World::new(server);
    world.options.snapshots = false;
    world.start().await;
    world.settled().await;
    let before = world.memory.all_gone();
    world.server.inner(|inner| inner.history = [9; 16]);
    eventually("all is gone", || world.memory.all_gone() > before).await;
    let epoch = || {
        world
            .followed()
            .shared
            .standing
            .epoch()
            .map(|epoch| epoch.history)
    };
    eventually("the other history", || epoch() == Some([9; 16])).await;
    assert!(world.followed().is_current());
}

#[tokio::test]
async fn changes_that_are_gone_end_what_was_built_on_them() {
    let server = Server::with_rows(50);
    server.snapshot("a");
    let mut world = World::new(server);
    world.start().await;
    world.finds(1).await;
    world.settled().await;
    world.stop().await;
    world.server.delete(1);
    world.server.inner(|inner| inner.floor = inner.position);
    world.start().await;
    eventually("all is gone", || world.memory.all_gone() > 0).await;
    eventually("it is current", || world.followed().is_current()).await;
    assert_eq!(world.found(1), Found::Nothing);
    assert_eq!(world.found(2), Found::Nothing);
    // The one that the server still has is as old.
    let sent = || world.server.inner(|inner| inner.shards_sent.len());
    let before = sent();
    world.server.snapshot("b");
    world.finds(2).await;
    world.says(1, Found::Unknown).await;
    assert_eq!(sent() - before, 1);
    assert_eq!(world.snapshot().as_deref(), Some("b"));
}

#[tokio::test]
async fn another_namespace_is_not_followed() {
    let server = Server::with_rows(50);
    server.snapshot("a");
    let mut world = World::new(server);
    world.options.namespace = Some("other".to_owned());
    world.start().await;
    let trouble = || world.followed().status().trouble;
    eventually("the trouble is told", || trouble().is_some()).await;
    assert!(trouble().unwrap().contains("of main, and not of other"));
    assert_eq!(world.found(1), Found::Nothing);
    assert!(world.server.inner(|inner| inner.shards_sent.is_empty()));
}
