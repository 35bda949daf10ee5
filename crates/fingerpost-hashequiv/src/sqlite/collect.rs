//! Deleting and marking, in batches between which other writes go.
//!
//! Every batch looks at a bounded number of rows and changes a bounded number,
//! in a transaction of its own, and sees to it that caches forget what it
//! deleted before the next batch begins.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fingerpost_core::Timestamp;
use fingerpost_db::{Tx, release_lease, try_lease};
use rusqlite::{Connection, OptionalExtension as _};

use super::epoch::{DeletedTask, Epoch};
use super::rows::{OutputRow, Query, UnihashRow, find_outputs, find_unihashes};
use super::tasks::remove_unused_task;
use super::{SqliteStore, failed, listing};
use crate::changes::ChoreLease;
use crate::namespace::NamespaceId;
use crate::progress::Job;
use crate::query::{Conditions, GcStatus};
use crate::store::StoreError;

/// Rows that one batch changes at most: 200 take the writer some 5 ms.
const BATCH_ROWS: usize = 200;

/// A row by which processes agree who does something.
#[derive(Clone, Copy)]
struct Lease {
    name: &'static str,
    ttl_ms: u64,
}

impl Lease {
    /// Takes or prolongs it; whether the holder has it now.
    fn hold(self, tx: &Tx<'_>, holder: &str, now: Timestamp) -> rusqlite::Result<bool> {
        try_lease(tx, self.name, holder, self.ttl_ms, now)
    }

    fn release(self, tx: &Tx<'_>, holder: &str) -> rusqlite::Result<()> {
        release_lease(tx, self.name, holder)
    }
}

/// Takes or prolongs a lease for this process.
pub(super) async fn hold_lease(
    store: &SqliteStore,
    lease: ChoreLease,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let holder = format!("{:016x}", store.epoch.author());
    let ttl_ms = u64::try_from(lease.term.as_millis()).unwrap_or(u64::MAX);
    let job = move |tx: &mut Tx<'_>| try_lease(tx, lease.name, &holder, ttl_ms, now);
    store.db.write_background(job).await.map_err(failed)
}

/// Gives a lease of this process back.
pub(super) async fn release(store: &SqliteStore, lease: ChoreLease) -> Result<(), StoreError> {
    let holder = format!("{:016x}", store.epoch.author());
    let job = move |tx: &mut Tx<'_>| release_lease(tx, lease.name, &holder);
    store.db.write_background(job).await.map_err(failed)
}

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
pub(super) async fn remove(
    store: &SqliteStore,
    at: NamespaceId,
    conditions: Conditions,
) -> Result<u64, StoreError> {
    let progress = store.progress.begin(Job::Remove);
    let conditions = Arc::new(conditions);
    let mut walk = Walk::Unihashes(0);
    let mut total = 0;
    while walk != Walk::Done {
        let (epoch, conditions) = (Arc::clone(&store.epoch), Arc::clone(&conditions));
        let job = move |tx: &mut Tx<'_>| remove_batch(tx, at, &epoch, &conditions, walk);
        let batch = store.db.write_background(job).await.map_err(failed)?;
        total += batch.rows;
        progress.add(batch.rows);
        walk = batch.next;
    }
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
    mut walk: Walk,
) -> rusqlite::Result<Batch> {
    let mut rows = 0;
    if let Walk::Unihashes(after) = walk {
        let (found, next) =
            find_unihashes(tx.conn(), at, &conditions.on_unihashes(), after, BATCH_ROWS)?;
        rows += found.len();
        remove_unihashes(tx, at, epoch, &found)?;
        walk = next.map_or(Walk::Outputs(0), Walk::Unihashes);
    }
    let room = BATCH_ROWS - rows;
    if let Walk::Outputs(after) = walk
        && room > 0
    {
        let (found, next) = find_outputs(tx.conn(), at, &conditions.on_outputs(), after, room)?;
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
    at: NamespaceId,
    mark: String,
    conditions: Conditions,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let progress = store.progress.begin(Job::Mark);
    let (mark, conditions) = (Arc::new(mark), Arc::new(conditions.on_unihashes()));
    let mut after = Some(0);
    let mut total = 0;
    while let Some(start) = after {
        let (mark, conditions) = (Arc::clone(&mark), Arc::clone(&conditions));
        let job = move |tx: &mut Tx<'_>| {
            let collection = begin_collection(tx.conn(), at, &mark, now)?;
            let (found, next) = find_unihashes(tx.conn(), at, &conditions, start, BATCH_ROWS)?;
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
        progress.add(rows);
        after = next;
    }
    Ok(total)
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

/// What a batch of a sweep came to.
enum Swept {
    /// Rows that were removed, and where to go on.
    Rows(u64, Option<i64>),
    /// The mark is not the current one.
    WrongMark,
    /// Another sweep is running, in this process or in another.
    Busy,
}

/// The lease of a sweep, so that two of them run one after the other. It ends
/// by itself when its client left or its process died.
const SWEEP_LEASE: Lease = Lease {
    name: "gc-sweep",
    ttl_ms: 5_000,
};

/// How long a sweep waits for another one; a client waits 30 s for us.
const SWEEP_WAIT: Duration = Duration::from_secs(25);

/// How often it looks.
const SWEEP_RETRY: Duration = Duration::from_millis(200);

/// Removes every unmarked row of the relation U, and ends the collection.
pub(super) async fn sweep(
    store: &SqliteStore,
    at: NamespaceId,
    mark: String,
) -> Result<u64, StoreError> {
    let progress = store.progress.begin(Job::Sweep);
    let (mark, holder) = (Arc::new(mark), Arc::new(store.holder()));
    let mut after = 0;
    let mut total = 0;
    let mut waited = Duration::ZERO;
    loop {
        let epoch = Arc::clone(&store.epoch);
        let (wanted, holder) = (Arc::clone(&mark), Arc::clone(&holder));
        let now = store.clock.now();
        let job = move |tx: &mut Tx<'_>| {
            if !SWEEP_LEASE.hold(tx, &holder, now)? {
                return Ok(Swept::Busy);
            }
            let swept = sweep_batch(tx, at, &epoch, &wanted, after)?;
            if !matches!(swept, Swept::Rows(_, Some(_))) {
                SWEEP_LEASE.release(tx, &holder)?;
            }
            Ok(swept)
        };
        match store.db.write_background(job).await.map_err(failed)? {
            Swept::Rows(rows, next) => {
                total += rows;
                progress.add(rows);
                match next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            Swept::Busy if waited < SWEEP_WAIT => {
                waited += SWEEP_RETRY;
                tokio::time::sleep(SWEEP_RETRY).await;
            }
            Swept::Busy => return Err(StoreError::Busy("another sweep")),
            Swept::WrongMark => return Err(StoreError::WrongMark(mark.to_string())),
        }
    }
    store.shrink().await;
    Ok(total)
}

fn sweep_batch(
    tx: &mut Tx<'_>,
    at: NamespaceId,
    epoch: &Arc<Epoch>,
    mark: &str,
    after: i64,
) -> rusqlite::Result<Swept> {
    let is_current = current(tx.conn(), at)?.is_some_and(|(_, running)| running == mark);
    if mark.is_empty() || !is_current {
        return Ok(Swept::WrongMark);
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
    Ok(Swept::Rows(found.len() as u64, next))
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
    let progress = store.progress.begin(Job::CleanUnused);
    let mut after = Some(0);
    let mut total = 0;
    while let Some(start) = after {
        let job = move |tx: &mut Tx<'_>| {
            let query = Query::walk_outputs(at, start)
                .and_plain("NOT EXISTS (SELECT 1 FROM unihash WHERE unihash.task = outhash.task)");
            let (mut found, next) = query.output_rows(tx.conn(), BATCH_ROWS)?;
            found.retain(|row| row.created.is_before(before));
            remove_outputs(tx.conn(), &found)?;
            Ok((found.len() as u64, next))
        };
        let (rows, next) = store.db.write_background(job).await.map_err(failed)?;
        total += rows;
        progress.add(rows);
        after = next;
    }
    store.shrink().await;
    Ok(total)
}

/// The lease of giving pages back: one process does it for all.
const SHRINK_LEASE: Lease = Lease {
    name: "shrink",
    ttl_ms: 60_000,
};

impl SqliteStore {
    /// Gives freed pages back to the file system, a little at a time, unless
    /// another process is at it. A failure costs space and nothing else.
    async fn shrink(&self) {
        if let Err(error) = self.try_shrink().await {
            tracing::warn!(%error, "Freed pages stay in the database file for now");
        }
    }

    async fn try_shrink(&self) -> Result<(), fingerpost_db::DbError> {
        const PAGES: u32 = 512;
        const ROUNDS: usize = 10_000;
        let (holder, now) = (Arc::new(self.holder()), self.clock.now());
        let taker = Arc::clone(&holder);
        let take = self
            .db
            .write_background(move |tx| SHRINK_LEASE.hold(tx, &taker, now));
        if !take.await? {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            if self.db.vacuum_step(PAGES).await? == 0 {
                break;
            }
        }
        self.db
            .write_background(move |tx| SHRINK_LEASE.release(tx, &holder))
            .await
    }

    /// A name for the holder of a lease that nobody else has.
    fn holder(&self) -> String {
        let serial = self.leases.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{serial}", self.epoch.author())
    }
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
        tx.conn()
            .prepare_cached("DELETE FROM unihash WHERE task = ?1")?
            .execute([row.task])?;
        remove_unused_task(tx.conn(), row.task)?;
        if let Some(taskhash) = row.taskhash.as_bytes() {
            deleted.push(DeletedTask {
                method: row.method,
                taskhash: *taskhash,
            });
        }
    }
    epoch.raise(tx, at, &deleted)
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
