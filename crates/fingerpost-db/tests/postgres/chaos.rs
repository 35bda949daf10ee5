//! Writers whose connections are cut and whose server is killed, and what the
//! database has of what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fingerpost_testkit::Relay;

use super::*;

const WRITERS: i64 = 4;
const CUTS: u32 = 12;
const BETWEEN_CUTS: Duration = Duration::from_millis(60);
/// Between two cuts at least so many are written.
const WRITTEN: u64 = 5;

type Told = Vec<(i64, Result<u64, PostgresError>)>;

/// Writes one row after the other until it is stopped.
async fn write(db: Postgres, writer: i64, stop: Arc<AtomicBool>) -> Told {
    let mut told = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = writer * 1_000_000 + number;
        let outcome = db.transaction("write", |tx| async move {
            tx.execute("INSERT INTO log VALUES ($1)", &[&id]).await
        });
        told.push((id, outcome.await));
    }
    told
}

fn written(db: &Postgres) -> u64 {
    let jobs = db.metrics().jobs().into_iter();
    jobs.map(|(_, job)| job.done.load(Ordering::Relaxed)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_stored_once_and_what_was_refused_is_not() {
    // A kill takes nothing from the system's memory, so the fast one will do.
    let mut cluster = PostgresCluster::start().unwrap();
    let url = cluster.fresh_database().unwrap();
    // No row is refused because it is there already.
    cluster.sql("test_1", "CREATE TABLE log (id int8)").unwrap();
    open(&url).await;
    let mut relay = Relay::start(cluster.port()).await.unwrap();
    let far = format!("postgresql://postgres@{}/test_1", relay.host_and_port());
    let mut patient = settings(&far);
    patient.acquire_timeout = SOON;
    let db = Postgres::open(patient, MIGRATIONS).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(db.clone(), writer, Arc::clone(&stop))))
        .collect();
    for cut in 0..CUTS {
        tokio::time::sleep(BETWEEN_CUTS).await;
        let wanted = WRITTEN * u64::from(cut + 1);
        eventually("rows are written", async || written(&db) >= wanted).await;
        if cut == CUTS / 2 {
            cluster.kill().unwrap();
            cluster.restart().unwrap();
        } else {
            relay.lose().await;
            relay.go_on().await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for writer in writers {
        told.extend(writer.await.unwrap());
    }

    let mut stored = BTreeMap::new();
    for id in cluster.sql("test_1", "SELECT id FROM log").unwrap().lines() {
        *stored.entry(id.parse::<i64>().unwrap()).or_insert(0) += 1;
    }
    for (id, outcome) in &told {
        let times = stored.remove(id).unwrap_or(0);
        match outcome {
            Ok(_) => assert_eq!(times, 1, "{id} was answered"),
            Err(PostgresError::UnknownOutcome(_)) => assert!(times <= 1, "{id}"),
            Err(error) => assert_eq!(times, 0, "{id}: {error:?}"),
        }
    }
    assert!(stored.is_empty(), "nobody wrote {stored:?}");
}
