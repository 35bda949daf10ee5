//! What retention asks of this store, as jobs of its database.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fingerpost_core::Timestamp;

use super::{SqliteStore, failed, leases, retained};
use crate::changes::ChoreLease;
use crate::retention::{
    Expired, Kind, Labels, RetainedPage, RetainedRow, RetentionStore, RunRecord,
};
use crate::store::Stored;
use crate::uses::Uses;

/// Uses that one transaction writes at most.
const USES_ROWS: usize = 500;

impl RetentionStore for SqliteStore {
    fn labels(&self) -> Stored<'_, Labels> {
        let served = Arc::clone(&self.epoch);
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| retained::labels(conn, &served);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn retained(&self, kind: Kind, after: i64, limit: usize) -> Stored<'_, RetainedPage> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| retained::page(conn, kind, after, limit);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn expire(
        &self,
        kind: Kind,
        rows: Vec<RetainedRow>,
        lease: ChoreLease,
        now: Timestamp,
    ) -> Stored<'_, Expired> {
        let (epoch, holder) = (Arc::clone(&self.epoch), leases::process(self));
        Box::pin(async move {
            let job = move |tx: &mut fingerpost_db::Tx<'_>| match leases::hold_within(
                tx, lease, &holder, now,
            )? {
                true => retained::expire(tx, kind, &rows, &epoch),
                false => Ok(Expired::NotOurs),
            };
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn give_back(&self) -> Stored<'_, u64> {
        Box::pin(async { leases::give_back(&self.db).await.map_err(failed) })
    }

    fn waiting_jobs(&self) -> u64 {
        let metrics = self.db.metrics();
        let waiting = [&metrics.write_queue_depth, &metrics.read_queue_depth];
        waiting
            .iter()
            .map(|depth| depth.load(Ordering::Relaxed))
            .sum()
    }

    fn put_run(&self, run: RunRecord) -> Stored<'_, ()> {
        Box::pin(async move {
            let job = move |tx: &mut fingerpost_db::Tx<'_>| retained::put_run(tx.conn(), &run);
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn runs(&self, limit: usize) -> Stored<'_, Vec<RunRecord>> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| retained::runs(conn, limit);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn end_runs(&self, now: Timestamp) -> Stored<'_, ()> {
        Box::pin(async move {
            let job = move |tx: &mut fingerpost_db::Tx<'_>| retained::end_runs(tx.conn(), now);
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn uses(&self) -> &Uses {
        &self.uses
    }

    fn store_uses(&self, now: Timestamp) -> Stored<'_, u64> {
        Box::pin(async move {
            let tasks = self.uses.take();
            for some in tasks.chunks(USES_ROWS) {
                let (some, day) = (some.to_vec(), now.day());
                let job = move |tx: &mut fingerpost_db::Tx<'_>| {
                    retained::note_uses(tx.conn(), &some, day)
                };
                self.db.write_background(job).await.map_err(failed)?;
            }
            Ok(tasks.len() as u64)
        })
    }
}
