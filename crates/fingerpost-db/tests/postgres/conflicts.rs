//! Transactions that are in each other's way.

use std::sync::atomic::{AtomicU32, Ordering};

use fingerpost_db::postgres::{Isolation, Job};

use super::*;

/// Reads the sum and adds to one of the two rows, as only serialized transactions may.
async fn add(db: &Postgres, to: i64) -> Result<(), PostgresError> {
    let job = Job::new("add").isolated(Isolation::Serializable);
    db.transaction(job, |tx| async move {
        let row = tx
            .query_one("SELECT sum(value)::int8 FROM total", &[])
            .await?;
        let sum: i64 = row.get(0);
        let sql = "UPDATE total SET value = value + 1, note = note || $2 WHERE id = $1";
        tx.execute(sql, &[&to, &vec![sum]]).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable_transactions_run_until_they_are_done() {
    const TASKS: i64 = 8;
    const EACH: i64 = 12;
    let world = World::new().await;
    world.sql("ALTER TABLE total ADD COLUMN note int8[] NOT NULL DEFAULT '{}'");
    let mut settings = settings(&world.url);
    settings.attempts_max = 1000;
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    add(&db, 1 + task % 2).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // Each saw another sum: as if they had run one after the other.
    let seen =
        "SELECT count(DISTINCT note), max(note) FROM (SELECT unnest(note) AS note FROM total) x";
    assert_eq!(
        world.sql(seen),
        format!("{}|{}", TASKS * EACH, TASKS * EACH - 1)
    );
    let (_, metrics) = db.metrics().jobs().swap_remove(0);
    assert_eq!(metrics.done.load(Ordering::Relaxed), (TASKS * EACH) as u64);
    assert!(metrics.conflict_retries.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_deadlock_is_resolved() {
    let world = World::new().await;
    world.sql("ALTER SYSTEM SET deadlock_timeout = '50ms'");
    world.sql("SELECT pg_reload_conf()");
    let db = &world.db;
    let both = tokio::sync::Barrier::new(2);
    let tries = AtomicU32::new(0);
    let (both, tries) = (&both, &tries);
    let add = |first: i64, second: i64| {
        db.transaction("add", move |tx| async move {
            let sql = "UPDATE total SET value = value + 1 WHERE id = $1";
            tx.execute(sql, &[&first]).await?;
            if tries.fetch_add(1, Ordering::SeqCst) < 2 {
                both.wait().await;
            }
            tx.execute(sql, &[&second]).await
        })
    };
    let (one, other) = tokio::join!(add(1, 2), add(2, 1));
    one.and(other).unwrap();
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert_eq!(world.sql("SELECT min(value), max(value) FROM total"), "2|2");
}

#[tokio::test]
async fn what_conflicts_each_time_fails_in_the_end() {
    let world = World::new().await;
    let mut settings = settings(&world.url);
    settings.attempts_max = 3;
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    let tries = AtomicU32::new(0);
    let outcome = db
        .transaction("always", |tx| {
            tries.fetch_add(1, Ordering::SeqCst);
            async move {
                tx.batch("DO $$ BEGIN RAISE 'no' USING ERRCODE = '40001'; END $$")
                    .await
            }
        })
        .await;
    assert!(
        matches!(outcome, Err(PostgresError::Conflict(_))),
        "{outcome:?}"
    );
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_conflict_at_the_commit_is_tried_again() {
    let world = World::new().await;
    // Refuses the first two commits.
    world.sql(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('tries') < 3 THEN RAISE 'no' USING ERRCODE = '40001'; END IF;
           RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON item
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    insert(&world.db, 1).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM item"), "1");
    assert_eq!(world.sql("SELECT last_value FROM tries"), "3");
}
