//! The relation O in the order in which its rows are taken.
//!
//! Who is oldest decides over equivalence, and for the reference that is the
//! least `created`, compared as text; for us it is the least id. So rows are
//! taken by (created, id). Nearly always that is the order of the ids, and the
//! ids stay. Otherwise the ids are dealt out again: the oldest row gets the
//! least id, and so on.

use rusqlite::types::ValueRef;

use super::open::Reference;
use super::rows::{OutputBatch, OutputKey, with_output_key};
use crate::moving::ImportError;
use crate::moving::pipe::Outlet;

/// How the rows are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::moving) enum OutputOrder {
    /// The ids are in order already.
    ById,
    /// By (created, id).
    ByCreated,
}

/// Reads the relation O up to an id.
#[derive(Clone, Copy)]
pub(in crate::moving) struct OutputReader<'a> {
    pub(in crate::moving) reference: &'a Reference,
    pub(in crate::moving) order: OutputOrder,
    pub(in crate::moving) until: i64,
}

impl OutputReader<'_> {
    /// Counts the rows up to an id.
    pub(in crate::moving) fn count(reference: &Reference, until: i64) -> Result<u64, ImportError> {
        // The plus keeps SQLite from walking the table, whose rows are long,
        // when an index tells the ids as well.
        let table = reference.tables.output_table();
        let sql = format!("SELECT count(*) FROM {table} WHERE +id <= ?1");
        reference
            .conn
            .query_row(&sql, [until], |row| row.get(0))
            .map_err(reference.failed())
    }

    /// Calls `each` with the place and key of every row; `None` is a row that
    /// will be left out. Returns early with `false` when rows that were to be
    /// [`ById`](OutputOrder::ById) are not in order.
    pub(in crate::moving) fn keys(
        &self,
        mut each: impl FnMut(u64, Option<OutputKey<'_>>) -> Result<(), ImportError>,
    ) -> Result<bool, ImportError> {
        let failed = self.reference.failed();
        let table = self.reference.tables.output_table();
        let order = match self.order {
            OutputOrder::ById => "id",
            OutputOrder::ByCreated => "created, id",
        };
        let mut statement = self
            .reference
            .conn
            .prepare(&format!(
                "SELECT id, method, taskhash, outhash, created FROM {table}
                  WHERE id <= ?1 ORDER BY {order}"
            ))
            .map_err(&failed)?;
        let mut rows = statement.query([self.until]).map_err(&failed)?;
        let mut check = OrderCheck::default();
        let mut sequence = 0;
        while let Some(row) = rows.next().map_err(&failed)? {
            if !check.in_order(row.get_ref(4).map_err(&failed)?) {
                return Ok(false);
            }
            with_output_key(row, |key| each(sequence, key)).map_err(&failed)??;
            sequence += 1;
        }
        Ok(true)
    }

    /// Reads rows in batches after the first `skip`.
    pub(in crate::moving) fn rows(
        &self,
        skip: u64,
        outlet: &Outlet<OutputBatch>,
    ) -> Result<(), ImportError> {
        match self.order {
            OutputOrder::ById => self.rows_by_id(skip, outlet),
            OutputOrder::ByCreated => self.rows_by_created(skip, outlet),
        }
        .map_err(self.reference.failed())
    }

    fn rows_by_id(&self, skip: u64, outlet: &Outlet<OutputBatch>) -> rusqlite::Result<()> {
        let table = self.reference.tables.output_table();
        let mut statement = self.reference.conn.prepare(&format!(
            "SELECT {COLUMNS} FROM {table} WHERE id <= ?1 ORDER BY id LIMIT -1 OFFSET ?2"
        ))?;
        let mut rows = statement.query((self.until, skip))?;
        let mut sequence = skip;
        let mut batch = OutputBatch::default();
        while let Some(row) = rows.next()? {
            batch.take(table, row, (sequence, row.get(0)?))?;
            sequence += 1;
            if batch.is_full() && outlet.send(std::mem::take(&mut batch)).is_err() {
                return Ok(());
            }
        }
        // Nobody listens any more: that side has an error of its own.
        let _ = outlet.send(batch);
        Ok(())
    }

    /// Sorts nothing but (created, id), and fetches the rows one by one: with
    /// their listings they would not fit any sorter.
    fn rows_by_created(&self, skip: u64, outlet: &Outlet<OutputBatch>) -> rusqlite::Result<()> {
        let table = self.reference.tables.output_table();
        let conn = &self.reference.conn;
        let sorted = |order| {
            conn.prepare(&format!(
                "SELECT id FROM {table} WHERE id <= ?1 ORDER BY {order} LIMIT -1 OFFSET ?2"
            ))
        };
        let (mut by_created, mut by_id) = (sorted("created, id")?, sorted("id")?);
        let mut fetch = conn.prepare(&format!("SELECT {COLUMNS} FROM {table} WHERE id = ?1"))?;
        let mut sources = by_created.query((self.until, skip))?;
        let mut targets = by_id.query((self.until, skip))?;
        let mut sequence = skip;
        let mut batch = OutputBatch::default();
        while let (Some(source), Some(target)) = (sources.next()?, targets.next()?) {
            let (source, target): (i64, i64) = (source.get(0)?, target.get(0)?);
            fetch.query_row([source], |row| batch.take(table, row, (sequence, target)))?;
            sequence += 1;
            if batch.is_full() && outlet.send(std::mem::take(&mut batch)).is_err() {
                return Ok(());
            }
        }
        let _ = outlet.send(batch);
        Ok(())
    }
}

const COLUMNS: &str =
    "id, method, taskhash, outhash, created, owner, PN, PV, PR, task, outhash_siginfo";

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
        let sorted = "SELECT column1 FROM (VALUES (x'00'), ('b'), (2), (NULL), (1.5), ('2024-05-01 12:00:00'),
            ('2024-05-01T11:00:00+00:00'), (-3), ('')) ORDER BY column1";
        let mut statement = conn.prepare(sorted).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut check = OrderCheck::default();
        while let Some(row) = rows.next().unwrap() {
            assert!(check.in_order(row.get_ref(0).unwrap()));
        }
        assert!(!check.in_order(ValueRef::Text(b"a")));
    }
}
