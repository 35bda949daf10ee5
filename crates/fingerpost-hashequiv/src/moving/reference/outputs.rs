//! Reading the relation O.

use rusqlite::types::ValueRef;

use super::open::Reference;
use super::rows::OutputBatch;
use crate::moving::ImportError;
use crate::moving::pipe::Outlet;

/// What [`OutputBatch::take`] decodes.
pub(in crate::moving) const COLUMNS: &str =
    "id, method, taskhash, outhash, created, owner, PN, PV, PR, task, outhash_siginfo";

/// Counts the rows up to an id.
pub(in crate::moving) fn count_outputs(
    reference: &Reference,
    until: i64,
) -> Result<u64, ImportError> {
    // The plus keeps SQLite from walking the table, whose rows are long, when
    // an index tells the ids as well.
    let table = reference.tables.output_table();
    let sql = format!("SELECT count(*) FROM {table} WHERE +id <= ?1");
    reference
        .conn
        .query_row(&sql, [until], |row| row.get(0))
        .map_err(reference.failed())
}

/// Reads the relation O in batches by id, for `after < id <= until`; each batch
/// tells whether its rows are in the order of (created, id).
///
/// One walk over the table, as it lies in the file: fetching long rows in any
/// other order costs a disk access each.
pub(in crate::moving) fn read_outputs(
    reference: &Reference,
    (after, until): (i64, i64),
    outlet: &Outlet<OutputBatch>,
) -> Result<(), ImportError> {
    let table = reference.tables.output_table();
    let read = || {
        let conn = &reference.conn;
        let mut check = OrderCheck::default();
        let before = format!("SELECT created FROM {table} WHERE id = ?1");
        let mut before = conn.prepare(&before)?;
        if let Some(row) = before.query([after])?.next()? {
            check.in_order(row.get_ref(0)?);
        }
        let mut statement = conn.prepare(&format!(
            "SELECT {COLUMNS} FROM {table} WHERE id > ?1 AND id <= ?2 ORDER BY id"
        ))?;
        let mut rows = statement.query((after, until))?;
        let mut batch = OutputBatch::default();
        while let Some(row) = rows.next()? {
            batch.is_in_order &= check.in_order(row.get_ref(4)?);
            batch.take(table, row)?;
            if batch.is_full() && outlet.send(std::mem::take(&mut batch)).is_err() {
                return Ok(());
            }
        }
        if batch.read > 0 {
            // Nobody listens any more: that side has an error of its own.
            let _ = outlet.send(batch);
        }
        Ok(())
    };
    read().map_err(reference.failed())
}

/// Reads the relation O in batches by (created, id), up to an id. Sorts nothing
/// else, and fetches the rows one by one: with their listings they would not
/// fit any sorter.
pub(in crate::moving) fn read_outputs_by_created(
    reference: &Reference,
    until: i64,
    outlet: &Outlet<OutputBatch>,
) -> Result<(), ImportError> {
    let table = reference.tables.output_table();
    let read = || {
        let conn = &reference.conn;
        let mut sorted = conn.prepare(&format!(
            "SELECT id FROM {table} WHERE id <= ?1 ORDER BY created, id"
        ))?;
        let mut fetch = conn.prepare(&format!("SELECT {COLUMNS} FROM {table} WHERE id = ?1"))?;
        let mut ids = sorted.query([until])?;
        let mut batch = OutputBatch::default();
        while let Some(row) = ids.next()? {
            let id: i64 = row.get(0)?;
            fetch.query_row([id], |row| batch.take(table, row))?;
            if batch.is_full() && outlet.send(std::mem::take(&mut batch)).is_err() {
                return Ok(());
            }
        }
        if batch.read > 0 {
            let _ = outlet.send(batch);
        }
        Ok(())
    };
    read().map_err(reference.failed())
}

/// Compares successive values as SQLite's ORDER BY does.
#[derive(Default)]
struct OrderCheck {
    class: u8,
    number: f64,
    bytes: Vec<u8>,
}

impl OrderCheck {
    /// Whether `value` does not come before the last one.
    fn in_order(&mut self, value: ValueRef<'_>) -> bool {
        let (class, number, bytes): (u8, f64, &[u8]) = match value {
            ValueRef::Null => (0, 0.0, &[]),
            ValueRef::Integer(number) => (1, number as f64, &[]),
            ValueRef::Real(number) => (1, number, &[]),
            ValueRef::Text(text) => (2, 0.0, text),
            ValueRef::Blob(blob) => (3, 0.0, blob),
        };
        let in_order = (class, number, bytes) >= (self.class, self.number, &self.bytes[..]);
        (self.class, self.number) = (class, number);
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        in_order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_ordered_as_sqlite_orders_them() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let sorted = "SELECT column1 FROM (VALUES (x'00'), ('b'), (2), (NULL), (1.5),
            ('2024-05-01 12:00:00'), ('2024-05-01T11:00:00+00:00'), (-3), ('')) ORDER BY column1";
        let mut statement = conn.prepare(sorted).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut check = OrderCheck::default();
        while let Some(row) = rows.next().unwrap() {
            assert!(check.in_order(row.get_ref(0).unwrap()));
        }
        assert!(!check.in_order(ValueRef::Text(b"a")));
    }
}
