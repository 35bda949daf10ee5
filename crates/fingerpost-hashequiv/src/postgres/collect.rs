//! Deleting and marking, in batches between which other writes go.
//!
//! Every batch looks at a bounded number of rows and changes a bounded number, in a
//! transaction of its own, and sees to it that caches forget what it deleted before the
//! next batch begins. A batch that was begun is ended, whether or not somebody waits.

use std::future::Future;
use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Isolation, Job, PostgresError, Session, Value, release_lease};

use super::deleting::{Deleted, Deletion};
use super::finding::Search;
use super::leases::hold_within;
use super::methods::column;
use super::value::{created, text};
use super::{PostgresStore, Shared, failed};
use crate::batches::{SWEEP_LEASE, Step, Walk, in_batches};
use crate::namespace::NamespaceId;
use crate::progress;
use crate::query::{Column, Conditions, GcStatus, Usage};
use crate::store::StoreError;

/// Rows that one batch changes at most: reports of the namespace wait for it.
const BATCH_ROWS: usize = 500;

/// Ends what was begun, even if its caller leaves.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, PostgresError>> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::spawn(work).await.map_err(StoreError::database)?;
    done.map_err(failed)
}

/// What `remove` looks for in both relations.
struct Searches {
    mappings: Option<Search>,
    outputs: Option<Search>,
}

/// What one step found.
struct Found {
    mappings: Vec<i64>,
    outputs: Vec<i64>,
    next: Option<Walk>,
}

impl Searches {
    /// Takes one step through each relation, so that a small removal is one transaction.
    async fn find(&self, tx: &Session, walk: Walk) -> Result<Found, PostgresError> {
        let mut found = Found {
            mappings: Vec::new(),
            outputs: Vec::new(),
            next: Some(walk),
        };
        if let Walk::Unihashes(after) = walk {
            found.next = Some(Walk::Outputs(0));
            if let Some(search) = &self.mappings {
                let stretch = search.find(tx, after, BATCH_ROWS).await?;
                found.mappings = stretch.numbers();
                found.next = Some(stretch.next.map_or(Walk::Outputs(0), Walk::Unihashes));
            }
        }
        let room = BATCH_ROWS - found.mappings.len();
        if let Some(Walk::Outputs(after)) = found.next
            && room > 0
        {
            found.next = None;
            if let Some(search) = &self.outputs {
                let stretch = search.find(tx, after, room).await?;
                found.outputs = stretch.numbers();
                found.next = stretch.next.map(Walk::Outputs);
            }
        }
        Ok(found)
    }
}

/// Removes rows of both relations.
pub(super) async fn remove(
    store: &PostgresStore,
    at: NamespaceId,
    conditions: Conditions,
) -> Result<u64, StoreError> {
    let shared = &store.shared;
    let (on_mappings, on_outputs) = (conditions.on_unihashes(), conditions.on_outputs());
    let searches = Arc::new(Searches {
        mappings: shared.mappings_with(at, &on_mappings).await?,
        outputs: shared.outputs_with(at, &on_outputs).await?,
    });
    let batch = |walk| {
        let (shared, searches) = (Arc::clone(shared), Arc::clone(&searches));
        to_the_end(async move { remove_batch(&shared, at, &searches, walk).await })
    };
    let job = progress::Job::Remove;
    in_batches(&store.progress, job, Walk::Unihashes(0), batch).await
}

async fn remove_batch(
    shared: &Shared,
    at: NamespaceId,
    searches: &Searches,
    walk: Walk,
) -> Result<Step<Walk>, PostgresError> {
    let work = |tx: Session| async move {
        let found = searches.find(&tx, walk).await?;
        if found.mappings.is_empty() && found.outputs.is_empty() {
            return Ok((Step::Rows(0, found.next), Deleted::default()));
        }
        let deletion = Deletion::begin(&tx, &shared.epoch, at).await?;
        // Until the lock was ours others may have added rows that are meant as well.
        let found = searches.find(&tx, walk).await?;
        let deleted = deletion.delete(&found.mappings, &found.outputs).await?;
        Ok((Step::Rows(deleted.rows(), found.next), deleted))
    };
    shared.deleting("remove", at, work).await
}

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
    in_batches(&store.progress, progress::Job::Mark, 0, batch).await
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
    in_batches(&store.progress, progress::Job::Sweep, 0, batch).await
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

/// Removes old rows of the relation O whose task has no unihash.
pub(super) async fn clean_unused(
    store: &PostgresStore,
    at: NamespaceId,
    before: Timestamp,
) -> Result<u64, StoreError> {
    let search = Arc::new(Search::unused(at, before.0));
    let batch = |after| {
        let (shared, search) = (Arc::clone(&store.shared), Arc::clone(&search));
        to_the_end(async move { clean_batch(&shared, at, &search, before, after).await })
    };
    in_batches(&store.progress, progress::Job::CleanUnused, 0, batch).await
}

async fn clean_batch(
    shared: &Shared,
    at: NamespaceId,
    search: &Search,
    before: Timestamp,
    after: i64,
) -> Result<Step<i64>, PostgresError> {
    let find = |tx: Session| async move {
        let (old, next) = old_outputs(&tx, search, before, after).await?;
        if old.is_empty() {
            return Ok((Step::Rows(0, next), Deleted::default()));
        }
        let deletion = Deletion::begin(&tx, &shared.epoch, at).await?;
        // Their tasks may have got a unihash meanwhile.
        let (old, next) = old_outputs(&tx, search, before, after).await?;
        let deleted = deletion.delete(&[], &old).await?;
        Ok((Step::Rows(deleted.rows(), next), deleted))
    };
    shared.deleting("clean_unused", at, find).await
}

/// Outputs that are old enough, and where to go on.
async fn old_outputs(
    tx: &Session,
    search: &Search,
    before: Timestamp,
    after: i64,
) -> Result<(Vec<i64>, Option<i64>), PostgresError> {
    let found = search.find(tx, after, BATCH_ROWS).await?;
    let is_old = |row: &&_| {
        // A time that cannot be read is none.
        created(row, 1).is_ok_and(|created| created.is_before(before))
    };
    let old = found.rows.iter().filter(is_old).map(|row| row.get(0));
    Ok((old.collect(), found.next))
}

/// Counts rows of all namespaces.
pub(super) async fn usage(store: &PostgresStore) -> Result<Usage, StoreError> {
    const SQL: &str = "
        SELECT coalesce(sum(mappings), 0)::int8, coalesce(sum(outputs), 0)::int8,
               (SELECT count(*) FROM account),
               (SELECT count(*) FROM (SELECT 1 FROM collection WHERE id > 0 LIMIT 1) AS one)
               + count(collection)
          FROM namespace";
    let read = |session: Session| async move { session.query_one(SQL, &[]).await };
    let row = store.shared.db.read("usage", read).await.map_err(failed)?;
    let count = |place| row.get::<_, i64>(place).unsigned_abs();
    Ok(Usage {
        unihashes: count(0),
        outputs: count(1),
        users: count(2),
        config: count(3).min(1),
    })
}
