//! Many rows by one statement: stepping a statement costs more than a row.

use rusqlite::{Connection, Statement};

/// Rows of one statement.
const ROWS: usize = 50;

/// A prepared INSERT of one row, and of many.
pub(super) struct BulkInsert<'a> {
    one: Statement<'a>,
    many: Statement<'a>,
    columns: usize,
}

impl<'a> BulkInsert<'a> {
    /// `insert` is the statement up to `VALUES`; `row` one row of values, with
    /// `columns` times `?`.
    pub(super) fn new(conn: &'a Connection, insert: &str, row: &str) -> rusqlite::Result<Self> {
        let rows = vec![row; ROWS].join(", ");
        Ok(Self {
            one: conn.prepare(&format!("{insert} VALUES {row}"))?,
            many: conn.prepare(&format!("{insert} VALUES {rows}"))?,
            columns: row.matches('?').count(),
        })
    }

    /// Inserts `rows`. `bind` binds a row's values to the parameters after the
    /// given number.
    pub(super) fn insert<T>(
        &mut self,
        rows: &[T],
        bind: impl Fn(&mut Statement<'_>, usize, &T) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut chunks = rows.chunks_exact(ROWS);
        for chunk in &mut chunks {
            for (number, row) in chunk.iter().enumerate() {
                bind(&mut self.many, number * self.columns, row)?;
            }
            self.many.raw_execute()?;
        }
        for row in chunks.remainder() {
            bind(&mut self.one, 0, row)?;
            self.one.raw_execute()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_inserted_once() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t (a, b, c)").unwrap();
        let mut bulk = BulkInsert::new(&conn, "INSERT INTO t", "(?, 7, ?)").unwrap();
        let rows: Vec<usize> = (0..ROWS * 2 + 3).collect();
        bulk.insert(&rows, |statement, base, row| {
            statement.raw_bind_parameter(base + 1, row)?;
            statement.raw_bind_parameter(base + 2, row * 2)
        })
        .unwrap();
        let sums: (usize, usize, usize, usize) = conn
            .query_row(
                "SELECT count(*), sum(a), min(b), sum(c) FROM t",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
        let sum: usize = rows.iter().sum();
        assert_eq!(sums, (rows.len(), sum, 7, sum * 2));
    }
}
