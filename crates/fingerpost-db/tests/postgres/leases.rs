//! Leases as rows.

use fingerpost_db::postgres::{release_lease, renew_lease, try_lease};

use super::*;

const HOUR_MS: u64 = 3_600_000;

async fn take(db: &Postgres, holder: &str, ttl_ms: u64) -> bool {
    db.transaction("lease", |tx| async move {
        try_lease(&tx, "gc", holder, ttl_ms).await
    })
    .await
    .unwrap()
}

async fn renew(db: &Postgres, holder: &str) -> bool {
    db.transaction("lease", |tx| async move {
        renew_lease(&tx, "gc", holder, HOUR_MS).await
    })
    .await
    .unwrap()
}

async fn release(db: &Postgres, holder: &str) {
    db.transaction("lease", |tx| async move {
        release_lease(&tx, "gc", holder).await
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_ends_or_is_given_back() {
    let world = World::new().await;
    let db = &world.db;
    assert!(take(db, "a", HOUR_MS).await);
    assert!(!take(db, "b", HOUR_MS).await);
    assert!(take(db, "a", HOUR_MS).await && renew(db, "a").await);
    assert!(!renew(db, "b").await);
    release(db, "b").await;
    assert!(!take(db, "b", HOUR_MS).await);
    release(db, "a").await;
    assert!(take(db, "b", 1).await);
    eventually("the lease ends", async || take(db, "a", HOUR_MS).await).await;
    assert!(!renew(db, "b").await);
}

#[tokio::test]
async fn a_clock_that_was_set_back_locks_nobody_out() {
    let world = World::new().await;
    assert!(take(&world.db, "a", HOUR_MS).await);
    world.sql("UPDATE lease SET until = until + interval '3 hours'");
    assert!(take(&world.db, "b", HOUR_MS).await);
    assert!(take(&world.db, "b", u64::MAX).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_want_it_at_once_one_has_it() {
    let world = World::new().await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let db = world.db.clone();
            tokio::spawn(async move { take(&db, &task.to_string(), HOUR_MS).await })
        })
        .collect();
    let mut holders = 0;
    for task in tasks {
        holders += u32::from(task.await.unwrap());
    }
    assert_eq!(holders, 1);
}
