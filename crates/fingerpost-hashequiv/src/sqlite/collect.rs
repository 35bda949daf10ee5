//! Deleting and marking, in batches between which other writes go.
//!
//! Every batch looks at a bounded number of rows and changes a bounded number,
//! in a transaction of its own, and sees to it that caches forget what it
//! deleted before the next batch begins. Where a condition has an index the
//! rows are found through it, else the table is walked by row number.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::Tx;
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use rusqlite::types::{ToSql, Value};
use rusqlite::{Connection, OptionalExtension as _};

use super::epoch::Epoch;
use super::tasks::{find_method, remove_unused_task};
use super::value::{Created, Hash, HashValue};
use super::{NAMESPACE, SqliteStore, failed, listing};
use crate::cache::{CachedTask, MethodId};
use crate::query::{Column, Conditions, GcStatus};
use crate::store::StoreError;

/// Rows that one batch changes at most: 200 take the writer some 5 ms.
const BATCH_ROWS: usize = 200;

/// Rows that one batch looks at at most when it walks a table.
const SCAN_ROWS: i64 = 5_000;

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

/// A row of the relation U that a batch works on.
struct UnihashRow {
    task: i64,
    method: MethodId,
    taskhash: Taskhash,
}

/// A row of the relation O that a batch works on.
struct OutputRow {
    id: i64,
    task: i64,
    siginfo: Option<i64>,
    created: Created,
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

/// Finds rows of the relation U after the row `after`, and where to go on.
fn find_unihashes(
    conn: &Connection,
    conditions: &Conditions,
    after: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<UnihashRow>, Option<i64>)> {
    if conditions.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut query = if let Some(taskhash) = conditions.get(Column::Taskhash) {
        Query::indexed(
            "task.namespace = 1 AND task.method IN (SELECT id FROM method)",
            after,
        )
        .and("task.taskhash = ?", owned(&Taskhash::parse(taskhash)))
    } else if conditions.get(Column::Unihash).is_some() {
        Query::indexed("unihash.namespace = 1", after)
    } else {
        Query::walk_unihashes(after)
    };
    for (column, value) in &conditions.0 {
        query = match column {
            Column::Unihash => query.and("unihash.unihash = ?", owned(&Unihash::parse(value))),
            Column::GcMark => query.and(
                "unihash.collection IN (SELECT id FROM collection WHERE mark = ?)",
                value.clone(),
            ),
            Column::Method => match find_method(conn, value)? {
                Some(method) => query.and("task.method = ?", method.0),
                None => return Ok((Vec::new(), None)),
            },
            _ => query,
        };
    }
    query.unihash_rows(conn, limit)
}

/// Finds rows of the relation O after the row `after`, and where to go on.
fn find_outputs(
    conn: &Connection,
    conditions: &Conditions,
    after: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<OutputRow>, Option<i64>)> {
    if conditions.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut query = if conditions.get(Column::Outhash).is_some() {
        Query::indexed(
            "outhash.namespace = 1 AND outhash.method IN (SELECT id FROM method)",
            after,
        )
    } else if conditions.get(Column::Taskhash).is_some() {
        Query::indexed(
            "outhash.task IN (SELECT id FROM task WHERE namespace = 1
                 AND method IN (SELECT id FROM method) AND taskhash = ?)",
            after,
        )
        .bind(owned(&Taskhash::parse(
            conditions.get(Column::Taskhash).unwrap_or_default(),
        )))
    } else if conditions.get(Column::Siginfo).is_some() {
        Query::indexed("outhash.siginfo IS NOT NULL", after)
    } else {
        Query::walk_outputs(after)
    };
    for (column, value) in &conditions.0 {
        query = match column {
            Column::Outhash => query.and("outhash.outhash = ?", owned(&Outhash::parse(value))),
            Column::Taskhash => query.and("task.taskhash = ?", owned(&Taskhash::parse(value))),
            Column::Method => match find_method(conn, value)? {
                Some(method) => query.and("outhash.method = ?", method.0),
                None => return Ok((Vec::new(), None)),
            },
            Column::Siginfo => match listing::find(conn, value)? {
                Some(siginfo) => query.and("outhash.siginfo = ?", siginfo),
                None => return Ok((Vec::new(), None)),
            },
            Column::Owner => query.and("metadata.owner = ?", value.clone()),
            Column::Pn => query.and("metadata.pn = ?", value.clone()),
            Column::Pv => query.and("metadata.pv = ?", value.clone()),
            Column::Pr => query.and("metadata.pr = ?", value.clone()),
            Column::Task => query.and("metadata.task = ?", value.clone()),
            Column::Created | Column::Unihash | Column::GcMark => query,
        };
    }
    let (mut found, next) = query.output_rows(conn, limit)?;
    if let Some(created) = conditions.get(Column::Created) {
        found.retain(|row| row.created.clone().into_text().as_deref() == Some(created));
    }
    Ok((found, next))
}

/// A hash as a parameter that a [`Query`] owns.
fn owned<'a, T>(hash: &'a T) -> Value
where
    Hash<&'a T>: HashValue,
{
    Hash(hash).value()
}

/// A query that is put together from conditions. Values are always bound.
struct Query {
    clauses: Vec<&'static str>,
    values: Vec<Box<dyn ToSql>>,
    after: i64,
    /// The walk's last row, when a table is walked and not an index.
    until: Option<i64>,
}

impl Query {
    fn indexed(clause: &'static str, after: i64) -> Self {
        Self {
            clauses: vec![clause],
            values: Vec::new(),
            after,
            until: None,
        }
    }

    fn walk_unihashes(after: i64) -> Self {
        Self {
            until: Some(after.saturating_add(SCAN_ROWS)),
            ..Self::indexed("unihash.namespace = 1", after)
        }
    }

    fn walk_outputs(after: i64) -> Self {
        Self {
            until: Some(after.saturating_add(SCAN_ROWS)),
            ..Self::indexed("outhash.namespace = 1", after)
        }
    }

    fn bind(mut self, value: impl ToSql + 'static) -> Self {
        self.values.push(Box::new(value));
        self
    }

    fn and(mut self, clause: &'static str, value: impl ToSql + 'static) -> Self {
        self.clauses.push(clause);
        self.bind(value)
    }

    fn and_plain(mut self, clause: &'static str) -> Self {
        self.clauses.push(clause);
        self
    }

    fn unihash_rows(
        self,
        conn: &Connection,
        limit: usize,
    ) -> rusqlite::Result<(Vec<UnihashRow>, Option<i64>)> {
        let select = "SELECT unihash.task, task.method, task.taskhash
            FROM unihash JOIN task ON task.id = unihash.task";
        self.rows(conn, select, ("unihash", "task"), limit, |row| {
            let found = UnihashRow {
                task: row.get(0)?,
                method: MethodId(row.get(1)?),
                taskhash: row.get::<_, Hash<Taskhash>>(2)?.0,
            };
            Ok((found.task, found))
        })
    }

    fn output_rows(
        self,
        conn: &Connection,
        limit: usize,
    ) -> rusqlite::Result<(Vec<OutputRow>, Option<i64>)> {
        let select = "SELECT outhash.id, outhash.task, outhash.siginfo, outhash.created
            FROM outhash JOIN task ON task.id = outhash.task
            LEFT JOIN metadata ON metadata.id = outhash.metadata";
        self.rows(conn, select, ("outhash", "id"), limit, |row| {
            let found = OutputRow {
                id: row.get(0)?,
                task: row.get(1)?,
                siginfo: row.get(2)?,
                created: row.get(3)?,
            };
            Ok((found.id, found))
        })
    }

    /// Runs the query. The second value is the row to go on after, `None` when
    /// nothing is left.
    fn rows<T>(
        mut self,
        conn: &Connection,
        select: &str,
        (table, key): (&str, &str),
        limit: usize,
        read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<(i64, T)>,
    ) -> rusqlite::Result<(Vec<T>, Option<i64>)> {
        let mut sql = format!("{select} WHERE {}", self.clauses.join(" AND "));
        sql.push_str(&format!(" AND {table}.{key} > ?"));
        self.values.push(Box::new(self.after));
        if let Some(until) = self.until {
            sql.push_str(&format!(" AND {table}.{key} <= ?"));
            self.values.push(Box::new(until));
        }
        sql.push_str(&format!(" ORDER BY {table}.{key} LIMIT ?"));
        self.values.push(Box::new(limit as i64));
        let mut statement = conn.prepare_cached(&sql)?;
        let parameters: Vec<&dyn ToSql> = self.values.iter().map(AsRef::as_ref).collect();
        let mut last = self.after;
        let mut found = Vec::new();
        let mut rows = statement.query(&*parameters)?;
        while let Some(row) = rows.next()? {
            let (number, value) = read(row)?;
            last = number;
            found.push(value);
        }
        if found.len() == limit {
            return Ok((found, Some(last)));
        }
        let next = match self.until {
            Some(until) => {
                let end: Option<i64> =
                    conn.query_row(&format!("SELECT max({key}) FROM {table}"), [], |row| {
                        row.get(0)
                    })?;
                end.filter(|end| *end > until).map(|_| until)
            }
            None => None,
        };
        Ok((found, next))
    }
}
