//! Collections: marking rows, and sweeping those without a mark.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Isolation, Job, PostgresError, Session, Value, release_lease};

use super::collect::{BATCH_ROWS, to_the_end};
use super::deleting::{Deleted, Deletion};
use super::finding::Search;
use super::leases::hold_within;
use super::methods::column;
use super::value::text;
use super::{PostgresStore, Shared, failed};
use crate::batches::{SWEEP_LEASE, Step, in_batches};
use crate::namespace::NamespaceId;
use crate::progress;
use crate::query::{Column, Conditions, GcStatus};
use crate::store::StoreError;

/// Starts or goes on with a collection and marks rows.
pub(super) async fn mark(
    store: &PostgresStore,
    at: NamespaceId,
    mark: String,
    conditions: Conditions,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let shared = &store.shared;
    let search = shared.mappings_with(at, &conditions.on_unihashes()).await?;
    let marking = Arc::new(Marking {
        at,
        mark,
        search,
        // A row that has another mark by now would not be counted again.
        is_idempotent: conditions.get(Column::GcMark).is_none(),
        now,
    });
    let batch = |after| {
        let (shared, marking) = (Arc::clone(shared), Arc::clone(&marking));
        to_the_end(async move { marking.batch(&shared, after).await })
    };
    in_batches(&store.progress, (at, progress::Job::Mark), 0, batch).await
}

/// What `gc-mark` does.
struct Marking {
    at: NamespaceId,
    mark: String,
    search: Option<Search>,
    is_idempotent: bool,
    now: Timestamp,
}

impl Marking {
    async fn batch(&self, shared: &Shared, after: i64) -> Result<Step<i64>, PostgresError> {
        let job = Job::new("gc_mark");
        let job = match self.is_idempotent {
            true => job.idempotent(),
            false => job,
        };
        let work = |tx: Session| async move { self.mark_some(&tx, after).await };
        shared.db.transaction(job, work).await
    }

    async fn mark_some(&self, tx: &Session, after: i64) -> Result<Step<i64>, PostgresError> {
        const MARK: &str = "UPDATE mapping SET collection = $2
             WHERE namespace = $1 AND sequence = ANY($3) AND collection <> $2";
        let collection = self.begin_collection(tx).await?;
        let Some(search) = &self.search else {
            return Ok(Step::Rows(0, None));
        };
        let found = search.find(tx, after, BATCH_ROWS).await?;
        if !found.rows.is_empty() {
            let values: &[&dyn Value] = &[&column(self.at.0), &collection, &found.numbers()];
            tx.execute(MARK, values).await?;
        }
        Ok(Step::Rows(found.rows.len() as u64, found.next))
    }

    /// The number of the running collection with this mark, which is started when another
    /// one, or none, is running. Under the lock of the namespace: reports copy it.
    async fn begin_collection(&self, tx: &Session) -> Result<i32, PostgresError> {
        const LOCK: &str = "SELECT collection FROM namespace WHERE id = $1 FOR UPDATE";
        const ADD: &str = "INSERT INTO collection (namespace, mark, started)
             VALUES ($1, $2, $3) RETURNING id";
        const START: &str = "UPDATE namespace SET collection = $2 WHERE id = $1";
        let (at, mark) = (column(self.at.0), self.mark.as_bytes());
        let running: Option<i32> = tx.query_one(LOCK, &[&at]).await?.get(0);
        if let Some(running) = running
            && mark_of(tx, running).await?.as_deref() == Some(mark)
        {
            return Ok(running);
        }
        let collection = match mark.is_empty() {
            true => 0,
            false => {
                let values: &[&dyn Value] = &[&at, &mark, &self.now.0];
                tx.query_one(ADD, values).await?.get(0)
            }
        };
        tx.execute(START, &[&at, &collection]).await?;
        Ok(collection)
    }
}

async fn mark_of(tx: &Session, collection: i32) -> Result<Option<Vec<u8>>, PostgresError> {
    let sql = "SELECT mark FROM collection WHERE id = $1";
    let row = tx.query_opt(sql, &[&collection]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Removes every unmarked row of the relation U, and ends the collection.
pub(super) async fn sweep(
    store: &PostgresStore,
    at: NamespaceId,
    mark: String,
) -> Result<u64, StoreError> {
    let sweep = Arc::new(Sweep {
        at,
        search: Search::unmarked(at, &mark),
        mark,
        holder: store.holder(),
    });
    let batch = |after| {
        let (shared, sweep) = (Arc::clone(&store.shared), Arc::clone(&sweep));
        to_the_end(async move { sweep.batch(&shared, after).await })
    };
    in_batches(&store.progress, (at, progress::Job::Sweep), 0, batch).await
}

/// What `gc-sweep` does.
struct Sweep {
    at: NamespaceId,
    search: Search,
    mark: String,
    holder: String,
}

impl Sweep {
    async fn batch(&self, shared: &Shared, after: i64) -> Result<Step<i64>, PostgresError> {
        let work = |tx: Session| async move {
            if !hold_within(&tx, SWEEP_LEASE, &self.holder).await? {
                return Ok((Step::Busy("another sweep"), Deleted::default()));
            }
            let (step, deleted) = self.delete_some(&tx, shared, after).await?;
            if !matches!(step, Step::Rows(_, Some(_))) {
                release_lease(&tx, SWEEP_LEASE.name, &self.holder).await?;
            }
            Ok((step, deleted))
        };
        shared.deleting("gc_sweep", self.at, work).await
    }

    async fn delete_some(
        &self,
        tx: &Session,
        shared: &Shared,
        after: i64,
    ) -> Result<(Step<i64>, Deleted), PostgresError> {
        const END: &str = "UPDATE namespace SET collection = NULL WHERE id = $1";
        let deletion = Deletion::begin(tx, &shared.epoch, self.at).await?;
        let running = match deletion.collection {
            Some(running) => mark_of(tx, running).await?,
            None => None,
        };
        if self.mark.is_empty() || running.as_deref() != Some(self.mark.as_bytes()) {
            return Ok((Step::WrongMark(self.mark.clone()), Deleted::default()));
        }
        let found = self.search.find(tx, after, BATCH_ROWS).await?;
        let deleted = deletion.delete(&found.numbers(), &[]).await?;
        if found.next.is_none() {
            tx.execute(END, &[&column(self.at.0)]).await?;
        }
        Ok((Step::Rows(deleted.rows(), found.next), deleted))
    }
}

/// Counts what a sweep would keep and remove.
pub(super) async fn status(store: &PostgresStore, at: NamespaceId) -> Result<GcStatus, StoreError> {
    const CURRENT: &str = "SELECT collection.mark FROM namespace
          JOIN collection ON collection.id = namespace.collection WHERE namespace.id = $1";
    const COUNT: &str = "
        SELECT count(*) FILTER (WHERE collection = ANY(ARRAY(
                   SELECT id FROM collection WHERE mark = $2))), count(*)
          FROM mapping WHERE namespace = $1";
    let at = column(at.0);
    let job = Job::new("gc_status").isolated(Isolation::Snapshot);
    let counted = store.shared.db.read(job, |session| async move {
        let current = session.query_opt(CURRENT, &[&at]).await?;
        let mark: Option<Vec<u8>> = current.map(|row| row.get(0));
        let values: &[&dyn Value] = &[&at, &mark.as_deref().unwrap_or_default()];
        let row = session.query_one(COUNT, values).await?;
        Ok((mark, row.get::<_, i64>(0), row.get::<_, i64>(1)))
    });
    let (mark, keep, all) = counted.await.map_err(failed)?;
    Ok(GcStatus {
        keep: keep.unsigned_abs(),
        remove: (all - keep).unsigned_abs(),
        mark: mark.as_deref().map(text).transpose()?,
    })
}
