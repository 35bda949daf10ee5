//! Rows of the relation O, as the reference has them.

use fingerpost_hashequiv_proto::types::{Outhash, Taskhash};
use rusqlite::Row;

use crate::created::Created;
use crate::sqlite::Hash;
use crate::store::Metadata;

/// Rows of a namespace, oldest first.
pub(super) const OUTPUTS: &str = "
SELECT outhash.id, method.name, task.taskhash, outhash.outhash, outhash.created,
       metadata.owner, metadata.pn, metadata.pv, metadata.pr, metadata.task, outhash.siginfo
  FROM outhash
  CROSS JOIN task ON task.id = outhash.task
  CROSS JOIN method ON method.id = outhash.method
  LEFT JOIN metadata ON metadata.id = outhash.metadata
 WHERE outhash.namespace = ?1 ORDER BY outhash.id";

/// A row of the reference's relation O.
pub(super) struct Output {
    pub(super) id: i64,
    method: String,
    taskhash: Taskhash,
    outhash: Outhash,
    created: Option<String>,
    metadata: Metadata,
    pub(super) siginfo: Option<String>,
}

impl Output {
    /// Reads a row of [`OUTPUTS`]; the second value is its listing's number.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Self, Option<i64>)> {
        let output = Self {
            id: row.get(0)?,
            method: row.get(1)?,
            taskhash: row.get::<_, Hash<Taskhash>>(2)?.0,
            outhash: row.get::<_, Hash<Outhash>>(3)?.0,
            created: row.get::<_, Created>(4)?.into_text(),
            metadata: Metadata {
                owner: row.get(5)?,
                pn: row.get(6)?,
                pv: row.get(7)?,
                pr: row.get(8)?,
                task: row.get(9)?,
            },
            siginfo: None,
        };
        Ok((output, row.get(10)?))
    }

    pub(super) fn bind(
        statement: &mut rusqlite::Statement<'_>,
        base: usize,
        row: &Self,
    ) -> rusqlite::Result<()> {
        statement.raw_bind_parameter(base + 1, row.id)?;
        statement.raw_bind_parameter(base + 2, &row.method)?;
        statement.raw_bind_parameter(base + 3, row.taskhash.to_text())?;
        statement.raw_bind_parameter(base + 4, row.outhash.to_text())?;
        statement.raw_bind_parameter(base + 5, &row.created)?;
        statement.raw_bind_parameter(base + 6, &row.metadata.owner)?;
        statement.raw_bind_parameter(base + 7, &row.metadata.pn)?;
        statement.raw_bind_parameter(base + 8, &row.metadata.pv)?;
        statement.raw_bind_parameter(base + 9, &row.metadata.pr)?;
        statement.raw_bind_parameter(base + 10, &row.metadata.task)?;
        statement.raw_bind_parameter(base + 11, &row.siginfo)
    }
}
