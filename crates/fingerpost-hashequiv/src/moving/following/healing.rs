//! The target has the recorded rows and no others.
//!
//! It would not when a server that writes ran on it, when a collection swept it, or when
//! rows were gone between the first import and the first comparison. Counting tells
//! cheaply; only then it is looked for them.

use rusqlite::Connection;

use super::applying::{AT, Applier, Apply, atomically, target_table};
use super::record::{Record, Relation};
use crate::moving::ImportError;

/// Rows that are removed in one transaction.
const SLICE_ROWS: usize = 1000;

impl Applier<'_> {
    /// Removes from the target what is not recorded, and from the record what the target
    /// does not have, so that a comparison finds it new. Returns how many rows that were.
    pub(super) fn heal<B: Apply>(&mut self) -> Result<u64, ImportError> {
        let (target, record) = (ImportError::target(self.target), self.record.failed());
        let ours = count(self.conn, B::RELATION).map_err(&target)?;
        if ours == self.record.count(B::RELATION).map_err(&record)? {
            return Ok(0);
        }
        let (table, number) = target_table(B::RELATION);
        let recorded = B::RELATION.table();
        let strangers = with_attached(self.conn, &self.record.path, || {
            numbers(
                self.conn,
                &format!(
                    "SELECT {number} FROM main.{table} WHERE namespace = {} AND {number} NOT IN
                        (SELECT ours FROM attached.{recorded} WHERE ours IS NOT NULL)",
                    AT.0
                ),
            )
        })
        .map_err(&target)?;
        for slice in strangers.chunks(SLICE_ROWS) {
            atomically(self.conn, || {
                slice.iter().try_for_each(|ours| B::remove(self, *ours))?;
                self.raise()
            })
            .map_err(&target)?;
        }
        let lost = lost(self.record, self.target, B::RELATION).map_err(&record)?;
        Ok(strangers.len() as u64 + lost)
    }
}

/// Forgets the recorded rows that the target does not have.
fn lost(record: &Record, target: &std::path::Path, relation: Relation) -> rusqlite::Result<u64> {
    let (table, number) = target_table(relation);
    let recorded = relation.table();
    let lost = with_attached(&record.conn, target, || {
        record.conn.execute(
            &format!(
                "DELETE FROM main.{recorded} WHERE ours IS NOT NULL
                    AND ours NOT IN (SELECT {number} FROM attached.{table})"
            ),
            [],
        )
    })?;
    Ok(lost as u64)
}

/// The rows of the target.
pub(super) fn count(conn: &Connection, relation: Relation) -> rusqlite::Result<u64> {
    let (table, _) = target_table(relation);
    let sql = format!("SELECT count(*) FROM {table} WHERE namespace = ?1");
    conn.query_row(&sql, [AT.0], |row| row.get(0))
}

fn numbers(conn: &Connection, sql: &str) -> rusqlite::Result<Vec<i64>> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

/// Runs `work` while a file is attached as `attached`.
fn with_attached<T>(
    conn: &Connection,
    path: &std::path::Path,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    conn.execute("ATTACH ?1 AS attached", [path.to_string_lossy()])?;
    let done = work();
    conn.flush_prepared_statement_cache();
    conn.execute_batch("DETACH attached")?;
    done
}
