//! Rows of the relation O, a page at a time, and their listings.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::listing;
use super::lookup::{ROW, first, read_row};
use super::tasks::find_method;
use super::value::Hash;
use crate::listings::StoredListing;
use crate::namespace::{Chain, NamespaceId};
use crate::paging::{OutputFilter, OutputKey};
use crate::store::{OutputRow, StoreError};

/// Rows after the row numbered `after`, in the order of their numbers, without
/// their listings.
pub(super) fn output_rows(
    conn: &Connection,
    at: NamespaceId,
    filter: &OutputFilter,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<OutputRow>> {
    let method = match filter {
        OutputFilter::Outhash { method, .. } => method,
        OutputFilter::Task(task) => &task.method,
    };
    let Some(method) = find_method(conn, method.as_str())? else {
        return Ok(Vec::new());
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| {
        let (mut output, siginfo) = (read_row(row, true)?, row.get::<_, Option<i64>>(12)?);
        output.siginfo = siginfo.map(|_| String::new());
        Ok(output)
    };
    match filter {
        OutputFilter::Outhash { outhash, .. } => conn
            .prepare_cached(&format!(
                "{ROW} WHERE outhash.namespace = ?1 AND outhash.method = ?2
                         AND outhash.outhash = ?3 AND outhash.id > ?4
                 ORDER BY outhash.id LIMIT ?5"
            ))?
            .query_map((at.0, method.0, Hash(outhash), after, limit), read)?
            .collect(),
        // The few outputs of a task are sorted for each page.
        OutputFilter::Task(task) => conn
            .prepare_cached(&format!(
                "{ROW} WHERE outhash.task = (SELECT id FROM task WHERE namespace = ?1
                                              AND method = ?2 AND taskhash = ?3)
                         AND outhash.id > ?4
                 ORDER BY outhash.id LIMIT ?5"
            ))?
            .query_map((at.0, method.0, Hash(&task.taskhash), after, limit), read)?
            .collect(),
    }
}

/// The listing of one row, still encoded, of the nearest namespace that has it.
pub(super) fn siginfo(
    conn: &Connection,
    at: &Chain,
    key: &OutputKey,
) -> rusqlite::Result<Option<StoredListing>> {
    let Some(method) = find_method(conn, key.task.method.as_str())? else {
        return Ok(None);
    };
    let mut statement = conn.prepare_cached(
        "SELECT outhash.siginfo
           FROM task CROSS JOIN outhash ON outhash.task = task.id
          WHERE task.namespace = ?1 AND task.method = ?2 AND task.taskhash = ?3
            AND outhash.outhash = ?4",
    )?;
    let (taskhash, outhash) = (Hash(&key.task.taskhash), Hash(&key.outhash));
    let found: Option<Option<i64>> = first(at, |at| {
        let values = (at.0, method.0, &taskhash, &outhash);
        statement.query_row(values, |row| row.get(0)).optional()
    })?;
    match found.flatten() {
        Some(id) => listing::read(conn, id),
        None => Ok(None),
    }
}

/// Decodes a listing that was read.
pub(super) fn decoded(listing: Option<StoredListing>) -> Result<Option<String>, StoreError> {
    listing.map(StoredListing::decode).transpose()
}
