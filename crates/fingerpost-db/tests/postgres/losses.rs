//! Connections and servers that are lost in the middle.

use std::sync::atomic::{AtomicU32, Ordering};

use fingerpost_db::postgres::Job;
use fingerpost_testkit::Relay;

use super::*;

/// A world whose database is reached through a relay that can cut.
struct Far {
    world: World,
    relay: Relay,
    db: Postgres,
}

impl Far {
    async fn new() -> Self {
        let world = World::new().await;
        let relay = Relay::start(world.cluster.port()).await.unwrap();
        let url = format!("postgresql://postgres@{}/test_1", relay.host_and_port());
        let db = open(&url).await;
        Self { world, relay, db }
    }

    /// Cuts every connection; new ones are made at once.
    async fn cut(&mut self) {
        self.relay.lose().await;
        self.relay.go_on().await.unwrap();
    }

    /// Makes commits that insert take this long.
    fn slow_commits(&self, seconds: f64) {
        self.world.sql(&format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON item
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()"
        ));
    }

    /// Waits until the server works on a statement like this.
    async fn at_work(&self, statement: &str) {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fingerpost'
             AND state = 'active' AND query LIKE '{statement}'"
        );
        eventually("the statement runs", async || self.world.sql(&sql) != "0").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_cut_is_run_again() {
    let mut far = Far::new().await;
    let (db, runs) = (far.db.clone(), AtomicU32::new(0));
    let reading = tokio::spawn(async move {
        let outcome = db
            .read("slow", |session| {
                let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
                async move {
                    let seconds = if first { 2.0 } else { 0.0 };
                    let row = session
                        .query_one("SELECT 7, pg_sleep($1)", &[&seconds])
                        .await?;
                    Ok(row.get::<_, i32>(0))
                }
            })
            .await;
        (outcome, runs.into_inner())
    });
    far.at_work("SELECT 7%").await;
    far.cut().await;
    let (outcome, runs) = reading.await.unwrap();
    assert_eq!((outcome.unwrap(), runs), (7, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_cut_before_its_commit_is_run_again() {
    let mut far = Far::new().await;
    let (db, runs) = (far.db.clone(), AtomicU32::new(0));
    let (here, reached) = tokio::sync::mpsc::channel(1);
    let mut reached = reached;
    let (go, going) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn(async move {
        let outcome = db
            .transaction("insert", |tx| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                let (here, mut going) = (here.clone(), going.clone());
                async move {
                    let sql = "INSERT INTO item VALUES (1, $1)";
                    tx.execute(sql, &[&format!("run {run}")]).await?;
                    let _ = here.send(()).await;
                    let _ = going.wait_for(|&going| going).await;
                    // Later it would be the commit that was cut.
                    tx.query("SELECT 1", &[]).await
                }
            })
            .await;
        (outcome, runs.into_inner())
    });
    reached.recv().await.unwrap();
    far.cut().await;
    go.send_replace(true);
    drop(reached);
    let (outcome, runs) = writing.await.unwrap();
    outcome.unwrap();
    assert_eq!(runs, 2);
    assert_eq!(far.world.sql("SELECT name FROM item"), "run 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_cut_has_an_unknown_outcome() {
    let mut far = Far::new().await;
    far.slow_commits(1.0);
    let db = far.db.clone();
    let writing = tokio::spawn(async move { insert(&db, 1).await });
    far.at_work("%COMMIT").await;
    far.cut().await;
    let outcome = writing.await.unwrap();
    let is_unknown = matches!(outcome, Err(PostgresError::UnknownOutcome(_)));
    assert!(is_unknown, "{outcome:?}");
    // Here the server never heard of it.
    eventually("it is stored", async || {
        far.world.sql("SELECT count(*) FROM item") == "1"
    })
    .await;
    let jobs = far.db.metrics().jobs();
    assert_eq!(jobs[0].1.unknown_outcomes.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_job_is_run_again_after_a_commit_that_was_cut() {
    let mut far = Far::new().await;
    far.slow_commits(0.5);
    let db = far.db.clone();
    let writing = tokio::spawn(async move {
        db.transaction(Job::new("once").idempotent(), |tx| async move {
            let sql = "INSERT INTO item VALUES (1, 'a') ON CONFLICT (id) DO NOTHING";
            tx.execute(sql, &[]).await
        })
        .await
    });
    far.at_work("%COMMIT").await;
    far.cut().await;
    // The first run's commit was stored, so that the second one found the row.
    assert_eq!(writing.await.unwrap().unwrap(), 0);
    assert_eq!(far.world.sql("SELECT count(*) FROM item"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_server_ends_is_unknown_and_not_stored() {
    let far = Far::new().await;
    far.slow_commits(5.0);
    let db = far.db.clone();
    let writing = tokio::spawn(async move { insert(&db, 1).await });
    far.at_work("%COMMIT").await;
    far.world.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'fingerpost' AND query LIKE '%COMMIT'",
    );
    let outcome = writing.await.unwrap();
    let is_unknown = matches!(outcome, Err(PostgresError::UnknownOutcome(_)));
    assert!(is_unknown, "{outcome:?}");
    assert_eq!(count_items(&far.db).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_found_again_when_it_is_back() {
    let cluster = PostgresCluster::start().unwrap();
    let url = cluster.fresh_database().unwrap();
    let mut patient = settings(&url);
    patient.acquire_timeout = SOON;
    let db = Postgres::open(patient, MIGRATIONS).await.unwrap();
    let mut world = World { cluster, url, db };
    for id in 0..10 {
        insert(&world.db, id).await.unwrap();
    }
    world.cluster.kill().unwrap();
    // Both are asked while nobody is there.
    let (reader, writer) = (world.db.clone(), world.db.clone());
    let reading = tokio::spawn(async move { count_items(&reader).await });
    let writing = tokio::spawn(async move { insert(&writer, 10).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.cluster.restart().unwrap();
    assert!(reading.await.unwrap().unwrap() >= 10);
    writing.await.unwrap().unwrap();
    assert_eq!(count_items(&world.db).await.unwrap(), 11);
    let retries = |name| {
        let jobs = world.db.metrics().jobs();
        let (_, found) = jobs.into_iter().find(|(known, _)| *known == name).unwrap();
        found.connection_retries.load(Ordering::Relaxed)
    };
    assert!(retries("insert") > 0 && retries("count") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_is_given_up() {
    let mut world = World::new().await;
    let mut settings = settings(&world.url);
    settings.acquire_timeout = Duration::from_millis(500);
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    world.cluster.stop().unwrap();
    let started = Instant::now();
    let outcome = insert(&db, 1).await;
    assert!(outcome.is_err_and(|error| error.is_storage()));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_serves_reads_and_takes_writes_when_it_is_promoted() {
    let mut world = World::new().await;
    insert(&world.db, 1).await.unwrap();
    world.cluster.be_replica().unwrap();
    let replica = open(&world.url).await;
    assert!(replica.is_replica());
    assert_eq!(count_items(&replica).await.unwrap(), 1);
    let refused = insert(&replica, 2).await;
    assert!(
        matches!(refused, Err(PostgresError::ReadOnly)),
        "{refused:?}"
    );

    // Who knew it as a primary waits for it to be one again.
    let db = world.db.clone();
    let writing = tokio::spawn(async move { insert(&db, 3).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.cluster.promote().unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(count_items(&world.db).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let world = World::new().await;
    let mut hasty = settings(&world.url);
    hasty.statement_timeout = Duration::from_millis(100);
    hasty.connect_timeout = Duration::from_millis(300);
    hasty.acquire_timeout = Duration::from_millis(300);
    let db = Postgres::open(hasty, MIGRATIONS).await.unwrap();
    insert(&db, 1).await.unwrap();
    world.cluster.hang().unwrap();
    let started = Instant::now();
    let (read, written) = tokio::join!(count_items(&db), insert(&db, 2));
    assert!(matches!(read, Err(PostgresError::NoAnswer)), "{read:?}");
    assert!(
        matches!(written, Err(PostgresError::NoAnswer)),
        "{written:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    world.cluster.go_on().unwrap();
    insert(&db, 2).await.unwrap();
    assert_eq!(count_items(&db).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_stays_when_the_job_cannot_be_run_again() {
    let mut far = Far::new().await;
    far.slow_commits(0.5);
    let mut settings = far.db.settings().clone();
    settings.acquire_timeout = Duration::from_millis(300);
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    let writing = tokio::spawn(async move {
        db.transaction(Job::new("once").idempotent(), |tx| async move {
            tx.execute("INSERT INTO item VALUES (1, 'a')", &[]).await
        })
        .await
    });
    far.at_work("%COMMIT").await;
    far.relay.lose().await;
    let outcome = writing.await.unwrap();
    let is_unknown = matches!(outcome, Err(PostgresError::UnknownOutcome(_)));
    assert!(is_unknown, "{outcome:?}");
}
