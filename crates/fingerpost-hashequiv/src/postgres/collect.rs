//! Deleting in batches, between which other writes go.
//!
//! Every batch looks at a bounded number of rows and changes a bounded number, in a
//! transaction of its own, and sees to it that caches forget what it deleted before the
//! next batch begins. A batch that was begun is ended, whether or not somebody waits.

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{PostgresError, Session};

use super::deleting::{Deleted, Deletion};
use super::finding::Search;
use super::value::created;
use super::{PostgresStore, Shared, failed};
use crate::batches::{Step, Walk, in_batches};
use crate::namespace::NamespaceId;
use crate::progress;
use crate::query::{Conditions, Usage};
use crate::store::StoreError;

/// Rows that one batch changes at most: reports of the namespace wait for it.
pub(super) const BATCH_ROWS: usize = 500;

/// Ends what was begun, even if its caller leaves.
pub(super) async fn to_the_end<T: Send + 'static>(
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
    let job = (at, progress::Job::Remove);
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
        // Until the lock was there, reports may have adopted a unihash that is going, or
        // brought one of the two rows of a task.
        let found = searches.find(&tx, walk).await?;
        let deleted = deletion.delete(&found.mappings, &found.outputs).await?;
        Ok((Step::Rows(deleted.rows(), found.next), deleted))
    };
    shared.deleting("remove", at, work).await
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
    in_batches(&store.progress, (at, progress::Job::CleanUnused), 0, batch).await
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
