//! Signatures of rows.

use fingerpost_hashequiv_proto::types::{Outhash, Unihash};
use fingerpost_signatures::Signature;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::lookup::first;
use super::tasks::{NamedTask, find_method, find_named, find_task};
use super::value::Hash;
use crate::cache::MethodId;
use crate::namespace::{Chain, NamespaceId};
use crate::signed::{Offered, Put, SIGNATURES_MAX, SignedRow};
use crate::store::Task;

/// Rows of one output that are looked at for evidence, the oldest ones: tasks without
/// any output have the same one by the ten thousand.
const EVIDENCE_ROWS: i64 = 256;

/// The rows of tasks with their signatures, in order.
pub(super) fn rows(
    conn: &Connection,
    at: &Chain,
    tasks: &[Task],
) -> rusqlite::Result<Vec<Option<SignedRow>>> {
    tasks.iter().map(|task| row(conn, at, task)).collect()
}

fn row(conn: &Connection, at: &Chain, task: &Task) -> rusqlite::Result<Option<SignedRow>> {
    let Some(method) = find_method(conn, task.method.as_str())? else {
        return Ok(None);
    };
    let Some(named) = find_named(conn, at.iter(), method, &task.taskhash)? else {
        return Ok(None);
    };
    let NamedTask { at, id, unihash } = named;
    let output = match signed_output(conn, id)? {
        Some(output) => Some(output),
        None => conn
            .prepare_cached("SELECT id, outhash FROM outhash WHERE task = ?1 ORDER BY id LIMIT 1")?
            .query_row([id], output_of)
            .optional()?,
    };
    let (output, outhash) = output.unzip();
    Ok(Some(SignedRow {
        namespace: name(conn, at)?,
        task: task.clone(),
        outhash,
        unihash,
        signatures: output.map_or(Ok(Vec::new()), |output| signatures(conn, output))?,
    }))
}

/// The oldest signed output of a task.
fn signed_output(conn: &Connection, task: i64) -> rusqlite::Result<Option<(i64, Outhash)>> {
    conn.prepare_cached(
        "SELECT outhash.id, outhash.outhash
           FROM signature CROSS JOIN outhash ON outhash.id = signature.output
          WHERE signature.task = ?1 ORDER BY signature.output LIMIT 1",
    )?
    .query_row([task], output_of)
    .optional()
}

fn output_of(row: &Row<'_>) -> rusqlite::Result<(i64, Outhash)> {
    Ok((row.get(0)?, row.get::<_, Hash<Outhash>>(1)?.0))
}

fn name(conn: &Connection, at: NamespaceId) -> rusqlite::Result<String> {
    conn.prepare_cached("SELECT name FROM namespace WHERE id = ?1")?
        .query_row([at.0], |row| row.get(0))
}

/// The texts of a row's signatures, the oldest first.
fn signatures(conn: &Connection, output: i64) -> rusqlite::Result<Vec<String>> {
    let max = SIGNATURES_MAX as i64;
    conn.prepare_cached("SELECT text FROM signature WHERE output = ?1 ORDER BY id LIMIT ?2")?
        .query_map((output, max), |row| row.get(0))?
        .collect()
}

/// The row that speaks for `unihash` as the unihash of a task with this output.
pub(super) fn evidence(
    conn: &Connection,
    at: &Chain,
    task: &Task,
    outhash: &Outhash,
    unihash: &Unihash,
) -> rusqlite::Result<Option<SignedRow>> {
    if let Some(own) = row(conn, at, task)?
        && !own.signatures.is_empty()
        && own.unihash == *unihash
    {
        return Ok(Some(own));
    }
    let Some(method) = find_method(conn, task.method.as_str())? else {
        return Ok(None);
    };
    let of_output = |is_signed| {
        first(at, |at| {
            row_of_output(conn, (at, method, outhash, unihash), task, is_signed)
        })
    };
    match of_output(true)? {
        Some(signed) => Ok(Some(signed)),
        None => of_output(false),
    }
}

/// The oldest row of (method, outhash) that has this unihash, of all or of those
/// that are signed.
fn row_of_output(
    conn: &Connection,
    (at, method, outhash, unihash): (NamespaceId, MethodId, &Outhash, &Unihash),
    task: &Task,
    is_signed: bool,
) -> rusqlite::Result<Option<SignedRow>> {
    let found: Option<(i64, Hash<_>)> = conn
        .prepare_cached(
            "SELECT oldest.id, task.taskhash
               FROM (SELECT id, task FROM outhash
                      WHERE namespace = ?1 AND method = ?2 AND outhash = ?3
                      ORDER BY id LIMIT ?6) AS oldest
               CROSS JOIN unihash ON unihash.task = oldest.task
               CROSS JOIN task ON task.id = oldest.task
              WHERE unihash.unihash = ?4
                AND (NOT ?5 OR EXISTS (SELECT 1 FROM signature
                                        WHERE signature.output = oldest.id))
              ORDER BY oldest.id LIMIT 1",
        )?
        .query_row(
            (
                at.0,
                method.0,
                Hash(outhash),
                Hash(unihash),
                is_signed,
                EVIDENCE_ROWS,
            ),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((output, taskhash)) = found else {
        return Ok(None);
    };
    Ok(Some(SignedRow {
        namespace: name(conn, at)?,
        task: Task {
            method: task.method.clone(),
            taskhash: taskhash.0,
        },
        outhash: Some(outhash.clone()),
        unihash: unihash.clone(),
        signatures: signatures(conn, output)?,
    }))
}

/// Keeps signatures of rows that are exactly the stored ones.
pub(super) fn put(
    conn: &Connection,
    at: NamespaceId,
    offered: &[Offered],
) -> rusqlite::Result<Vec<Put>> {
    offered.iter().map(|one| put_one(conn, at, one)).collect()
}

fn put_one(conn: &Connection, at: NamespaceId, offered: &Offered) -> rusqlite::Result<Put> {
    let Some(method) = find_method(conn, offered.task.method.as_str())? else {
        return Ok(Put::NoRow);
    };
    let known = find_task(conn, at, method, &offered.task.taskhash)?;
    let Some((task, unihash)) = known.and_then(|known| Some((known.id, known.unihash?))) else {
        return Ok(Put::NoRow);
    };
    let output: Option<i64> = conn
        .prepare_cached("SELECT id FROM outhash WHERE task = ?1 AND outhash = ?2")?
        .query_row((task, Hash(&offered.outhash)), |row| row.get(0))
        .optional()?;
    let Some(output) = output else {
        return Ok(Put::NoRow);
    };
    if unihash != offered.unihash {
        return Ok(Put::Mismatch);
    }
    insert(conn, (output, task), &offered.signature)?;
    Ok(Put::Stored)
}

/// Keeps a signature of the row `output`, which is one of `task`. Writes nothing if
/// it is there.
pub(super) fn insert(
    conn: &Connection,
    (output, task): (i64, i64),
    signature: &Signature,
) -> rusqlite::Result<()> {
    let (key, text) = (signature.key().to_bytes(), signature.to_string());
    let is_there = conn
        .prepare_cached("SELECT 1 FROM signature WHERE output = ?1 AND key = ?2 AND text = ?3")?
        .exists((output, key, &text))?;
    if is_there {
        return Ok(());
    }
    conn.prepare_cached("DELETE FROM signature WHERE output = ?1 AND key = ?2")?
        .execute((output, key))?;
    conn.prepare_cached("INSERT INTO signature (output, task, key, text) VALUES (?1, ?2, ?3, ?4)")?
        .execute((output, task, key, text))?;
    conn.prepare_cached(
        "DELETE FROM signature WHERE output = ?1 AND id <= (SELECT id FROM signature
                 WHERE output = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute((output, SIGNATURES_MAX as i64))?;
    Ok(())
}
