//! What changed since a position, and every mapping page by page.

use std::collections::HashMap;
use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::{DbError, Sqlite, Tx};
use fingerpost_snapshot::{Change, Signed};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::changes::{ChangeFilter, Changes, ChangesSince, Cut, Mapping, MappingPage};
use crate::namespace::NamespaceId;

/// Where a namespace's sequence is, and its deletion epoch.
pub(super) fn cut(conn: &Connection, at: NamespaceId) -> rusqlite::Result<Cut> {
    conn.prepare_cached("SELECT unihash_sequence, deletion_epoch FROM namespace WHERE id = ?1")?
        .query_row([at.0], |row| {
            Ok(Cut {
                position: number(row, 0)?,
                epoch: number(row, 1)?,
            })
        })
}

/// The mappings among the next `limit` rows of all namespaces after the task `after`,
/// in the order of tasks. Another namespace's rows count against `limit`, so that a
/// page costs the same wherever it is.
pub(super) fn mappings(
    conn: &Connection,
    at: NamespaceId,
    after: i64,
    limit: usize,
) -> rusqlite::Result<MappingPage> {
    let mut names = Names::default();
    let mut page = MappingPage::default();
    let mut statement = conn.prepare_cached(
        "SELECT unihash.task, unihash.namespace, task.method, task.taskhash, unihash.unihash
           FROM unihash CROSS JOIN task ON task.id = unihash.task
          WHERE unihash.task > ?1 ORDER BY unihash.task LIMIT ?2",
    )?;
    // Where nobody signs nothing is asked for each row.
    let are_signed = conn
        .prepare_cached("SELECT 1 FROM signature LIMIT 1")?
        .exists([])?;
    let mut rows = statement.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let (mut seen, mut last) = (0, after);
    while let Some(row) = rows.next()? {
        seen += 1;
        last = row.get(0)?;
        if row.get::<_, u32>(1)? != at.0 {
            continue;
        }
        let method = names.of(conn, row.get(2)?)?;
        match (hash(row, 3)?, hash(row, 4)?, method) {
            (Some(taskhash), Some(unihash), Some(method)) => page.rows.push(Mapping {
                method,
                taskhash,
                unihash,
                signed: match are_signed {
                    true => signed(conn, last)?,
                    false => None,
                },
            }),
            _ => page.left_out += 1,
        }
    }
    page.next = (seen == limit).then_some(last);
    Ok(page)
}

/// The newest signature of the oldest signed row of a task.
fn signed(conn: &Connection, task: i64) -> rusqlite::Result<Option<Signed>> {
    let found: Option<Option<Signed>> = conn
        .prepare_cached(
            "SELECT outhash.outhash, signature.text
               FROM signature CROSS JOIN outhash ON outhash.id = signature.output
              WHERE signature.task = ?1 ORDER BY signature.output, signature.id DESC LIMIT 1",
        )?
        .query_row([task], |row| {
            let (outhash, signature) = (hash(row, 0)?, row.get(1)?);
            Ok(outhash.map(|outhash| Signed { outhash, signature }))
        })
        .optional()?;
    Ok(found.flatten())
}

/// At most `limit` changes after a position. To be run in one snapshot of the file.
pub(super) fn since(
    conn: &Connection,
    at: NamespaceId,
    position: u64,
    limit: usize,
    filter: ChangeFilter,
) -> rusqlite::Result<ChangesSince> {
    let (cut, floor) = (cut(conn, at)?, floor(conn, at)?);
    // What is ahead of us belongs to another life of the file.
    if position < floor || position > cut.position {
        return Ok(ChangesSince::Gone {
            oldest: floor,
            newest: cut.position,
        });
    }
    let mut names = Names::default();
    let mut changes = match filter {
        ChangeFilter::All => added(conn, at, position, limit, &mut names)?,
        ChangeFilter::Deletions => Vec::new(),
    };
    changes.extend(removed(conn, at, position, limit, &mut names)?);
    changes.sort_unstable_by_key(|(position, _)| *position);
    // Each of both told all that it has up to the place where this is cut.
    let is_all = changes.len() < limit;
    changes.truncate(limit);
    let told = changes.last().map_or(position, |(position, _)| *position);
    Ok(ChangesSince::Told(Changes {
        epoch: epoch_at(conn, at, position, cut.epoch)?,
        changes: changes
            .into_iter()
            .filter_map(|(_, change)| change)
            .collect(),
        position: if is_all { cut.position } else { told },
        is_all,
    }))
}

/// A change with its position; none if it is of no hash that can be told.
type Placed = (u64, Option<Change>);

fn added(
    conn: &Connection,
    at: NamespaceId,
    position: u64,
    limit: usize,
    names: &mut Names,
) -> rusqlite::Result<Vec<Placed>> {
    let mut statement = conn.prepare_cached(
        "SELECT unihash.sequence, task.method, task.taskhash, unihash.unihash
           FROM unihash INDEXED BY unihash_by_sequence
                CROSS JOIN task ON task.id = unihash.task
          WHERE unihash.namespace = ?1 AND unihash.sequence > ?2
          ORDER BY unihash.sequence LIMIT ?3",
    )?;
    let mut rows = statement.query((at.0, position, limit))?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let position = number(row, 0)?;
        let method = names.of(conn, row.get(1)?)?;
        let change = match (method, hash(row, 2)?, hash(row, 3)?) {
            (Some(method), Some(taskhash), Some(unihash)) => Some(Change::Adopted {
                position,
                method: method.to_string(),
                taskhash,
                unihash,
            }),
            _ => None,
        };
        changes.push((position, change));
    }
    Ok(changes)
}

fn removed(
    conn: &Connection,
    at: NamespaceId,
    position: u64,
    limit: usize,
    names: &mut Names,
) -> rusqlite::Result<Vec<Placed>> {
    let mut statement = conn.prepare_cached(
        "SELECT sequence, epoch, method, taskhash FROM deletion
          WHERE namespace = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
    )?;
    let mut rows = statement.query((at.0, position, limit))?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let position = number(row, 0)?;
        let change = match row.get::<_, Option<i64>>(1)? {
            Some(epoch) => Some(Change::Epoch {
                position,
                epoch: epoch.unsigned_abs(),
            }),
            None => {
                let method = names.of(conn, row.get(2)?)?;
                method
                    .zip(hash(row, 3)?)
                    .map(|(method, taskhash)| Change::Deleted {
                        position,
                        method: method.to_string(),
                        taskhash,
                    })
            }
        };
        changes.push((position, change));
    }
    Ok(changes)
}

/// The epoch at a position: each raise is kept, and raises by one.
fn epoch_at(conn: &Connection, at: NamespaceId, position: u64, now: u64) -> rusqlite::Result<u64> {
    let next: Option<i64> = conn
        .prepare_cached(
            "SELECT epoch FROM deletion
              WHERE namespace = ?1 AND sequence > ?2 AND epoch IS NOT NULL
              ORDER BY sequence LIMIT 1",
        )?
        .query_row((at.0, position), |row| row.get(0))
        .optional()?;
    Ok(next.map_or(now, |epoch| epoch.unsigned_abs().saturating_sub(1)))
}

fn floor(conn: &Connection, at: NamespaceId) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT changes_floor FROM namespace WHERE id = ?1")?
        .query_row([at.0], |row| number(row, 0))
}

/// Deletions that one transaction forgets at most.
const FORGOTTEN_ROWS: usize = 1000;

/// Forgets deletions of before `before` in small transactions, and notes where
/// the sequences are `now`. Returns how many rows went.
pub(super) async fn forget(db: &Sqlite, before: Timestamp, now: Timestamp) -> Result<u64, DbError> {
    let mark = move |tx: &mut Tx<'_>| mark(tx.conn(), before, now);
    db.write_background(mark).await?;
    let mut total = 0;
    loop {
        let gone = db.write_background(|tx| forget_some(tx.conn())).await?;
        if gone == 0 {
            return Ok(total);
        }
        total += gone as u64;
    }
}

fn mark(conn: &Connection, before: Timestamp, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO change_mark (namespace, position, at)
         SELECT id, unihash_sequence, ?1 FROM namespace WHERE true ON CONFLICT DO NOTHING",
    )?
    .execute([now.0])?;
    conn.prepare_cached(
        "UPDATE namespace SET changes_floor = max(changes_floor, ifnull(
            (SELECT max(position) FROM change_mark
              WHERE change_mark.namespace = namespace.id AND at <= ?1), 0))",
    )?
    .execute([before.0])?;
    conn.prepare_cached(
        "DELETE FROM change_mark WHERE position <
            (SELECT changes_floor FROM namespace WHERE id = change_mark.namespace)",
    )?
    .execute([])?;
    Ok(())
}

fn forget_some(conn: &Connection) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM deletion WHERE (namespace, sequence) IN (
            SELECT deletion.namespace, deletion.sequence
              FROM namespace CROSS JOIN deletion ON deletion.namespace = namespace.id
                   AND deletion.sequence <= namespace.changes_floor
             LIMIT ?1)",
    )?
    .execute([FORGOTTEN_ROWS])
}

/// How far the sequences jump when the file begins another life: no position that
/// was told in the old one is met again.
const JUMP: i64 = 1 << 32;

/// Sees to it that nobody goes on from a position of another life of the file.
pub(super) async fn settle_history(db: &Sqlite) -> Result<(), DbError> {
    let incarnation = db.incarnation();
    if db.read(history).await? == Some(incarnation) {
        return Ok(());
    }
    db.write(move |tx| {
        let conn = tx.conn();
        match history(conn)? {
            Some(known) if known == incarnation => return Ok(()),
            None => {}
            Some(_) => {
                conn.execute("DELETE FROM deletion", [])?;
                conn.execute("DELETE FROM change_mark", [])?;
                conn.execute(
                    "UPDATE namespace SET unihash_sequence = unihash_sequence + ?1,
                                          changes_floor = unihash_sequence + ?1",
                    [JUMP],
                )?;
            }
        }
        conn.execute(
            "INSERT INTO change_history (id, incarnation) VALUES (1, ?1)
             ON CONFLICT DO UPDATE SET incarnation = excluded.incarnation",
            [incarnation],
        )?;
        Ok(())
    })
    .await
}

fn history(conn: &Connection) -> rusqlite::Result<Option<[u8; 16]>> {
    conn.query_row("SELECT incarnation FROM change_history", [], |row| {
        row.get(0)
    })
    .optional()
}

/// The names of methods that were met.
#[derive(Default)]
struct Names(HashMap<i64, Option<Arc<str>>>);

impl Names {
    fn of(&mut self, conn: &Connection, method: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if let Some(known) = self.0.get(&method) {
            return Ok(known.clone());
        }
        let name: Option<String> = conn
            .prepare_cached("SELECT name FROM method WHERE id = ?1")?
            .query_row([method], |row| row.get(0))
            .optional()?;
        // A snapshot and its changes have no longer ones.
        let fits = |name: &String| (1..=fingerpost_snapshot::NAME_BYTES_MAX).contains(&name.len());
        let name = name.filter(fits).map(Arc::from);
        self.0.insert(method, name.clone());
        Ok(name)
    }
}

/// The 32 bytes of a hash, if it is one of these.
fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<[u8; 32]>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => bytes.try_into().ok(),
        _ => None,
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}
