//! Behind PgBouncer in transaction mode, without statements that are prepared.

use std::sync::atomic::Ordering;

use fingerpost_db::postgres::try_lease;
use fingerpost_testkit::PgBouncer;

use super::*;

/// A world that is reached through a pooler with two connections, and how.
async fn pooled() -> (World, PgBouncer, PostgresSettings) {
    let world = World::new().await;
    let pooler = PgBouncer::start(&world.cluster, 2).unwrap();
    let mut settings = settings(&pooler.url("test_1"));
    settings.statement_cache = false;
    (world, pooler, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_share_few_connections() {
    let (world, _pooler, settings) = pooled().await;
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    let tasks: Vec<_> = (0..10)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                for each in 0..10 {
                    insert(&db, task * 10 + each).await.unwrap();
                    assert!(count_items(&db).await.unwrap() > each);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let leased = db
        .transaction("lease", |tx| async move {
            try_lease(&tx, "gc", "a", 1000).await
        })
        .await;
    assert!(leased.unwrap());
    assert_eq!(world.sql("SELECT count(*) FROM item"), "100");
    for (name, job) in db.metrics().jobs() {
        assert_eq!(job.connection_retries.load(Ordering::Relaxed), 0, "{name}");
    }
    let prepared = db.read("prepared", |session| async move {
        let sql = "SELECT count(*) FROM pg_prepared_statements";
        session.query_one(sql, &[]).await
    });
    assert_eq!(prepared.await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_schema_is_made_through_it() {
    let (world, pooler, _) = pooled().await;
    world.cluster.fresh_database().unwrap();
    let mut settings = settings(&pooler.url("test_2"));
    settings.statement_cache = false;
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    insert(&db, 1).await.unwrap();
    assert_eq!(count_items(&db).await.unwrap(), 1);
}

#[tokio::test]
async fn limits_hold_and_leave_nothing_behind() {
    let (_world, _pooler, mut settings) = pooled().await;
    let unlimited = Postgres::open(settings.clone(), MIGRATIONS).await.unwrap();
    settings.statement_timeout = Duration::from_millis(200);
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    for _ in 0..4 {
        let slow = db
            .read("slow", |session| async move {
                session.query("SELECT pg_sleep(30)", &[]).await
            })
            .await;
        assert!(matches!(slow, Err(PostgresError::Timeout)), "{slow:?}");
        unlimited
            .read("slow", |session| async move {
                session.query("SELECT pg_sleep(0.3)", &[]).await
            })
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_it_that_was_away_is_found_again() {
    let (mut world, _pooler, mut settings) = pooled().await;
    settings.acquire_timeout = SOON;
    settings.deadline = 2 * SOON;
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    insert(&db, 1).await.unwrap();
    world.cluster.kill().unwrap();
    let writer = db.clone();
    let writing = tokio::spawn(async move { insert(&writer, 2).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.cluster.restart().unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(count_items(&db).await.unwrap(), 2);
}
