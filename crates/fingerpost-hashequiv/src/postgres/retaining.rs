//! What retention asks of this store.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Job, Row, Session, Value};

use super::{PostgresStore, day, failed, place, retained};
use crate::changes::ChoreLease;
use crate::retention::{
    Expired, Kind, Labels, Outcome, RetainedPage, RetainedRow, RetentionStore, RunRecord,
};
use crate::store::{StoreError, Stored};
use crate::uses::Uses;

/// Uses that one transaction writes at most.
const USES_ROWS: usize = 2_000;
/// Runs that are remembered.
const RUNS: i64 = 100;

impl RetentionStore for PostgresStore {
    fn labels(&self) -> Stored<'_, Labels> {
        Box::pin(retained::labels(&self.shared))
    }

    fn retained(&self, kind: Kind, after: i64, limit: usize) -> Stored<'_, RetainedPage> {
        Box::pin(retained::page(&self.shared, kind, after, limit))
    }

    fn expire(
        &self,
        kind: Kind,
        rows: Vec<RetainedRow>,
        lease: ChoreLease,
        _now: Timestamp,
    ) -> Stored<'_, Expired> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            // Who leaves does not stop it: the cache is to hear of it.
            let work = async move { retained::expire(&shared, kind, &rows, lease).await };
            let done = tokio::spawn(work).await.map_err(StoreError::database)?;
            done.map_err(failed)
        })
    }

    fn give_back(&self) -> Stored<'_, u64> {
        // The server's own vacuum makes room for new rows.
        Box::pin(async { Ok(0) })
    }

    fn waiting_jobs(&self) -> u64 {
        let writers = self.writers.lock();
        let reports: usize = writers.values().map(|writer| writer.waiting()).sum();
        let connections = self.shared.db.pool_state().waiting;
        (self.lookups.waiting() + reports + connections) as u64
    }

    fn put_run(&self, run: RunRecord) -> Stored<'_, ()> {
        Box::pin(async move { self.keep_run(&run).await })
    }

    fn runs(&self, limit: usize) -> Stored<'_, Vec<RunRecord>> {
        Box::pin(self.last_runs(limit))
    }

    fn end_runs(&self, now: Timestamp) -> Stored<'_, ()> {
        Box::pin(async move {
            const SQL: &str =
                "UPDATE retention_run SET outcome = $1, ended = $2 WHERE outcome = $3";
            let job = Job::new("end_runs").idempotent();
            let ended = self.shared.db.transaction(job, |tx| async move {
                let (stopped, running) = (Outcome::Stopped.as_str(), Outcome::Running.as_str());
                let values: &[&dyn Value] = &[&stopped, &now.0, &running];
                tx.execute(SQL, values).await
            });
            ended.await.map(drop).map_err(failed)
        })
    }

    fn uses(&self) -> &Uses {
        &self.uses
    }

    fn store_uses(&self, now: Timestamp) -> Stored<'_, u64> {
        Box::pin(self.write_uses(now))
    }
}

impl PostgresStore {
    async fn keep_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        const PUT: &str = "
            INSERT INTO retention_run
                   (started, ended, outcome, rows, bytes, given_back_bytes, why)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (started) DO UPDATE
               SET ended = excluded.ended, outcome = excluded.outcome,
                   rows = excluded.rows, bytes = excluded.bytes,
                   given_back_bytes = excluded.given_back_bytes, why = excluded.why";
        const FORGET: &str = "
            DELETE FROM retention_run WHERE started <=
                (SELECT started FROM retention_run ORDER BY started DESC LIMIT 1 OFFSET $1)";
        let job = Job::new("put_run").idempotent();
        let kept = self.shared.db.transaction(job, |tx| async move {
            let values: &[&dyn Value] = &[
                &run.started.0,
                &run.ended.map(|ended| ended.0),
                &run.outcome.as_str(),
                &signed(run.rows),
                &signed(run.bytes),
                &signed(run.given_back_bytes),
                // A TEXT holds no NUL.
                &run.why.replace('\0', " "),
            ];
            tx.execute(PUT, values).await?;
            tx.execute(FORGET, &[&RUNS]).await
        });
        kept.await.map(drop).map_err(failed)
    }

    async fn last_runs(&self, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        const SQL: &str = "
            SELECT started, ended, outcome, rows, bytes, given_back_bytes, why
              FROM retention_run ORDER BY started DESC LIMIT $1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |session: Session| async move { session.query(SQL, &[&limit]).await };
        let rows = self.shared.db.read("runs", read).await.map_err(failed)?;
        let count = |row: &Row, place| row.get::<_, i64>(place).unsigned_abs();
        let run = |row: &Row| RunRecord {
            started: Timestamp(row.get(0)),
            ended: row.get::<_, Option<i64>>(1).map(Timestamp),
            outcome: Outcome::parse(row.get(2)),
            rows: count(row, 3),
            bytes: count(row, 4),
            given_back_bytes: count(row, 5),
            why: row.get(6),
        };
        Ok(rows.iter().map(run).collect())
    }

    /// Writes what waits. What could not be written waits again.
    async fn write_uses(&self, now: Timestamp) -> Result<u64, StoreError> {
        let places = self.uses.take();
        let mut left = &places[..];
        while let Some(first) = left.first() {
            let (at, _) = place::parts(*first);
            let own = |place: &&i64| place::parts(**place).0 == at;
            let some: Vec<i64> = left
                .iter()
                .take(USES_ROWS)
                .take_while(own)
                .map(|place| place::parts(*place).1)
                .collect();
            let noted = self.note_uses(at, &some, day(now)).await;
            if noted.is_err() {
                self.uses.note(left);
                noted?;
            }
            left = &left[some.len()..];
        }
        Ok(places.len() as u64)
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
