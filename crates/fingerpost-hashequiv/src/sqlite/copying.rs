//! Giving and taking rows as they are.

use std::collections::HashMap;
use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::Tx;
use fingerpost_hashequiv_proto::types::{Method, Taskhash, Unihash};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::collect::delete_unihash;
use super::listing;
use super::lookup::{ROW, read_row};
use super::retained::remove_output;
use super::rows::UnihashRow;
use super::tasks::{find_method, find_task, insert_task, intern_method};
use super::value::Hash;
use super::{SqliteStore, failed, report};
use crate::copying::{
    Collection, Collections, CopyPage, CopyStore, MappingCopy, OutputCopy, RowCounts,
};
use crate::created::Created;
use crate::listings::{Prepared, StoredListing};
use crate::namespace::NamespaceId;
use crate::paging::OutputKey;
use crate::store::{OutputRow, StoreError, Stored, Task};

impl CopyStore for SqliteStore {
    fn mapping_copies(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<MappingCopy>> {
        Box::pin(async move {
            let job = move |conn: &Connection| mappings(conn, at, after, limit);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn mapping_copies_of(
        &self,
        at: NamespaceId,
        tasks: Vec<Task>,
    ) -> Stored<'_, Vec<Option<MappingCopy>>> {
        Box::pin(async move {
            let job = move |conn: &Connection| {
                let each = tasks.iter().map(|task| mapping_of(conn, at, task));
                each.collect::<rusqlite::Result<Vec<_>>>()
            };
            self.db.read(job).await.map_err(failed)
        })
    }

    fn output_copies(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<OutputCopy>> {
        Box::pin(async move {
            let job = move |conn: &Connection| outputs(conn, at, after, limit);
            let (raw, next) = self.db.read(job).await.map_err(failed)?;
            let decoded = raw.into_iter().map(|(mut row, listing, signatures)| {
                row.siginfo = listing.map(StoredListing::decode).transpose()?;
                Ok::<_, StoreError>(OutputCopy { row, signatures })
            });
            Ok(CopyPage {
                rows: decoded.collect::<Result<_, _>>()?,
                next,
            })
        })
    }

    fn output_keys(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<OutputKey>> {
        Box::pin(async move {
            let job = move |conn: &Connection| output_keys(conn, at, after, limit);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn signatures_of(
        &self,
        at: NamespaceId,
        keys: Vec<OutputKey>,
    ) -> Stored<'_, Vec<Option<Vec<String>>>> {
        Box::pin(async move {
            let job = move |conn: &Connection| {
                let of = |key| match find_output(conn, at, key)? {
                    Some((output, _)) => signatures(conn, output).map(Some),
                    None => Ok(None),
                };
                keys.iter().map(of).collect::<rusqlite::Result<Vec<_>>>()
            };
            self.db.read(job).await.map_err(failed)
        })
    }

    fn newest_output(&self, at: NamespaceId) -> Stored<'_, i64> {
        Box::pin(async move {
            let job = move |conn: &Connection| newest_output(conn, at);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn collections(&self, at: NamespaceId) -> Stored<'_, Collections> {
        Box::pin(async move {
            let job = move |conn: &Connection| collections(conn, at);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn row_counts(&self, at: NamespaceId) -> Stored<'_, RowCounts> {
        Box::pin(async move {
            let job = move |conn: &Connection| row_counts(conn, at);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn put_mappings(&self, at: NamespaceId, rows: Vec<MappingCopy>) -> Stored<'_, ()> {
        Box::pin(async move {
            let job = move |tx: &mut Tx<'_>| {
                let mut rows = rows.iter();
                rows.try_for_each(|row| put_mapping(tx.conn(), at, row))
            };
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn put_outputs(&self, at: NamespaceId, rows: Vec<OutputCopy>) -> Stored<'_, ()> {
        Box::pin(async move {
            let mut prepared = Vec::with_capacity(rows.len());
            for copy in rows {
                let listing = self.prepare_listing(&copy.as_report()).await?;
                prepared.push((copy, listing));
            }
            let bases = Arc::clone(&self.bases);
            let job = move |tx: &mut Tx<'_>| {
                let mut rows = prepared.iter();
                rows.try_for_each(|(copy, listing)| {
                    put_output(tx, at, copy, listing.as_ref(), &bases)
                })
            };
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn put_signature_texts(
        &self,
        at: NamespaceId,
        signed: Vec<(OutputKey, Vec<String>)>,
    ) -> Stored<'_, ()> {
        Box::pin(async move {
            let job = move |tx: &mut Tx<'_>| {
                for (key, texts) in &signed {
                    if let Some((output, task)) = find_output(tx.conn(), at, key)? {
                        put_texts(tx.conn(), output, task, texts)?;
                    }
                }
                Ok(())
            };
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn drop_mappings(&self, at: NamespaceId, tasks: Vec<Task>) -> Stored<'_, ()> {
        let epoch = Arc::clone(&self.epoch);
        Box::pin(async move {
            let job = move |tx: &mut Tx<'_>| {
                let mut deleted = Vec::new();
                for task in &tasks {
                    if let Some(row) = unihash_row(tx.conn(), at, task)? {
                        deleted.extend(delete_unihash(tx.conn(), &row)?);
                    }
                }
                epoch.raise(tx, at, &deleted)
            };
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn drop_outputs(&self, at: NamespaceId, keys: Vec<OutputKey>) -> Stored<'_, ()> {
        Box::pin(async move {
            let job = move |tx: &mut Tx<'_>| {
                for key in &keys {
                    if let Some((output, _)) = find_output(tx.conn(), at, key)? {
                        remove_output(tx.conn(), output)?;
                    }
                }
                Ok(())
            };
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn put_collections(
        &self,
        at: NamespaceId,
        collections: Collections,
    ) -> Stored<'_, HashMap<i64, i64>> {
        Box::pin(async move {
            let job = move |tx: &mut Tx<'_>| put_collections(tx.conn(), at, &collections);
            self.db.write_background(job).await.map_err(failed)
        })
    }

    fn copy_state(&self) -> Stored<'_, Option<String>> {
        Box::pin(async move { self.db.read(state).await.map_err(failed) })
    }

    fn put_copy_state(&self, state: Option<String>) -> Stored<'_, ()> {
        Box::pin(async move {
            let job = move |tx: &mut Tx<'_>| put_state(tx.conn(), state.as_deref());
            self.db.write_background(job).await.map_err(failed)
        })
    }
}

const MAPPING: &str = "
    SELECT unihash.sequence, method.name, task.taskhash, unihash.unihash, unihash.created,
           unihash.used_day, unihash.collection
      FROM unihash CROSS JOIN task ON task.id = unihash.task
     CROSS JOIN method ON method.id = task.method";

fn mapping(row: &Row<'_>) -> rusqlite::Result<MappingCopy> {
    Ok(MappingCopy {
        place: row.get(0)?,
        task: Task {
            method: Method::new(row.get::<_, String>(1)?),
            taskhash: row.get::<_, Hash<Taskhash>>(2)?.0,
        },
        unihash: row.get::<_, Hash<Unihash>>(3)?.0,
        created: Timestamp(row.get(4)?),
        used_day: row.get(5)?,
        collection: row.get(6)?,
    })
}

fn mappings(
    conn: &Connection,
    at: NamespaceId,
    after: i64,
    limit: usize,
) -> rusqlite::Result<CopyPage<MappingCopy>> {
    let rows: Vec<MappingCopy> = conn
        .prepare_cached(&format!(
            "{MAPPING} WHERE unihash.namespace = ?1 AND unihash.sequence > ?2
              ORDER BY unihash.sequence LIMIT ?3"
        ))?
        .query_map((at.0, after, limit), mapping)?
        .collect::<rusqlite::Result<_>>()?;
    let next = (rows.len() == limit).then(|| rows.last().map(|row| row.place));
    Ok(CopyPage {
        next: next.flatten(),
        rows,
    })
}

fn mapping_of(
    conn: &Connection,
    at: NamespaceId,
    task: &Task,
) -> rusqlite::Result<Option<MappingCopy>> {
    let Some(method) = find_method(conn, task.method.as_str())? else {
        return Ok(None);
    };
    conn.prepare_cached(&format!(
        "{MAPPING} WHERE unihash.task = (SELECT id FROM task WHERE namespace = ?1
                                          AND method = ?2 AND taskhash = ?3)"
    ))?
    .query_row((at.0, method.0, Hash(&task.taskhash)), mapping)
    .optional()
}

/// A row as it was read, its listing still encoded.
type RawOutput = (OutputRow, Option<StoredListing>, Vec<String>);

fn outputs(
    conn: &Connection,
    at: NamespaceId,
    after: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<RawOutput>, Option<i64>)> {
    let found: Vec<(OutputRow, Option<i64>)> = conn
        .prepare_cached(&format!(
            "{ROW} WHERE +outhash.namespace = ?1 AND outhash.id > ?2
              ORDER BY outhash.id LIMIT ?3"
        ))?
        .query_map((at.0, after, limit), |row| {
            Ok((read_row(row, false)?, row.get(12)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let next = (found.len() == limit).then(|| found.last().map(|(row, _)| row.id));
    let mut rows = Vec::with_capacity(found.len());
    for (row, siginfo) in found {
        let listing = match siginfo {
            Some(siginfo) => listing::read(conn, siginfo)?,
            None => None,
        };
        let signatures = signatures(conn, row.id)?;
        rows.push((row, listing, signatures));
    }
    Ok((rows, next.flatten()))
}

fn output_keys(
    conn: &Connection,
    at: NamespaceId,
    after: i64,
    limit: usize,
) -> rusqlite::Result<CopyPage<OutputKey>> {
    let found: Vec<OutputRow> = conn
        .prepare_cached(&format!(
            "{ROW} WHERE +outhash.namespace = ?1 AND outhash.id > ?2
              ORDER BY outhash.id LIMIT ?3"
        ))?
        .query_map((at.0, after, limit), |row| read_row(row, false))?
        .collect::<rusqlite::Result<_>>()?;
    let next = (found.len() == limit).then(|| found.last().map(|row| row.id));
    let key = |row: OutputRow| OutputKey {
        task: Task {
            method: row.method,
            taskhash: row.taskhash,
        },
        outhash: row.outhash,
    };
    Ok(CopyPage {
        next: next.flatten(),
        rows: found.into_iter().map(key).collect(),
    })
}

/// The numbers of an output and of its task.
fn find_output(
    conn: &Connection,
    at: NamespaceId,
    key: &OutputKey,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let Some(method) = find_method(conn, key.task.method.as_str())? else {
        return Ok(None);
    };
    let Some(task) = find_task(conn, at, method, &key.task.taskhash)? else {
        return Ok(None);
    };
    let output: Option<i64> = conn
        .prepare_cached("SELECT id FROM outhash WHERE task = ?1 AND outhash = ?2")?
        .query_row((task.id, Hash(&key.outhash)), |row| row.get(0))
        .optional()?;
    Ok(output.map(|output| (output, task.id)))
}

fn signatures(conn: &Connection, output: i64) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached("SELECT text FROM signature WHERE output = ?1 ORDER BY id")?
        .query_map([output], |row| row.get(0))?
        .collect()
}

fn newest_output(conn: &Connection, at: NamespaceId) -> rusqlite::Result<i64> {
    let newest: Option<i64> = conn
        .prepare_cached("SELECT id FROM outhash WHERE +namespace = ?1 ORDER BY id DESC LIMIT 1")?
        .query_row([at.0], |row| row.get(0))
        .optional()?;
    Ok(newest.unwrap_or(0))
}

fn collections(conn: &Connection, at: NamespaceId) -> rusqlite::Result<Collections> {
    let all = conn
        .prepare_cached(
            "SELECT id, mark, started FROM collection WHERE namespace = ?1 AND id > 0 ORDER BY id",
        )?
        .query_map([at.0], |row| {
            Ok(Collection {
                id: row.get(0)?,
                mark: row.get(1)?,
                started: Timestamp(row.get(2)?),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let running = conn
        .prepare_cached("SELECT collection FROM namespace WHERE id = ?1")?
        .query_row([at.0], |row| row.get(0))?;
    Ok(Collections { all, running })
}

fn row_counts(conn: &Connection, at: NamespaceId) -> rusqlite::Result<RowCounts> {
    let count = |sql: &str| conn.query_row(sql, [at.0], |row| row.get::<_, u64>(0));
    Ok(RowCounts {
        mappings: count("SELECT count(*) FROM unihash WHERE namespace = ?1")?,
        outputs: count("SELECT count(*) FROM outhash WHERE namespace = ?1")?,
        listings: count(
            "SELECT count(*) FROM outhash WHERE siginfo IS NOT NULL AND +namespace = ?1",
        )?,
        signatures: count(
            "SELECT count(*) FROM signature CROSS JOIN outhash ON outhash.id = signature.output
              WHERE outhash.namespace = ?1",
        )?,
    })
}

fn put_mapping(conn: &Connection, at: NamespaceId, row: &MappingCopy) -> rusqlite::Result<()> {
    let method = intern_method(conn, row.task.method.as_str())?;
    let known = find_task(conn, at, method, &row.task.taskhash)?;
    let task = match &known {
        Some(known) => known.id,
        None => insert_task(conn, at, method, &row.task.taskhash)?,
    };
    if known.and_then(|known| known.unihash).is_none() {
        report::insert_unihash(conn, at, task, &row.unihash, row.created)?;
    }
    conn.prepare_cached(
        "UPDATE unihash SET unihash = ?2, created = ?3, used_day = ?4, collection = ?5
          WHERE task = ?1",
    )?
    .execute((
        task,
        Hash(&row.unihash),
        row.created.0,
        row.used_day,
        row.collection,
    ))?;
    Ok(())
}

fn put_output(
    tx: &mut Tx<'_>,
    at: NamespaceId,
    copy: &OutputCopy,
    listing: Option<&Prepared>,
    bases: &Arc<crate::listings::Bases>,
) -> rusqlite::Result<()> {
    let row = &copy.row;
    let method = intern_method(tx.conn(), row.method.as_str())?;
    let task = match find_task(tx.conn(), at, method, &row.taskhash)? {
        Some(known) => known.id,
        None => insert_task(tx.conn(), at, method, &row.taskhash)?,
    };
    if !report::has_output(tx.conn(), task, &row.outhash)? {
        let siginfo = match (listing, &row.siginfo) {
            (Some(prepared), Some(text)) => {
                Some(listing::store(tx, method, text, prepared, bases)?)
            }
            _ => None,
        };
        report::insert_output(
            tx.conn(),
            (at, method, task),
            &row.outhash,
            &Created::from_text(row.created.as_deref()),
            &row.metadata,
            siginfo,
        )?;
    }
    let key = copy.key();
    match find_output(tx.conn(), at, &key)? {
        Some((output, task)) if !copy.signatures.is_empty() => {
            put_texts(tx.conn(), output, task, &copy.signatures)
        }
        _ => Ok(()),
    }
}

/// Replaces the signatures of an output.
fn put_texts(conn: &Connection, output: i64, task: i64, texts: &[String]) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM signature WHERE output = ?1")?
        .execute([output])?;
    for text in texts {
        // What is none was damaged in the source, and no reader could use it.
        if let Ok(signature) = text.parse() {
            super::signed::insert(conn, (output, task), &signature)?;
        }
    }
    Ok(())
}

fn unihash_row(
    conn: &Connection,
    at: NamespaceId,
    task: &Task,
) -> rusqlite::Result<Option<UnihashRow>> {
    let Some(method) = find_method(conn, task.method.as_str())? else {
        return Ok(None);
    };
    let known = find_task(conn, at, method, &task.taskhash)?;
    let known = known.filter(|known| known.unihash.is_some());
    Ok(known.map(|known| UnihashRow {
        task: known.id,
        method,
        taskhash: task.taskhash.clone(),
    }))
}

fn put_collections(
    conn: &Connection,
    at: NamespaceId,
    collections: &Collections,
) -> rusqlite::Result<HashMap<i64, i64>> {
    let mut numbers = HashMap::new();
    for collection in &collections.all {
        let values = (at.0, &collection.mark, collection.started.0);
        let known: Option<i64> = conn
            .prepare_cached(
                "SELECT id FROM collection WHERE namespace = ?1 AND mark = ?2 AND started = ?3",
            )?
            .query_row(values, |row| row.get(0))
            .optional()?;
        let number = match known {
            Some(known) => known,
            None => conn
                .prepare_cached(
                    "INSERT INTO collection (namespace, mark, started) VALUES (?1, ?2, ?3)",
                )?
                .insert(values)?,
        };
        numbers.insert(collection.id, number);
    }
    let running = collections
        .running
        .map(|running| numbers.get(&running).copied().unwrap_or(0));
    conn.prepare_cached("UPDATE namespace SET collection = ?2 WHERE id = ?1")?
        .execute((at.0, running))?;
    Ok(numbers)
}

/// The table is there while a copy is under way, and no part of the schema.
const STATE_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS copy_state (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT)";

fn state(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let is_there = conn
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'copy_state'")?
        .exists([])?;
    if !is_there {
        return Ok(None);
    }
    conn.query_row("SELECT state FROM copy_state", [], |row| row.get(0))
        .optional()
}

fn put_state(conn: &Connection, state: Option<&str>) -> rusqlite::Result<()> {
    let Some(state) = state else {
        return conn.execute_batch("DROP TABLE IF EXISTS copy_state");
    };
    conn.execute_batch(STATE_TABLE)?;
    conn.prepare_cached("INSERT OR REPLACE INTO copy_state (id, state) VALUES (1, ?1)")?
        .execute([state])?;
    Ok(())
}
