//! Pollers.

use tokio::sync::mpsc;

use super::*;

const EVERY: Duration = Duration::from_millis(20);

#[tokio::test]
async fn what_others_commit_is_noticed() {
    let world = World::new().await;
    let (sender, mut seen) = mpsc::channel(1000);
    let poller = world.db.poll(EVERY, move |session| {
        let sender = sender.clone();
        async move {
            let row = session.query_one("SELECT count(*) FROM item", &[]).await?;
            let _ = sender.try_send(row.get::<_, i64>(0));
            Ok(())
        }
    });
    insert(&world.db, 1).await.unwrap();
    while seen.recv().await.unwrap() != 1 {}
    assert!(poller.last_poll_age() < SOON);
    assert!(world.db.last_poll_age().is_some_and(|age| age < SOON));
    // The closure, and with it the sender, goes with the task.
    drop(poller);
    while seen.recv().await.is_some() {}
}

#[tokio::test]
async fn a_failed_poll_does_not_count_and_a_closed_database_is_not_asked() {
    let world = World::new().await;
    let (sender, mut asked) = mpsc::channel(1000);
    let poller = world.db.poll(EVERY, move |session| {
        let _ = sender.try_send(());
        async move { session.batch("SELECT * FROM nowhere").await }
    });
    for _ in 0..3 {
        asked.recv().await.unwrap();
    }
    assert_eq!(poller.last_poll_age(), Duration::MAX);
    assert_eq!(world.db.last_poll_age(), None);
    world.db.close();
    while asked.recv().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_finds_a_server_that_was_away() {
    let mut world = World::new().await;
    let poller = world.db.poll(
        EVERY,
        |session| async move { session.batch("SELECT 1").await },
    );
    let is_young = async || poller.last_poll_age() < Duration::from_millis(300);
    eventually("it polls", is_young).await;
    world.cluster.kill().unwrap();
    eventually("it grows old", async || !is_young().await).await;
    world.cluster.restart().unwrap();
    eventually("it polls again", is_young).await;
}
