//! Reading.

use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::listing;
use super::tasks::{find_method, find_named};
use super::value::Hash;
use crate::cache::{MethodId, UnihashCache};
use crate::created::Created;
use crate::listings::StoredListing;
use crate::namespace::{Chain, NamespaceId};
use crate::query::Usage;
use crate::store::{Found, Metadata, OutputRow, StoreError, Task};

/// What look-ups found.
pub(super) struct LookedUp {
    /// The unihashes, in order.
    pub(super) found: Vec<Option<Found>>,
    /// Tasks that were found and whose use today is not noted yet.
    pub(super) used: Vec<i64>,
}

/// Looks tasks up, in order; learns the numbers of their methods.
pub(super) fn unihashes(
    conn: &Connection,
    at: &Chain,
    cache: &UnihashCache,
    tasks: &[Task],
    today: i64,
) -> rusqlite::Result<LookedUp> {
    let mut used = Vec::new();
    let mut statement = conn.prepare_cached(
        "SELECT unihash.unihash, unihash.task, unihash.used_day FROM task CROSS JOIN unihash ON unihash.task = task.id
          WHERE task.namespace = ?1 AND task.method = ?2 AND task.taskhash = ?3",
    )?;
    let mut find = |task: &Task| {
        let Some(method) = method_of(conn, cache, &task.method)? else {
            return Ok(None);
        };
        first(at, |at| {
            statement
                .query_row((at.0, method.0, Hash(&task.taskhash)), |row| {
                    let unihash: Hash<Unihash> = row.get(0)?;
                    if row.get::<_, i64>(2)? < today {
                        used.push(row.get(1)?);
                    }
                    Ok(Found {
                        method,
                        unihash: unihash.0,
                    })
                })
                .optional()
        })
    };
    let found: rusqlite::Result<_> = tasks.iter().map(&mut find).collect();
    let found = found?;
    Ok(LookedUp { found, used })
}

/// What the nearest namespace has that has it.
pub(super) fn first<T>(
    at: &Chain,
    mut find: impl FnMut(NamespaceId) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Option<T>> {
    for namespace in at.iter() {
        if let Some(found) = find(namespace)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn method_of(
    conn: &Connection,
    cache: &UnihashCache,
    method: &Method,
) -> rusqlite::Result<Option<MethodId>> {
    if let Some(id) = cache.method(method.as_str().as_bytes()) {
        return Ok(Some(id));
    }
    let id = find_method(conn, method.as_str())?;
    if let Some(id) = id {
        cache.learn_method(method.as_str().as_bytes(), id);
    }
    Ok(id)
}

/// Whether any task has the unihash, in order.
pub(super) fn exist(
    conn: &Connection,
    at: &Chain,
    unihashes: &[Unihash],
) -> rusqlite::Result<Vec<bool>> {
    let mut statement =
        conn.prepare_cached("SELECT 1 FROM unihash WHERE namespace = ?1 AND unihash = ?2 LIMIT 1")?;
    let mut exists = |unihash: &Unihash| {
        let found = first(at, |at| {
            let here = statement.exists((at.0, Hash(unihash)))?;
            Ok(here.then_some(()))
        });
        found.map(|found| found.is_some())
    };
    unihashes.iter().map(&mut exists).collect()
}

/// A row as it was read, its listing still encoded: decoding is not SQLite's error.
pub(super) type RawRow = (OutputRow, Option<StoredListing>);

/// Reads what [`read_row`] takes, and the number of the listing.
pub(super) const ROW: &str =
    "SELECT outhash.id, method.name, task.taskhash, outhash.outhash, outhash.created,
        metadata.owner, metadata.pn, metadata.pv, metadata.pr, metadata.task,
        unihash.unihash, collection.mark, outhash.siginfo
   FROM outhash
   CROSS JOIN task ON task.id = outhash.task
   LEFT JOIN unihash ON unihash.task = outhash.task
   LEFT JOIN method ON method.id = outhash.method
   LEFT JOIN metadata ON metadata.id = outhash.metadata
   LEFT JOIN collection ON collection.id = unihash.collection";

/// The oldest output of a task that has a unihash. The nearest namespace in which
/// it has one decides, whether it has an output there or not.
pub(super) fn output_of_task(
    conn: &Connection,
    at: &Chain,
    task: &Task,
) -> rusqlite::Result<Option<RawRow>> {
    let Some(method) = find_method(conn, task.method.as_str())? else {
        return Ok(None);
    };
    let Some(known) = find_named(conn, at.iter(), method, &task.taskhash)? else {
        return Ok(None);
    };
    let oldest: Option<i64> = conn
        .prepare_cached("SELECT min(id) FROM outhash WHERE task = ?1")?
        .query_row([known.id], |row| row.get(0))?;
    oldest.map_or(Ok(None), |id| row_by_id(conn, id, true))
}

/// The oldest row of (method, outhash) in the nearest namespace that has one.
pub(super) fn output(
    conn: &Connection,
    at: &Chain,
    method: &Method,
    outhash: &Outhash,
    with_unihash: bool,
    valid_only: bool,
) -> rusqlite::Result<Option<RawRow>> {
    let Some(method) = find_method(conn, method.as_str())? else {
        return Ok(None);
    };
    let found = if with_unihash {
        oldest_match(conn, at, method, outhash, valid_only)?.map(|(id, _)| id)
    } else {
        let mut statement = conn.prepare_cached(
            "SELECT id FROM outhash
              WHERE namespace = ?1 AND method = ?2 AND outhash = ?3 ORDER BY id LIMIT 1",
        )?;
        first(at, |at| {
            let values = (at.0, method.0, Hash(outhash));
            statement.query_row(values, |row| row.get(0)).optional()
        })?
    };
    found.map_or(Ok(None), |id| row_by_id(conn, id, with_unihash))
}

/// The oldest row of (method, outhash) whose task has a unihash, in the nearest
/// namespace that has one.
pub(super) fn oldest_match(
    conn: &Connection,
    at: &Chain,
    method: MethodId,
    outhash: &Outhash,
    valid_only: bool,
) -> rusqlite::Result<Option<(i64, Unihash)>> {
    // A unihash is valid exactly when it is stored as a BLOB.
    let mut statement = conn.prepare_cached(
        "SELECT outhash.id, unihash.unihash
           FROM outhash CROSS JOIN unihash ON unihash.task = outhash.task
          WHERE outhash.namespace = ?1 AND outhash.method = ?2 AND outhash.outhash = ?3
            AND (NOT ?4 OR typeof(unihash.unihash) = 'blob')
          ORDER BY outhash.id LIMIT 1",
    )?;
    first(at, |at| {
        let values = (at.0, method.0, Hash(outhash), valid_only);
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Hash<Unihash>>(1)?.0));
        statement.query_row(values, read).optional()
    })
}

/// Whether neither the task nor its output says which unihash to take.
pub(super) fn is_unknown(
    conn: &Connection,
    at: &Chain,
    task: &Task,
    outhash: Option<&Outhash>,
    valid_only: bool,
) -> rusqlite::Result<bool> {
    let Some(method) = find_method(conn, task.method.as_str())? else {
        return Ok(true);
    };
    if find_named(conn, at.iter(), method, &task.taskhash)?.is_some() {
        return Ok(false);
    }
    match outhash {
        Some(outhash) => Ok(oldest_match(conn, at, method, outhash, valid_only)?.is_none()),
        None => Ok(true),
    }
}

fn row_by_id(conn: &Connection, id: i64, with_unihash: bool) -> rusqlite::Result<Option<RawRow>> {
    let (row, siginfo) = conn
        .prepare_cached(&format!("{ROW} WHERE outhash.id = ?1"))?
        .query_row([id], |row| {
            Ok((read_row(row, with_unihash)?, row.get::<_, Option<i64>>(12)?))
        })?;
    let listing = match siginfo {
        Some(siginfo) => listing::read(conn, siginfo)?,
        None => None,
    };
    Ok(Some((row, listing)))
}

pub(super) fn read_row(row: &Row<'_>, with_unihash: bool) -> rusqlite::Result<OutputRow> {
    let unihash: Option<Hash<Unihash>> = row.get(10)?;
    let mark: Option<String> = row.get(11)?;
    Ok(OutputRow {
        id: row.get(0)?,
        method: Method::new(row.get::<_, String>(1)?),
        taskhash: row.get::<_, Hash<Taskhash>>(2)?.0,
        outhash: row.get::<_, Hash<Outhash>>(3)?.0,
        created: row.get::<_, Created>(4)?.into_text(),
        metadata: Metadata {
            owner: row.get(5)?,
            pn: row.get(6)?,
            pv: row.get(7)?,
            pr: row.get(8)?,
            task: row.get(9)?,
        },
        siginfo: None,
        unihash: unihash
            .filter(|_| with_unihash)
            .map(|unihash| (unihash.0, mark.unwrap_or_default())),
    })
}

/// Decodes the listing of a row that was read.
pub(super) fn finish(raw: Option<RawRow>) -> Result<Option<OutputRow>, StoreError> {
    let Some((mut row, listing)) = raw else {
        return Ok(None);
    };
    row.siginfo = listing.map(StoredListing::decode).transpose()?;
    Ok(Some(row))
}

/// Counts rows by table.
pub(super) fn usage(conn: &Connection) -> rusqlite::Result<Usage> {
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, u64>(0));
    Ok(Usage {
        unihashes: count("SELECT count(*) FROM unihash")?,
        outputs: count("SELECT count(*) FROM outhash")?,
        users: count("SELECT count(*) FROM user")?,
        config: count(
            "SELECT EXISTS (SELECT 1 FROM collection WHERE id > 0)
                 OR EXISTS (SELECT 1 FROM namespace WHERE collection IS NOT NULL)",
        )?,
    })
}
