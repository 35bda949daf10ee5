//! Deleting and marking, in batches between which other writes go.
//!
//! Every batch looks at a bounded number of rows and changes a bounded number,
//! in a transaction of its own, and sees to it that caches forget what it
//! deleted before the next batch begins.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::Tx;
use rusqlite::{Connection, OptionalExtension as _};

use super::epoch::Epoch;
use super::rows::{OutputRow, Query, UnihashRow, find_outputs, find_unihashes};
use super::tasks::remove_unused_task;
use super::{NAMESPACE, SqliteStore, failed, listing};
use crate::cache::CachedTask;
use crate::query::{Conditions, GcStatus};
use crate::store::StoreError;

/// Rows that one batch changes at most: 200 take the writer some 5 ms.
const BATCH_ROWS: usize = 200;

/// Where a walk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// At the relation U, after this row.
    Unihashes(i64),
    /// At the relation O, after this row.
    Outputs(i64),
    /// Past the last row.
    Done,
}

/// One batch's result.
struct Batch {
    rows: u64,
    next: Walk,
}

/// Removes rows of both relations.
pub(super) async fn remove(store: &SqliteStore, conditions: Conditions) -> Result<u64, StoreError> {
    let conditions = Arc::new(conditions);
    let mut walk = Walk::Unihashes(0);
    let mut total = 0;
    while walk != Walk::Done {
        let (epoch, conditions) = (Arc::clone(&store.epoch), Arc::clone(&conditions));
        let job = move |tx: &mut Tx<'_>| remove_batch(tx, &epoch, &conditions, walk);
        let batch = store.db.write_background(job).await.map_err(failed)?;
        total += batch.rows;
        walk = batch.next;
    }
    store.shrink().await;
    Ok(total)
}

/// Takes one step through each relation, so that a small removal is one
/// transaction.
fn remove_batch(
    tx: &mut Tx<'_>,
    epoch: &Arc<Epoch>,
    conditions: &Conditions,
    mut walk: Walk,
) -> rusqlite::Result<Batch> {
    let mut rows = 0;
    if let Walk::Unihashes(after) = walk {
        let (found, next) =
            find_unihashes(tx.conn(), &conditions.on_unihashes(), after, BATCH_ROWS)?;
        rows += found.len();
        remove_unihashes(tx, epoch, &found)?;
        walk = next.map_or(Walk::Outputs(0), Walk::Unihashes);
    }
    let room = BATCH_ROWS - rows;
    if let Walk::Outputs(after) = walk
        && room > 0
    {
        let (found, next) = find_outputs(tx.conn(), &conditions.on_outputs(), after, room)?;
        rows += found.len();
        remove_outputs(tx.conn(), &found)?;
        walk = next.map_or(Walk::Done, Walk::Outputs);
    }
    Ok(Batch {
        rows: rows as u64,
        next: walk,
    })
}

/// Starts or goes on with a collection and marks rows.
pub(super) async fn mark(
    store: &SqliteStore,
    mark: String,
    conditions: Conditions,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let (mark, conditions) = (Arc::new(mark), Arc::new(conditions.on_unihashes()));
    let mut after = Some(0);
    let mut total = 0;
    while let Some(start) = after {
        let (mark, conditions) = (Arc::clone(&mark), Arc::clone(&conditions));
        let job = move |tx: &mut Tx<'_>| {
            let collection = begin_collection(tx.conn(), &mark, now)?;
            let (found, next) = find_unihashes(tx.conn(), &conditions, start, BATCH_ROWS)?;
            let mut update = tx.conn().prepare_cached(
                "UPDATE unihash SET collection = ?2 WHERE task = ?1 AND collection <> ?2",
            )?;
            for row in &found {
                update.execute((row.task, collection))?;
            }
            Ok((found.len() as u64, next))
        };
        let (rows, next) = store.db.write_background(job).await.map_err(failed)?;
        total += rows;
        after = next;
    }
    Ok(total)
}

/// The number of the running collection with this mark, which is started when
/// another one, or none, is running.
fn begin_collection(conn: &Connection, mark: &str, now: Timestamp) -> rusqlite::Result<i64> {
    if let Some((collection, running)) = current(conn)?
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
        .insert((NAMESPACE, mark, now.0))?
    };
    conn.prepare_cached("UPDATE namespace SET collection = ?2 WHERE id = ?1")?
        .execute((NAMESPACE, collection))?;
    Ok(collection)
}

/// The running collection and its mark.
fn current(conn: &Connection) -> rusqlite::Result<Option<(i64, String)>> {
    conn.prepare_cached(
        "SELECT collection.id, collection.mark
           FROM namespace CROSS JOIN collection ON collection.id = namespace.collection
          WHERE namespace.id = ?1",
    )?
    .query_row([NAMESPACE], |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()
}

/// One batch of a sweep; `None`: the mark is not the current one.
type SweepBatch = Option<(u64, Option<i64>)>;

/// Removes every unmarked row of the relation U, and ends the collection.
pub(super) async fn sweep(store: &SqliteStore, mark: String) -> Result<u64, StoreError> {
    let mark = Arc::new(mark);
    let mut after = Some(0);
    let mut total = 0;
    while let Some(start) = after {
        let (epoch, wanted) = (Arc::clone(&store.epoch), Arc::clone(&mark));
        let job = move |tx: &mut Tx<'_>| sweep_batch(tx, &epoch, &wanted, start);
        let Some((rows, next)) = store.db.write_background(job).await.map_err(failed)? else {
            return Err(StoreError::WrongMark(mark.to_string()));
        };
        total += rows;
        after = next;
    }
    store.shrink().await;
    Ok(total)
}

fn sweep_batch(
    tx: &mut Tx<'_>,
    epoch: &Arc<Epoch>,
    mark: &str,
    after: i64,
) -> rusqlite::Result<SweepBatch> {
    let is_current = current(tx.conn())?.is_some_and(|(_, running)| running == mark);
    if mark.is_empty() || !is_current {
        return Ok(None);
    }
    let query = Query::walk_unihashes(after).and(
        "unihash.collection NOT IN (SELECT id FROM collection WHERE mark = ?)",
        mark.to_owned(),
    );
    let (found, next) = query.unihash_rows(tx.conn(), BATCH_ROWS)?;
    remove_unihashes(tx, epoch, &found)?;
    if next.is_none() {
        tx.conn()
            .prepare_cached("UPDATE namespace SET collection = NULL WHERE id = ?1")?
            .execute([NAMESPACE])?;
    }
    Ok(Some((found.len() as u64, next)))
}

/// Counts what a sweep would keep and remove.
pub(super) fn status(conn: &Connection) -> rusqlite::Result<GcStatus> {
    let mark = current(conn)?.map(|(_, mark)| mark);
    let (keep, all) = conn
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE collection IN
                        (SELECT id FROM collection WHERE mark = ?2)), count(*)
               FROM unihash WHERE namespace = ?1",
        )?
        .query_row((NAMESPACE, mark.as_deref().unwrap_or("")), |row| {
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
    before: Timestamp,
) -> Result<u64, StoreError> {
    let mut after = Some(0);
    let mut total = 0;
    while let Some(start) = after {
        let job = move |tx: &mut Tx<'_>| {
            let query = Query::walk_outputs(start)
                .and_plain("NOT EXISTS (SELECT 1 FROM unihash WHERE unihash.task = outhash.task)");
            let (mut found, next) = query.output_rows(tx.conn(), BATCH_ROWS)?;
            found.retain(|row| row.created.is_before(before));
            remove_outputs(tx.conn(), &found)?;
            Ok((found.len() as u64, next))
        };
        let (rows, next) = store.db.write_background(job).await.map_err(failed)?;
        total += rows;
        after = next;
    }
    store.shrink().await;
    Ok(total)
}

impl SqliteStore {
    /// Gives freed pages back to the file system, a little at a time. A failure
    /// costs space and nothing else.
    async fn shrink(&self) {
        const PAGES: u32 = 512;
        const ROUNDS: usize = 10_000;
        for _ in 0..ROUNDS {
            match self.db.vacuum_step(PAGES).await {
                Ok(freed) if freed > 0 => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "Freed pages stay in the database file for now");
                    return;
                }
            }
        }
    }
}

fn remove_unihashes(
    tx: &mut Tx<'_>,
    epoch: &Arc<Epoch>,
    rows: &[UnihashRow],
) -> rusqlite::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut forgotten = Vec::with_capacity(rows.len());
    for row in rows {
        tx.conn()
            .prepare_cached("DELETE FROM unihash WHERE task = ?1")?
            .execute([row.task])?;
        remove_unused_task(tx.conn(), row.task)?;
        if let Some(taskhash) = row.taskhash.as_bytes() {
            forgotten.push(CachedTask {
                method: row.method,
                taskhash: *taskhash,
            });
        }
    }
    epoch.raise(tx, forgotten)
}

fn remove_outputs(conn: &Connection, rows: &[OutputRow]) -> rusqlite::Result<()> {
    for row in rows {
        conn.prepare_cached("DELETE FROM outhash WHERE id = ?1")?
            .execute([row.id])?;
        remove_unused_task(conn, row.task)?;
        if let Some(siginfo) = row.siginfo {
            listing::remove_unused(conn, siginfo)?;
        }
    }
    Ok(())
}
