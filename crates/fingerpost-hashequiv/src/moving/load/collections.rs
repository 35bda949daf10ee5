//! Marks as rows of `collection`, which belong to a namespace.

use std::collections::HashMap;

use fingerpost_core::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::namespace::NamespaceId;

/// Marks that are remembered. A collection may have several rows, so forgetting
/// costs rows and nothing else.
const MARKS_MAX: usize = 10_000;

/// The number of a collection of a namespace by its mark.
pub(in crate::moving) struct Collections {
    at: NamespaceId,
    known: HashMap<String, i64>,
}

impl Collections {
    /// Learns the collections of `at` that exist.
    pub(in crate::moving) fn load(conn: &Connection, at: NamespaceId) -> rusqlite::Result<Self> {
        let mut statement = conn.prepare(
            "SELECT mark, id FROM collection WHERE namespace = ?1 ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = statement.query_map((at.0, MARKS_MAX as i64), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        let mut known = rows.collect::<rusqlite::Result<HashMap<String, i64>>>()?;
        known.insert(String::new(), 0);
        Ok(Self { at, known })
    }

    /// The number of the collection with a mark; 0 is "never marked".
    pub(in crate::moving) fn intern(
        &mut self,
        conn: &Connection,
        mark: &str,
        now: Timestamp,
    ) -> rusqlite::Result<i64> {
        if let Some(id) = self.known.get(mark) {
            return Ok(*id);
        }
        if self.known.len() >= MARKS_MAX {
            self.known.retain(|mark, _| mark.is_empty());
        }
        let id = conn
            .prepare_cached(
                "INSERT INTO collection (namespace, mark, started) VALUES (?1, ?2, ?3)",
            )?
            .insert((self.at.0, mark, now.0))?;
        self.known.insert(mark.to_owned(), id);
        Ok(id)
    }

    /// The running collection, and its mark.
    pub(in crate::moving) fn running(
        &self,
        conn: &Connection,
    ) -> rusqlite::Result<Option<(i64, String)>> {
        conn.query_row(
            "SELECT collection.id, collection.mark
               FROM namespace CROSS JOIN collection ON collection.id = namespace.collection
              WHERE namespace.id = ?1",
            [self.at.0],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
    }

    /// Makes the collection with a mark the running one.
    pub(in crate::moving) fn run(
        mut self,
        conn: &Connection,
        mark: &str,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let id = self.intern(conn, mark, now)?;
        conn.execute(
            "UPDATE namespace SET collection = ?1 WHERE id = ?2",
            (id, self.at.0),
        )?;
        Ok(())
    }
}
