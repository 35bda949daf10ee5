//! Reading and writing where nothing goes wrong but the job.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fingerpost_db::postgres::{Isolation, Job, Postgres, PostgresError, Value};

use super::*;

/// The same with statements that are prepared and with those that are not.
async fn with_both(check: impl AsyncFn(&Postgres)) {
    let cluster = PostgresCluster::start().unwrap();
    for statement_cache in [true, false] {
        let mut settings = settings(&cluster.fresh_database().unwrap());
        settings.statement_cache = statement_cache;
        check(&Postgres::open(settings, MIGRATIONS).await.unwrap()).await;
    }
}

#[tokio::test]
async fn what_is_written_is_read() {
    with_both(async |db| {
        let data = &[0_u8, 255, 7][..];
        let changed = db
            .transaction("write", |tx| async move {
                let sql = "INSERT INTO item SELECT id, 'item ' || id, $2 FROM unnest($1) AS id";
                tx.execute(sql, &[&vec![1_i64, 2], &data]).await
            })
            .await;
        assert_eq!(changed.unwrap(), 2);
        let found: Vec<(i64, String, Vec<u8>)> = db
            .read("read", |session| async move {
                let names = ["item 2", "item 1", "item 3"];
                let sql = "SELECT id, name, data FROM item WHERE name = ANY ($1) ORDER BY id";
                let rows = session.query(sql, &[&&names[..]]).await?;
                let cells = rows.iter();
                Ok(cells
                    .map(|row| (row.get(0), row.get(1), row.get(2)))
                    .collect())
            })
            .await
            .unwrap();
        assert_eq!(found[1], (2, "item 2".to_owned(), data.to_vec()));
        assert_eq!(found.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn values_of_each_type_come_back() {
    with_both(async |db| {
        let row = db
            .read("types", |session| async move {
                let values: &[&dyn Value] = &[
                    &true,
                    &-3_i32,
                    &None::<i64>,
                    &1.5_f64,
                    &Some("a".to_owned()),
                    &vec![vec![1_u8], vec![]],
                ];
                session
                    .query_one("SELECT $1, $2, $3, $4, $5, $6", values)
                    .await
            })
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0));
        assert_eq!(row.get::<_, i32>(1), -3);
        assert_eq!(row.get::<_, Option<i64>>(2), None);
        assert_eq!(row.get::<_, f64>(3), 1.5);
        assert_eq!(row.get::<_, String>(4), "a");
        assert_eq!(row.get::<_, Vec<Vec<u8>>>(5), [vec![1], vec![]]);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_fails_stores_nothing() {
    with_both(async |db| {
        insert(db, 1).await.unwrap();
        let twice = db
            .transaction("twice", |tx| async move {
                tx.execute("INSERT INTO item VALUES (2, 'b')", &[]).await?;
                tx.execute("INSERT INTO item VALUES (1, 'a')", &[]).await
            })
            .await;
        assert_eq!(twice.unwrap_err().code(), Some("23505"));
        // One that hides the error fails all the same.
        let hidden = db
            .transaction("hidden", |tx| async move {
                let failed = tx.execute("INSERT INTO item VALUES (1, 'a')", &[]).await;
                assert!(failed.is_err());
                Ok(())
            })
            .await;
        assert!(
            matches!(hidden, Err(PostgresError::TransactionLost)),
            "{hidden:?}"
        );
        assert_eq!(count_items(db).await.unwrap(), 1);
        assert_eq!(db.pool_state().in_use, 0);
        let jobs = db.metrics().jobs();
        let (_, twice) = jobs.iter().find(|(name, _)| *name == "twice").unwrap();
        assert_eq!(twice.failures.load(Ordering::Relaxed), 1);
        assert_eq!(twice.micros.counts().count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_does_not_see_later_commits() {
    with_both(async |db| {
        let job = Job::new("snapshot").isolated(Isolation::Snapshot);
        let counts = db
            .read(job, |session| async move {
                let sql = "SELECT count(*) FROM item";
                let before: i64 = session.query_one(sql, &[]).await?.get(0);
                insert(db, 1).await?;
                let after: i64 = session.query_one(sql, &[]).await?.get(0);
                Ok((before, after))
            })
            .await;
        assert_eq!(counts.unwrap(), (0, 0));
        assert_eq!(count_items(db).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_read_cannot_write_in_a_snapshot() {
    with_both(async |db| {
        let job = Job::new("snapshot").isolated(Isolation::Snapshot);
        let outcome = db
            .read(job, |session| async move {
                session.execute("DELETE FROM item", &[]).await
            })
            .await;
        assert!(
            matches!(outcome, Err(PostgresError::ReadOnly)),
            "{outcome:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn statements_and_jobs_end_in_time() {
    let cluster = PostgresCluster::start().unwrap();
    for statement_cache in [true, false] {
        let mut settings = settings(&cluster.fresh_database().unwrap());
        settings.statement_cache = statement_cache;
        settings.statement_timeout = Duration::from_millis(200);
        settings.deadline = Duration::from_secs(1);
        let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
        let started = Instant::now();
        let slow = db
            .read("slow", |session| async move {
                session.query("SELECT pg_sleep(30)", &[]).await
            })
            .await;
        assert!(matches!(slow, Err(PostgresError::Timeout)), "{slow:?}");
        let endless = db
            .transaction("endless", |tx| async move {
                loop {
                    tx.query("SELECT pg_sleep(0.01)", &[]).await?;
                }
                #[expect(unreachable_code, reason = "it says what the job gives")]
                Ok(())
            })
            .await;
        assert!(
            matches!(endless, Err(PostgresError::Timeout)),
            "{endless:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(count_items(&db).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn who_finds_no_connection_in_time_is_told_that_it_is_busy() {
    let cluster = PostgresCluster::start().unwrap();
    let mut settings = settings(&cluster.fresh_database().unwrap());
    settings.connections_max = 1;
    settings.acquire_timeout = Duration::from_millis(100);
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    db.read("holder", |_session| async {
        assert_eq!(db.pool_state().in_use, 1);
        let outcome = count_items(&db).await;
        assert!(matches!(outcome, Err(PostgresError::Busy)), "{outcome:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(count_items(&db).await.unwrap(), 0);
    db.close();
    let closed = count_items(&db).await;
    assert!(matches!(closed, Err(PostgresError::Closed)), "{closed:?}");
}

#[tokio::test]
async fn a_transaction_whose_caller_leaves_is_rolled_back() {
    let world = World::new().await;
    let db = &world.db;
    let left = tokio::time::timeout(
        Duration::from_millis(300),
        db.transaction("left", |tx| async move {
            tx.execute("INSERT INTO item VALUES (1, 'a')", &[]).await?;
            std::future::pending().await
        }),
    );
    let left: Result<Result<(), _>, _> = left.await;
    assert!(left.is_err());
    insert(db, 1).await.unwrap();
    assert_eq!(world.sql("SELECT name FROM item"), "item 1");
}

#[tokio::test]
async fn a_session_that_outlives_its_job_is_of_no_use() {
    let world = World::new().await;
    let session = world.db.read("leak", |session| async { Ok(session) });
    let session = session.await.unwrap();
    let outcome = session.query("SELECT 1", &[]).await;
    assert!(matches!(outcome, Err(PostgresError::TransactionLost)));
}

#[tokio::test]
async fn statements_that_are_sent_at_once_are_answered_in_their_order() {
    with_both(async |db| {
        let numbers = db
            .transaction("at once", |tx| async move {
                let next = |id: i64| {
                    let tx = &tx;
                    async move {
                        let sql = "INSERT INTO item VALUES ($1, $1::text) RETURNING id";
                        tx.query_one(sql, &[&id]).await
                    }
                };
                let (a, b, c) = tokio::try_join!(next(1), next(2), next(3))?;
                Ok([a, b, c].map(|row| row.get::<_, i64>(0)))
            })
            .await;
        assert_eq!(numbers.unwrap(), [1, 2, 3]);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_panics_stores_nothing_and_keeps_no_connection() {
    let world = World::new().await;
    let db = world.db.clone();
    let job = tokio::spawn(async move {
        db.transaction("panic", |tx| async move {
            tx.execute("INSERT INTO item VALUES (1, 'a')", &[]).await?;
            assert!(tx.query("SELECT 1", &[]).await?.is_empty(), "on purpose");
            Ok(())
        })
        .await
    });
    assert!(job.await.is_err());
    assert_eq!(world.db.pool_state().in_use, 0);
    assert_eq!(count_items(&world.db).await.unwrap(), 0);
}

#[tokio::test]
async fn a_statement_that_was_prepared_before_a_migration_is_prepared_anew() {
    let world = World::new().await;
    insert(&world.db, 1).await.unwrap();
    let columns = async || {
        let found = world.db.transaction("all", |tx| async move {
            let row = tx.query_one("SELECT * FROM item", &[]).await?;
            Ok(row.len())
        });
        found.await.unwrap()
    };
    assert_eq!(columns().await, 3);
    world.sql("ALTER TABLE item ADD COLUMN size int8");
    assert_eq!(columns().await, 4);
}
