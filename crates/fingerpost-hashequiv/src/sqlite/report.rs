//! Adding.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::{Outhash, Unihash};
use rusqlite::Connection;

use super::listing;
use super::lookup::oldest_match;
use super::tasks::{KnownTask, find_named, find_task, insert_task, intern_metadata, intern_method};
use super::value::Hash;
use crate::cache::{MethodId, UnihashCache};
use crate::created::Created;
use crate::listings::{Bases, Prepared};
use crate::namespace::{Chain, NamespaceId};
use crate::store::{CopiedRow, Metadata, Report, Settled, StoreOptions, Task};
use fingerpost_hashequiv_proto::rules::{self, Evidence, Verdict};

/// Stores a report.
pub(super) fn store(
    tx: &mut fingerpost_db::Tx<'_>,
    at: &Chain,
    report: &Report,
    listing: Option<&Prepared>,
    bases: &Arc<Bases>,
    cache: &UnihashCache,
    options: StoreOptions,
) -> rusqlite::Result<Settled> {
    let conn = tx.conn();
    let method = match cache.method(report.task.method.as_str().as_bytes()) {
        Some(method) => method,
        None => intern_method(conn, report.task.method.as_str())?,
    };
    let known = find_task(conn, at.own(), method, &report.task.taskhash)?;
    let verdict = settle(conn, at, method, known.as_ref(), report, options)?;
    let task = match &known {
        Some(known) => known.id,
        None => insert_task(conn, at.own(), method, &report.task.taskhash)?,
    };
    match &verdict {
        Verdict::Adopt(unihash) => insert_unihash(conn, at.own(), task, unihash, report.now)?,
        Verdict::Keep(_) => touch(conn, task, known.as_ref(), report.now, options)?,
    }
    let new_output = match &report.outhash {
        Some(outhash) if known.is_none() || !has_output(conn, task, outhash)? => {
            let siginfo = match (listing, &report.siginfo) {
                (Some(prepared), Some(text)) => {
                    Some(listing::store(tx, method, text, prepared, bases)?)
                }
                _ => None,
            };
            let created = Created::At(report.now);
            insert_output(
                tx.conn(),
                (at.own(), method, task),
                outhash,
                &created,
                &report.metadata,
                siginfo,
            )?;
            true
        }
        _ => false,
    };
    Ok(Settled {
        unihash: verdict.unihash().clone(),
        adopted: matches!(verdict, Verdict::Adopt(_)),
        new_output,
    })
}

fn settle(
    conn: &Connection,
    at: &Chain,
    method: MethodId,
    known: Option<&KnownTask>,
    report: &Report,
    options: StoreOptions,
) -> rusqlite::Result<Verdict> {
    let valid_only = !options.match_invalid_unihashes;
    let existing = known.and_then(|known| known.unihash.as_ref());
    let inherited = match existing {
        None => inherited(conn, at, method, &report.task, valid_only)?,
        Some(_) => None,
    };
    let oldest_match = match &report.outhash {
        Some(outhash) if existing.is_none() && inherited.is_none() => {
            oldest_match(conn, at, method, outhash, valid_only)?
        }
        _ => None,
    };
    let evidence = Evidence {
        existing,
        inherited: inherited.as_ref(),
        oldest_match: oldest_match.as_ref().map(|(_, unihash)| unihash),
        upstream: report.upstream.as_ref(),
    };
    Ok(rules::settle(&report.proposed, evidence))
}

/// The unihash that a task has in a namespace that reads fall back to: whoever
/// looked the task up was told this one.
fn inherited(
    conn: &Connection,
    at: &Chain,
    method: MethodId,
    task: &Task,
    valid_only: bool,
) -> rusqlite::Result<Option<Unihash>> {
    let further = at.further().iter().copied();
    let named = find_named(conn, further, method, &task.taskhash)?;
    let unihash = named.map(|named| named.unihash);
    Ok(unihash.filter(|unihash| unihash.is_valid() || !valid_only))
}

/// Gives a task its unihash unless it has one; returns what it has now.
pub(super) fn store_equiv(
    conn: &Connection,
    at: &Chain,
    task: &Task,
    proposed: &Unihash,
    now: Timestamp,
    options: StoreOptions,
) -> rusqlite::Result<Unihash> {
    let method = intern_method(conn, task.method.as_str())?;
    let known = find_task(conn, at.own(), method, &task.taskhash)?;
    let existing = known.as_ref().and_then(|known| known.unihash.as_ref());
    let inherited = match existing {
        None => inherited(conn, at, method, task, !options.match_invalid_unihashes)?,
        Some(_) => None,
    };
    let verdict = rules::settle_equiv(proposed, existing, inherited.as_ref());
    if let Verdict::Adopt(unihash) = &verdict {
        let task = match &known {
            Some(known) => known.id,
            None => insert_task(conn, at.own(), method, &task.taskhash)?,
        };
        insert_unihash(conn, at.own(), task, unihash, now)?;
    }
    Ok(verdict.unihash().clone())
}

/// Keeps a row of an upstream.
pub(super) fn copy(
    conn: &Connection,
    at: NamespaceId,
    row: &CopiedRow,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let method = intern_method(conn, row.task.method.as_str())?;
    let known = find_task(conn, at, method, &row.task.taskhash)?;
    let task = match &known {
        Some(known) => known.id,
        None => insert_task(conn, at, method, &row.task.taskhash)?,
    };
    let has_unihash = known.is_some_and(|known| known.unihash.is_some());
    if let Some(unihash) = row.unihash.as_ref().filter(|_| !has_unihash) {
        insert_unihash(conn, at, task, unihash, now)?;
    }
    let Some(output) = &row.output else {
        return Ok(());
    };
    if has_output(conn, task, &output.outhash)? {
        return Ok(());
    }
    let siginfo = match &output.siginfo {
        Some(text) => Some(listing::store_alone(conn, text)?),
        None => None,
    };
    let created = Created::from_text(output.created.as_deref());
    insert_output(
        conn,
        (at, method, task),
        &output.outhash,
        &created,
        &output.metadata,
        siginfo,
    )
}

pub(super) fn has_output(
    conn: &Connection,
    task: i64,
    outhash: &Outhash,
) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM outhash WHERE task = ?1 AND outhash = ?2")?
        .exists((task, Hash(outhash)))
}

pub(super) fn insert_unihash(
    conn: &Connection,
    at: NamespaceId,
    task: i64,
    unihash: &Unihash,
    now: Timestamp,
) -> rusqlite::Result<()> {
    // A new row belongs to the running collection, so that a sweep keeps it.
    let (sequence, collection): (i64, i64) = conn
        .prepare_cached(
            "UPDATE namespace SET unihash_sequence = unihash_sequence + 1 WHERE id = ?1
             RETURNING unihash_sequence, ifnull(collection, 0)",
        )?
        .query_row([at.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    conn.prepare_cached(
        "INSERT INTO unihash (task, namespace, unihash, sequence, created, used_day, collection)
              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        task,
        at.0,
        Hash(unihash),
        sequence,
        now.0,
        now.day(),
        collection,
    ))?;
    Ok(())
}

/// Notes that a task is in use: by the day, so that it costs one write a day.
fn touch(
    conn: &Connection,
    task: i64,
    known: Option<&KnownTask>,
    now: Timestamp,
    options: StoreOptions,
) -> rusqlite::Result<()> {
    let day = now.day();
    if known.and_then(|known| known.used_day) != Some(day) {
        conn.prepare_cached("UPDATE unihash SET used_day = max(used_day, ?2) WHERE task = ?1")?
            .execute((task, day))?;
    }
    if options.remark_on_report {
        conn.prepare_cached(
            "UPDATE unihash SET collection = namespace.collection FROM namespace
              WHERE unihash.task = ?1 AND namespace.id = unihash.namespace
                AND namespace.collection <> unihash.collection",
        )?
        .execute([task])?;
    }
    Ok(())
}

pub(super) fn insert_output(
    conn: &Connection,
    (at, method, task): (NamespaceId, MethodId, i64),
    outhash: &Outhash,
    created: &Created,
    metadata: &Metadata,
    siginfo: Option<i64>,
) -> rusqlite::Result<()> {
    let metadata = intern_metadata(conn, metadata)?;
    conn.prepare_cached(
        "INSERT INTO outhash (namespace, method, task, outhash, created, metadata, siginfo)
              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        at.0,
        method.0,
        task,
        Hash(outhash),
        created,
        metadata,
        siginfo,
    ))?;
    Ok(())
}
