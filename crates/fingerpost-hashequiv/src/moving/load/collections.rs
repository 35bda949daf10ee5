//! Marks as rows of `collection`.

use std::collections::HashMap;

use fingerpost_core::Timestamp;
use rusqlite::Connection;

/// Marks that are remembered. A collection may have several rows, so forgetting
/// costs rows and nothing else.
const MARKS_MAX: usize = 10_000;

/// The number of a collection by its mark.
pub(in crate::moving) struct Collections(HashMap<String, i64>);

impl Collections {
    /// Learns the collections that exist.
    pub(in crate::moving) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut statement =
            conn.prepare("SELECT mark, id FROM collection ORDER BY id DESC LIMIT ?1")?;
        let rows = statement.query_map([MARKS_MAX as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut known = rows.collect::<rusqlite::Result<HashMap<String, i64>>>()?;
        known.insert(String::new(), 0);
        Ok(Self(known))
    }

    /// The number of the collection with a mark; 0 is "never marked".
    pub(in crate::moving) fn intern(
        &mut self,
        conn: &Connection,
        mark: &str,
        now: Timestamp,
    ) -> rusqlite::Result<i64> {
        if let Some(id) = self.0.get(mark) {
            return Ok(*id);
        }
        if self.0.len() >= MARKS_MAX {
            self.0.retain(|mark, _| mark.is_empty());
        }
        let id = conn
            .prepare_cached("INSERT INTO collection (namespace, mark, started) VALUES (1, ?1, ?2)")?
            .insert((mark, now.0))?;
        self.0.insert(mark.to_owned(), id);
        Ok(id)
    }

    /// Makes the collection with a mark the running one.
    pub(in crate::moving) fn run(
        mut self,
        conn: &Connection,
        mark: &str,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let id = self.intern(conn, mark, now)?;
        conn.execute("UPDATE namespace SET collection = ?1 WHERE id = 1", [id])?;
        Ok(())
    }
}
