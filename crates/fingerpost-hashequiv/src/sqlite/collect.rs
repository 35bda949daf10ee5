//! Deleting and marking, in batches between which other writes go.
//!
//! Every batch looks at a bounded number of rows and changes a bounded number,
//! in a transaction of its own, and sees to it that caches forget what it
//! deleted before the next batch begins.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::{Tx, release_lease};
use rusqlite::{Connection, OptionalExtension as _};

use super::epoch::{DeletedTask, Epoch};
use super::leases::hold_within;
use super::rows::{OutputRow, Query, UnihashRow, find_outputs, find_unihashes};
use super::tasks::remove_unused_task;
use super::{SqliteStore, failed, listing};
use crate::batches::{self, SWEEP_LEASE, Step, Walk};
use crate::namespace::NamespaceId;
use crate::progress::Job;
use crate::query::{Conditions, GcStatus};
use crate::store::StoreError;

/// Rows that one batch changes at most: 200 take the writer some 5 ms.
const BATCH_ROWS: usize = 200;

/// Runs `batch` again and again, each time in a transaction of its own.
async fn in_batches<P, F>(
    store: &SqliteStore,
    job: (NamespaceId, Job),
    first: P,
    batch: F,
) -> Result<u64, StoreError>
where
    P: Copy + Send + 'static,
    F: Fn(&mut Tx<'_>, P) -> rusqlite::Result<Step<P>> + Send + Sync + 'static,
{
    let batch = Arc::new(batch);
    let step = |place| {
        let batch = Arc::clone(&batch);
        let step = store.db.write_background(move |tx| batch(tx, place));
        async { step.await.map_err(failed) }
    };
    batches::in_batches(&store.progress, job, first, step).await
}

/// Removes rows of both relations.
pub(super) async fn remove(
    store: &SqliteStore,
    at: NamespaceId,
    conditions: Conditions,
) -> Result<u64, StoreError> {
    let epoch = Arc::clone(&store.epoch);
    let batch = move |tx: &mut Tx<'_>, walk| remove_batch(tx, at, &epoch, &conditions, walk);
    let total = in_batches(store, (at, Job::Remove), Walk::Unihashes(0), batch).await?;
    store.shrink().await;
    Ok(total)
}

/// Takes one step through each relation, so that a small removal is one
/// transaction.
fn remove_batch(
    tx: &mut Tx<'_>,
    at: NamespaceId,
    epoch: &Arc<Epoch>,
    conditions: &Conditions,
    walk: Walk,
) -> rusqlite::Result<Step<Walk>> {
    let mut rows = 0;
    let mut next = Some(walk);
    if let Walk::Unihashes(after) = walk {
        let (found, following) =
            find_unihashes(tx.conn(), at, &conditions.on_unihashes(), after, BATCH_ROWS)?;
        rows += found.len();
        remove_unihashes(tx, at, epoch, &found)?;
        next = Some(following.map_or(Walk::Outputs(0), Walk::Unihashes));
    }
    let room = BATCH_ROWS - rows;
    if let Some(Walk::Outputs(after)) = next
        && room > 0
    {
        let (found, following) =
            find_outputs(tx.conn(), at, &conditions.on_outputs(), after, room)?;
        rows += found.len();
        remove_outputs(tx.conn(), &found)?;
        next = following.map(Walk::Outputs);
    }
    Ok(Step::Rows(rows as u64, next))
}

/// Starts or goes on with a collection and marks rows.
pub(super) async fn mark(
    store: &SqliteStore,
    at: NamespaceId,
    mark: String,
    conditions: Conditions,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let conditions = conditions.on_unihashes();
    let batch = move |tx: &mut Tx<'_>, after| {
        let collection = begin_collection(tx.conn(), at, &mark, now)?;
        let (found, next) = find_unihashes(tx.conn(), at, &conditions, after, BATCH_ROWS)?;
        let mut update = tx.conn().prepare_cached(
            "UPDATE unihash SET collection = ?2 WHERE task = ?1 AND collection <> ?2",
        )?;
        for row in &found {
            update.execute((row.task, collection))?;
        }
        Ok(Step::Rows(found.len() as u64, next))
    };
    in_batches(store, (at, Job::Mark), 0, batch).await
}

/// The number of the running collection with this mark, which is started when
/// another one, or none, is running.
fn begin_collection(
    conn: &Connection,
    at: NamespaceId,
    mark: &str,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    if let Some((collection, running)) = current(conn, at)?
        && running == mark
    {
        return Ok(collection);
    }
    let collection = if mark.is_empty() {
        0
    } else {
        conn.prepare_cached(
            "INSERT INTO collection (namespace, mark, started) VALUES (?1, ?2, ?3)",
        )?
        .insert((at.0, mark, now.0))?
    };
    conn.prepare_cached("UPDATE namespace SET collection = ?2 WHERE id = ?1")?
        .execute((at.0, collection))?;
    Ok(collection)
}

/// The running collection and its mark.
fn current(conn: &Connection, at: NamespaceId) -> rusqlite::Result<Option<(i64, String)>> {
    conn.prepare_cached(
        "SELECT collection.id, collection.mark
           FROM namespace CROSS JOIN collection ON collection.id = namespace.collection
          WHERE namespace.id = ?1",
    )?
    .query_row([at.0], |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()
}

/// Removes every unmarked row of the relation U, and ends the collection.
pub(super) async fn sweep(
    store: &SqliteStore,
    at: NamespaceId,
    mark: String,
) -> Result<u64, StoreError> {
    let (epoch, clock, holder) = (
        Arc::clone(&store.epoch),
        Arc::clone(&store.clock),
        store.holder(),
    );
    let batch = move |tx: &mut Tx<'_>, after| {
        if !hold_within(tx, SWEEP_LEASE, &holder, clock.now())? {
            return Ok(Step::Busy("another sweep"));
        }
        let swept = sweep_batch(tx, at, &epoch, &mark, after)?;
        if !matches!(swept, Step::Rows(_, Some(_))) {
            release_lease(tx, SWEEP_LEASE.name, &holder)?;
        }
        Ok(swept)
    };
    let total = in_batches(store, (at, Job::Sweep), 0, batch).await?;
    store.shrink().await;
    Ok(total)
}

fn sweep_batch(
    tx: &mut Tx<'_>,
    at: NamespaceId,
    epoch: &Arc<Epoch>,
    mark: &str,
    after: i64,
) -> rusqlite::Result<Step<i64>> {
    let is_current = current(tx.conn(), at)?.is_some_and(|(_, running)| running == mark);
    if mark.is_empty() || !is_current {
        return Ok(Step::WrongMark(mark.to_owned()));
    }
    let query = Query::walk_unihashes(at, after).and(
        "unihash.collection NOT IN (SELECT id FROM collection WHERE mark = ?)",
        mark.to_owned(),
    );
    let (found, next) = query.unihash_rows(tx.conn(), BATCH_ROWS)?;
    remove_unihashes(tx, at, epoch, &found)?;
    if next.is_none() {
        tx.conn()
            .prepare_cached("UPDATE namespace SET collection = NULL WHERE id = ?1")?
            .execute([at.0])?;
    }
    Ok(Step::Rows(found.len() as u64, next))
}

/// Counts what a sweep would keep and remove.
pub(super) fn status(conn: &Connection, at: NamespaceId) -> rusqlite::Result<GcStatus> {
    let mark = current(conn, at)?.map(|(_, mark)| mark);
    let (keep, all) = conn
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE collection IN
                        (SELECT id FROM collection WHERE mark = ?2)), count(*)
               FROM unihash WHERE namespace = ?1",
        )?
        .query_row((at.0, mark.as_deref().unwrap_or("")), |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
        })?;
    Ok(GcStatus {
        keep,
        remove: all - keep,
        mark,
    })
}

/// Removes old rows of the relation O whose task has no unihash.
pub(super) async fn clean_unused(
    store: &SqliteStore,
    at: NamespaceId,
    before: Timestamp,
) -> Result<u64, StoreError> {
    let batch = move |tx: &mut Tx<'_>, after| {
        let query = Query::walk_outputs(at, after)
            .and_plain("NOT EXISTS (SELECT 1 FROM unihash WHERE unihash.task = outhash.task)");
        let (mut found, next) = query.output_rows(tx.conn(), BATCH_ROWS)?;
        found.retain(|row| row.created.is_before(before));
        remove_outputs(tx.conn(), &found)?;
        Ok(Step::Rows(found.len() as u64, next))
    };
    let total = in_batches(store, (at, Job::CleanUnused), 0, batch).await?;
    store.shrink().await;
    Ok(total)
}

fn remove_unihashes(
    tx: &mut Tx<'_>,
    at: NamespaceId,
    epoch: &Arc<Epoch>,
    rows: &[UnihashRow],
) -> rusqlite::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut deleted = Vec::with_capacity(rows.len());
    for row in rows {
        deleted.extend(delete_unihash(tx.conn(), row)?);
    }
    epoch.raise(tx, at, &deleted)
}

/// Deletes a row of the relation U. What is given back must be told to
/// [`Epoch::raise`] in the same transaction.
pub(super) fn delete_unihash(
    conn: &Connection,
    row: &UnihashRow,
) -> rusqlite::Result<Option<DeletedTask>> {
    remove_mapping(conn, row.task)?;
    let deleted = |taskhash: &[u8; 32]| DeletedTask {
        method: row.method,
        taskhash: *taskhash,
    };
    Ok(row.taskhash.as_bytes().map(deleted))
}

/// Deletes the row of the relation U of a task, if it has one, and the task if nothing
/// names it any more. Whoever remembers answers has to be told in the same transaction.
pub(crate) fn remove_mapping(conn: &Connection, task: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM unihash WHERE task = ?1")?
        .execute([task])?;
    remove_unused_task(conn, task)
}

/// Deletes rows of the relation O, with what only they need.
pub(super) fn remove_outputs(conn: &Connection, rows: &[OutputRow]) -> rusqlite::Result<()> {
    rows.iter()
        .try_for_each(|row| remove_output(conn, row.id, row.task, row.siginfo))
}

/// Deletes the row of the relation O with the number `id`, with what only it needs.
pub(crate) fn remove_output(
    conn: &Connection,
    id: i64,
    task: i64,
    siginfo: Option<i64>,
) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM outhash WHERE id = ?1")?
        .execute([id])?;
    remove_unused_task(conn, task)?;
    match siginfo {
        Some(siginfo) => listing::remove_unused(conn, siginfo),
        None => Ok(()),
    }
}
