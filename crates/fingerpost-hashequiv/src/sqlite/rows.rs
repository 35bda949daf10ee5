//! Finding the rows that a batch works on.
//!
//! Where a condition has an index the rows are found through it, else the table
//! is walked by row number, a bounded stretch at a time.

use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use rusqlite::Connection;
use rusqlite::types::{ToSql, Value};

use super::listing;
use super::tasks::find_method;
use super::value::{Hash, HashValue};
use crate::batches::SCAN_ROWS;
use crate::cache::MethodId;
use crate::created::Created;
use crate::namespace::NamespaceId;
use crate::query::{Column, Conditions};

/// A row of the relation U that a batch works on.
pub(super) struct UnihashRow {
    pub(super) task: i64,
    pub(super) method: MethodId,
    pub(super) taskhash: Taskhash,
}

/// A row of the relation O that a batch works on.
pub(super) struct OutputRow {
    pub(super) id: i64,
    pub(super) task: i64,
    pub(super) siginfo: Option<i64>,
    pub(super) created: Created,
}

/// Finds rows of the relation U after the row `after`, and where to go on.
pub(super) fn find_unihashes(
    conn: &Connection,
    at: NamespaceId,
    conditions: &Conditions,
    after: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<UnihashRow>, Option<i64>)> {
    if conditions.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut query = if let Some(taskhash) = conditions.get(Column::Taskhash) {
        Query::indexed(
            "task.namespace = ? AND task.method IN (SELECT id FROM method)",
            at,
            after,
        )
        .and("task.taskhash = ?", owned(&Taskhash::parse(taskhash)))
    } else if conditions.get(Column::Unihash).is_some() {
        Query::indexed("unihash.namespace = ?", at, after)
    } else {
        Query::walk_unihashes(at, after)
    };
    for (column, value) in &conditions.0 {
        query = match column {
            Column::Unihash => query.and("unihash.unihash = ?", owned(&Unihash::parse(value))),
            Column::GcMark => query.and(
                "unihash.collection IN (SELECT id FROM collection WHERE mark = ?)",
                value.clone(),
            ),
            Column::Method => match find_method(conn, value)? {
                Some(method) => query.and("task.method = ?", method.0),
                None => return Ok((Vec::new(), None)),
            },
            _ => query,
        };
    }
    query.unihash_rows(conn, limit)
}

/// Finds rows of the relation O after the row `after`, and where to go on.
pub(super) fn find_outputs(
    conn: &Connection,
    at: NamespaceId,
    conditions: &Conditions,
    after: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<OutputRow>, Option<i64>)> {
    if conditions.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut query = if conditions.get(Column::Outhash).is_some() {
        Query::indexed(
            "outhash.namespace = ? AND outhash.method IN (SELECT id FROM method)",
            at,
            after,
        )
    } else if conditions.get(Column::Taskhash).is_some() {
        Query::indexed(
            "outhash.task IN (SELECT id FROM task WHERE namespace = ?
                 AND method IN (SELECT id FROM method) AND taskhash = ?)",
            at,
            after,
        )
        .bind(owned(&Taskhash::parse(
            conditions.get(Column::Taskhash).unwrap_or_default(),
        )))
    } else if conditions.get(Column::Siginfo).is_some() {
        // The sign keeps the index of listings in use.
        Query::indexed("+outhash.namespace = ?", at, after).and_plain("outhash.siginfo IS NOT NULL")
    } else {
        Query::walk_outputs(at, after)
    };
    for (column, value) in &conditions.0 {
        query = match column {
            Column::Outhash => query.and("outhash.outhash = ?", owned(&Outhash::parse(value))),
            Column::Taskhash => query.and("task.taskhash = ?", owned(&Taskhash::parse(value))),
            Column::Method => match find_method(conn, value)? {
                Some(method) => query.and("outhash.method = ?", method.0),
                None => return Ok((Vec::new(), None)),
            },
            Column::Siginfo => match listing::find(conn, value)? {
                Some(siginfo) => query.and("outhash.siginfo = ?", siginfo),
                None => return Ok((Vec::new(), None)),
            },
            Column::Owner => query.and("metadata.owner = ?", value.clone()),
            Column::Pn => query.and("metadata.pn = ?", value.clone()),
            Column::Pv => query.and("metadata.pv = ?", value.clone()),
            Column::Pr => query.and("metadata.pr = ?", value.clone()),
            Column::Task => query.and("metadata.task = ?", value.clone()),
            Column::Created | Column::Unihash | Column::GcMark => query,
        };
    }
    let (mut found, next) = query.output_rows(conn, limit)?;
    if let Some(created) = conditions.get(Column::Created) {
        found.retain(|row| row.created.clone().into_text().as_deref() == Some(created));
    }
    Ok((found, next))
}

/// A hash as a parameter that a [`Query`] owns.
fn owned<'a, T>(hash: &'a T) -> Value
where
    Hash<&'a T>: HashValue,
{
    Hash(hash).value()
}

/// A query that is put together from conditions. Values are always bound.
pub(super) struct Query {
    clauses: Vec<&'static str>,
    values: Vec<Box<dyn ToSql>>,
    after: i64,
    /// The walk's last row, when a table is walked and not an index.
    until: Option<i64>,
}

impl Query {
    /// Rows of a namespace, whose number is the first value of `clause`.
    fn indexed(clause: &'static str, at: NamespaceId, after: i64) -> Self {
        Self {
            clauses: vec![clause],
            values: vec![Box::new(at.0)],
            after,
            until: None,
        }
    }

    pub(super) fn walk_unihashes(at: NamespaceId, after: i64) -> Self {
        Self {
            until: Some(after.saturating_add(SCAN_ROWS)),
            ..Self::indexed("unihash.namespace = ?", at, after)
        }
    }

    pub(super) fn walk_outputs(at: NamespaceId, after: i64) -> Self {
        Self {
            until: Some(after.saturating_add(SCAN_ROWS)),
            ..Self::indexed("outhash.namespace = ?", at, after)
        }
    }

    fn bind(mut self, value: impl ToSql + 'static) -> Self {
        self.values.push(Box::new(value));
        self
    }

    pub(super) fn and(mut self, clause: &'static str, value: impl ToSql + 'static) -> Self {
        self.clauses.push(clause);
        self.bind(value)
    }

    pub(super) fn and_plain(mut self, clause: &'static str) -> Self {
        self.clauses.push(clause);
        self
    }

    pub(super) fn unihash_rows(
        self,
        conn: &Connection,
        limit: usize,
    ) -> rusqlite::Result<(Vec<UnihashRow>, Option<i64>)> {
        let (hint, join) = self.plan();
        let select = format!(
            "SELECT unihash.task, task.method, task.taskhash
               FROM unihash {hint} {join} task ON task.id = unihash.task"
        );
        self.rows(conn, &select, ("unihash", "task"), limit, |row| {
            let found = UnihashRow {
                task: row.get(0)?,
                method: MethodId(row.get(1)?),
                taskhash: row.get::<_, Hash<Taskhash>>(2)?.0,
            };
            Ok((found.task, found))
        })
    }

    pub(super) fn output_rows(
        self,
        conn: &Connection,
        limit: usize,
    ) -> rusqlite::Result<(Vec<OutputRow>, Option<i64>)> {
        let (hint, join) = self.plan();
        let select = format!(
            "SELECT outhash.id, outhash.task, outhash.siginfo, outhash.created
               FROM outhash {hint} {join} task ON task.id = outhash.task
               LEFT JOIN metadata ON metadata.id = outhash.metadata"
        );
        self.rows(conn, &select, ("outhash", "id"), limit, |row| {
            let found = OutputRow {
                id: row.get(0)?,
                task: row.get(1)?,
                siginfo: row.get(2)?,
                created: row.get(3)?,
            };
            Ok((found.id, found))
        })
    }

    /// Hint and join that keep a walk in the order of the table. The namespace
    /// leads every index, so SQLite would take one of those, read all of it and
    /// sort, once for each batch.
    const fn plan(&self) -> (&'static str, &'static str) {
        match self.until {
            Some(_) => ("NOT INDEXED", "CROSS JOIN"),
            None => ("", "JOIN"),
        }
    }

    /// The statement; binds the walk's borders.
    fn sql(&mut self, select: &str, (table, key): (&str, &str), limit: usize) -> String {
        let mut sql = format!("{select} WHERE {}", self.clauses.join(" AND "));
        sql.push_str(&format!(" AND {table}.{key} > ?"));
        self.values.push(Box::new(self.after));
        if let Some(until) = self.until {
            sql.push_str(&format!(" AND {table}.{key} <= ?"));
            self.values.push(Box::new(until));
        }
        sql.push_str(&format!(" ORDER BY {table}.{key} LIMIT ?"));
        self.values.push(Box::new(limit as i64));
        sql
    }

    /// Runs the query. The second value is the row to go on after, `None` when
    /// nothing is left.
    fn rows<T>(
        mut self,
        conn: &Connection,
        select: &str,
        (table, key): (&str, &str),
        limit: usize,
        read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<(i64, T)>,
    ) -> rusqlite::Result<(Vec<T>, Option<i64>)> {
        let sql = self.sql(select, (table, key), limit);
        let mut statement = conn.prepare_cached(&sql)?;
        let parameters: Vec<&dyn ToSql> = self.values.iter().map(AsRef::as_ref).collect();
        let mut last = self.after;
        let mut found = Vec::new();
        let mut rows = statement.query(&*parameters)?;
        while let Some(row) = rows.next()? {
            let (number, value) = read(row)?;
            last = number;
            found.push(value);
        }
        if found.len() == limit {
            return Ok((found, Some(last)));
        }
        let next = match self.until {
            Some(until) => following(conn, table, key, until)?,
            None => None,
        };
        Ok((found, next))
    }
}

/// Where a walk goes on after the row number `until`; a gap, which an import or
/// a sweep may have left, is skipped. `None` when nothing follows.
fn following(
    conn: &Connection,
    table: &str,
    key: &str,
    until: i64,
) -> rusqlite::Result<Option<i64>> {
    let sql = format!("SELECT min({key}) FROM {table} WHERE {key} > ?1");
    let next: Option<i64> = conn
        .prepare_cached(&sql)?
        .query_row([until], |row| row.get(0))?;
    Ok(next.map(|next| next - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first step of the plan of every statement that runs.
    fn first_step(conn: &Connection, query: Query, outputs: bool) -> String {
        let before = query.after;
        assert_eq!(before, 0);
        let (hint, join) = query.plan();
        let (table, key) = if outputs {
            ("outhash", "id")
        } else {
            ("unihash", "task")
        };
        let select = if outputs {
            format!(
                "SELECT 1 FROM outhash {hint} {join} task ON task.id = outhash.task
                 LEFT JOIN metadata ON metadata.id = outhash.metadata"
            )
        } else {
            format!("SELECT 1 FROM unihash {hint} {join} task ON task.id = unihash.task")
        };
        let mut query = query;
        let sql = query.sql(&select, (table, key), 200);
        let parameters: Vec<&dyn ToSql> = query.values.iter().map(AsRef::as_ref).collect();
        conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap()
            .query_row(&*parameters, |row| row.get(3))
            .unwrap()
    }

    #[test]
    fn walks_go_by_row_number_and_conditions_by_their_index() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("schema.sql")).unwrap();
        let walk = Query::walk_unihashes(NamespaceId::DEFAULT, 0).and("task.method = ?", 1);
        assert!(first_step(&conn, walk, false).contains("PRIMARY KEY (rowid>? AND rowid<?)"));
        let walk = Query::walk_outputs(NamespaceId::DEFAULT, 0).and("outhash.method = ?", 1);
        assert!(first_step(&conn, walk, true).contains("PRIMARY KEY (rowid>? AND rowid<?)"));
        let by_unihash = Query::indexed("unihash.namespace = ?", NamespaceId::DEFAULT, 0)
            .and("unihash.unihash = ?", "u");
        assert!(first_step(&conn, by_unihash, false).contains("unihash_by_unihash"));
    }
}
