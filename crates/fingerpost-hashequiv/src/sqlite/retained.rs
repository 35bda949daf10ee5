//! Rows as retention sees them, and their end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::Timestamp;
use fingerpost_db::Tx;
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};
use rusqlite::{Connection, Row};

use super::collect::{delete_unihash, remove_outputs};
use super::epoch::{DeletedTask, Epoch};
use super::listing;
use super::rows::{OutputRow, UnihashRow};
use super::value::Hash;
use crate::cache::MethodId;
use crate::created::Created;
use crate::namespace::NamespaceId;
use crate::retention::{
    Expired, Kind, Labels, Outcome, RetainedMapping, RetainedPage, RetainedRow, RunRecord,
};

/// How long the rows of one transaction are deleted; the commit comes on top.
const BATCH_TIME: Duration = Duration::from_millis(20);
/// What a mapping takes with its task and their indexes, and a row of the relation O with
/// its own: measured with 100,000 of each that `fingerpost bench fill` made.
const MAPPING_BYTES: u64 = 202;
const OUTPUT_BYTES: u64 = 146;
/// What a listing takes beside its compressed text.
const LISTING_BYTES: u64 = 80;
/// Runs that are remembered.
const RUNS: i64 = 100;

/// Names for a policy's patterns; of the namespaces only those of `served`.
pub(super) fn labels(conn: &Connection, served: &Epoch) -> rusqlite::Result<Labels> {
    let mut namespaces = pairs(conn, "SELECT id, name FROM namespace")?;
    namespaces.retain(|(id, _)| served.serves(NamespaceId(*id)));
    let methods = pairs(conn, "SELECT id, name FROM method")?;
    Ok(Labels {
        namespaces: namespaces
            .into_iter()
            .map(|(id, name)| (NamespaceId(id), name))
            .collect(),
        methods: methods
            .into_iter()
            .map(|(id, name)| (MethodId(id), name))
            .collect(),
        marks: pairs(conn, "SELECT id, mark FROM collection")?,
    })
}

fn pairs<N: rusqlite::types::FromSql>(
    conn: &Connection,
    sql: &str,
) -> rusqlite::Result<Vec<(N, String)>> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Rows after the one numbered `after`, of all namespaces.
pub(super) fn page(
    conn: &Connection,
    kind: Kind,
    after: i64,
    limit: usize,
) -> rusqlite::Result<RetainedPage> {
    let mut statement = conn.prepare_cached(match kind {
        Kind::Mappings => MAPPINGS,
        Kind::Outputs | Kind::Siginfo => OUTPUTS,
    })?;
    let mut rows = statement.query((after, limit))?;
    let mut page = RetainedPage::default();
    let (mut seen, mut last) = (0, after);
    while let Some(row) = rows.next()? {
        seen += 1;
        last = row.get(0)?;
        let siginfo: Option<i64> = row.get(9)?;
        let listing_bytes = match (kind, siginfo) {
            (Kind::Mappings, _) => 0,
            (Kind::Siginfo, None) => continue,
            (_, None) => 0,
            (_, Some(siginfo)) => listing_bytes(conn, siginfo, last)?,
        };
        let own = match kind {
            Kind::Mappings => MAPPING_BYTES,
            Kind::Outputs => OUTPUT_BYTES,
            Kind::Siginfo => 0,
        };
        page.rows.push(read(row, own + listing_bytes)?);
    }
    page.next = (seen == limit).then_some(last);
    Ok(page)
}

const MAPPINGS: &str =
    "SELECT unihash.task, unihash.namespace, task.method, task.taskhash, unihash.created,
        unihash.unihash, unihash.sequence, unihash.collection, unihash.used_day, NULL
   FROM unihash CROSS JOIN task ON task.id = unihash.task
  WHERE unihash.task > ?1 ORDER BY unihash.task LIMIT ?2";

const OUTPUTS: &str =
    "SELECT outhash.id, outhash.namespace, outhash.method, task.taskhash, outhash.created,
        unihash.unihash, unihash.sequence, unihash.collection, unihash.used_day, outhash.siginfo
   FROM outhash CROSS JOIN task ON task.id = outhash.task
   LEFT JOIN unihash ON unihash.task = outhash.task
  WHERE outhash.id > ?1 ORDER BY outhash.id LIMIT ?2";

fn read(row: &Row<'_>, bytes: u64) -> rusqlite::Result<RetainedRow> {
    let mapping = match row.get::<_, Option<Hash<Unihash>>>(5)? {
        Some(unihash) => Some(RetainedMapping {
            unihash: unihash.0,
            sequence: row.get(6)?,
            collection: row.get(7)?,
            used_day: row.get(8)?,
        }),
        None => None,
    };
    Ok(RetainedRow {
        id: row.get(0)?,
        namespace: NamespaceId(row.get(1)?),
        method: MethodId(row.get(2)?),
        taskhash: row.get::<_, Hash<Taskhash>>(3)?.0,
        mapping,
        created: row.get::<_, Created>(4)?.about(),
        bytes,
    })
}

/// What a listing takes, for the newest row that names it; nothing for the others.
fn listing_bytes(conn: &Connection, siginfo: i64, output: i64) -> rusqlite::Result<u64> {
    let newest: Option<i64> = conn
        .prepare_cached("SELECT max(id) FROM outhash WHERE siginfo = ?1")?
        .query_row([siginfo], |row| row.get(0))?;
    if newest != Some(output) {
        return Ok(0);
    }
    // SQLite finds the length without reading the text.
    let length: Option<u64> = conn
        .prepare_cached("SELECT max(length(data)) FROM siginfo WHERE id = ?1")?
        .query_row([siginfo], |row| row.get(0))?;
    Ok(length.unwrap_or_default() + LISTING_BYTES)
}

/// Deletes rows that are still as they were seen, for as long as a batch may take.
pub(super) fn expire(
    tx: &mut Tx<'_>,
    kind: Kind,
    rows: &[RetainedRow],
    epoch: &Arc<Epoch>,
) -> rusqlite::Result<Expired> {
    let began = Instant::now();
    let (mut looked, mut gone) = (0, Vec::new());
    let mut deleted: Vec<(NamespaceId, Vec<DeletedTask>)> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        looked += 1;
        if !is_as_seen(tx.conn(), kind, row)? {
            continue;
        }
        gone.push(place);
        match kind {
            Kind::Mappings => remove_mapping(tx.conn(), row, &mut deleted)?,
            Kind::Outputs => remove_output(tx.conn(), row.id)?,
            Kind::Siginfo => remove_listing(tx.conn(), row.id)?,
        }
        if began.elapsed() > BATCH_TIME {
            break;
        }
    }
    for (at, tasks) in deleted {
        epoch.raise(tx, at, &tasks)?;
    }
    Ok(Expired::Looked { looked, gone })
}

/// Whether nobody used, marked or replaced the row since it was read.
fn is_as_seen(conn: &Connection, kind: Kind, row: &RetainedRow) -> rusqlite::Result<bool> {
    let mapping = row.mapping.as_ref();
    let seen = mapping.map(|one| (one.sequence, one.collection, one.used_day));
    let now = match kind {
        Kind::Mappings => conn
            .prepare_cached("SELECT sequence, collection, used_day FROM unihash WHERE task = ?1")?
            .query_row([row.id], triple),
        Kind::Outputs | Kind::Siginfo => conn
            .prepare_cached(
                "SELECT unihash.sequence, unihash.collection, unihash.used_day
                   FROM outhash LEFT JOIN unihash ON unihash.task = outhash.task
                  WHERE outhash.id = ?1",
            )?
            .query_row([row.id], triple),
    };
    match now {
        Ok(now) => Ok(now == seen),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(false),
        Err(error) => Err(error),
    }
}

fn triple(row: &Row<'_>) -> rusqlite::Result<Option<(i64, i64, i64)>> {
    let Some(sequence) = row.get(0)? else {
        return Ok(None);
    };
    Ok(Some((sequence, row.get(1)?, row.get(2)?)))
}

fn remove_mapping(
    conn: &Connection,
    row: &RetainedRow,
    deleted: &mut Vec<(NamespaceId, Vec<DeletedTask>)>,
) -> rusqlite::Result<()> {
    let going = UnihashRow {
        task: row.id,
        method: row.method,
        taskhash: row.taskhash.clone(),
    };
    let task = delete_unihash(conn, &going)?;
    match deleted.iter_mut().find(|(at, _)| *at == row.namespace) {
        Some((_, tasks)) => tasks.extend(task),
        None => deleted.push((row.namespace, task.into_iter().collect())),
    }
    Ok(())
}

pub(super) fn remove_output(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    let row = conn
        .prepare_cached("SELECT id, task, siginfo, created FROM outhash WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(OutputRow {
                id: row.get(0)?,
                task: row.get(1)?,
                siginfo: row.get(2)?,
                created: row.get(3)?,
            })
        })?;
    remove_outputs(conn, &[row])
}

fn remove_listing(conn: &Connection, output: i64) -> rusqlite::Result<()> {
    let siginfo: Option<i64> = conn
        .prepare_cached("SELECT siginfo FROM outhash WHERE id = ?1")?
        .query_row([output], |row| row.get(0))?;
    let Some(siginfo) = siginfo else {
        return Ok(());
    };
    conn.prepare_cached("UPDATE outhash SET siginfo = NULL WHERE id = ?1")?
        .execute([output])?;
    listing::remove_unused(conn, siginfo)
}

/// Notes that tasks were used on this day.
pub(super) fn note_uses(conn: &Connection, tasks: &[i64], day: i64) -> rusqlite::Result<()> {
    let mut update =
        conn.prepare_cached("UPDATE unihash SET used_day = ?2 WHERE task = ?1 AND used_day < ?2")?;
    for task in tasks {
        update.execute((task, day))?;
    }
    Ok(())
}

pub(super) fn put_run(conn: &Connection, run: &RunRecord) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO retention_run
             (started, ended, outcome, rows, bytes, given_back_bytes, why)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        run.started.0,
        run.ended.map(|ended| ended.0),
        run.outcome.as_str(),
        run.rows,
        run.bytes,
        run.given_back_bytes,
        &run.why,
    ))?;
    conn.prepare_cached(
        "DELETE FROM retention_run WHERE started <=
            (SELECT started FROM retention_run ORDER BY started DESC LIMIT 1 OFFSET ?1)",
    )?
    .execute([RUNS])?;
    Ok(())
}

pub(super) fn runs(conn: &Connection, limit: usize) -> rusqlite::Result<Vec<RunRecord>> {
    let mut statement = conn.prepare_cached(
        "SELECT started, ended, outcome, rows, bytes, given_back_bytes, why
           FROM retention_run ORDER BY started DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        Ok(RunRecord {
            started: Timestamp(row.get(0)?),
            ended: row.get::<_, Option<i64>>(1)?.map(Timestamp),
            outcome: Outcome::parse(&row.get::<_, String>(2)?),
            rows: row.get(3)?,
            bytes: row.get(4)?,
            given_back_bytes: row.get(5)?,
            why: row.get(6)?,
        })
    })?;
    rows.collect()
}

pub(super) fn end_runs(conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE retention_run SET outcome = ?1, ended = ?2 WHERE outcome = ?3")?
        .execute((Outcome::Stopped.as_str(), now.0, Outcome::Running.as_str()))?;
    Ok(())
}
