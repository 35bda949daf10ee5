//! Finding the rows that a batch works on.
//!
//! Where a condition has an index the rows are found through it, else the relation is
//! walked in the order of its numbers, a bounded stretch at a time.

use fingerpost_db::postgres::{PostgresError, Row, Session, Value};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};

use super::methods::column;
use super::value::Hash;
use super::{Shared, failed};
use crate::batches::SCAN_ROWS;
use crate::created::Created;
use crate::namespace::NamespaceId;
use crate::query::{Column, Conditions};
use crate::siginfo::Digest;
use crate::store::StoreError;

/// A value that a search owns.
type Bound = Box<dyn Value + Send>;

const OF_MARK: &str = "collection = ANY(ARRAY(SELECT id FROM collection WHERE mark = ?))";
const NOT_OF_MARK: &str = "collection <> ALL(ARRAY(SELECT id FROM collection WHERE mark = ?))";
/// Indexes that begin with the method serve those who do not name one.
const ANY_METHOD: &str = "method = ANY(ARRAY(SELECT id FROM method))";
/// One look into an index for each row, whatever the planner thinks of the table.
const OWN_MAPPING: &str = "
    LEFT JOIN LATERAL (
         SELECT 1 AS one FROM mapping
          WHERE mapping.namespace = output.namespace AND mapping.method = output.method
            AND mapping.taskhash = output.taskhash LIMIT 1) AS own ON true";

/// Rows of one relation of a namespace that are looked for. Values are always bound.
pub(super) struct Search {
    at: NamespaceId,
    table: &'static str,
    /// The number that rows are told apart by, and their order.
    key: &'static str,
    /// What is read beside it.
    columns: &'static str,
    join: &'static str,
    /// Whether the relation is walked.
    is_walk: bool,
    /// With `?` for the value of each that has one.
    clauses: Vec<&'static str>,
    values: Vec<Bound>,
}

/// Rows that were found, in the order of their numbers.
pub(super) struct Stretch {
    /// The number comes first; of outputs the columns of their time follow.
    pub(super) rows: Vec<Row>,
    /// The number to go on after; `None` when nothing is left.
    pub(super) next: Option<i64>,
}

impl Stretch {
    pub(super) fn numbers(&self) -> Vec<i64> {
        self.rows.iter().map(|row| row.get(0)).collect()
    }
}

impl Search {
    fn mappings(at: NamespaceId) -> Self {
        Self {
            at,
            table: "mapping",
            key: "sequence",
            columns: "",
            join: "",
            is_walk: true,
            clauses: Vec::new(),
            values: Vec::new(),
        }
    }

    fn outputs(at: NamespaceId) -> Self {
        Self {
            table: "output",
            key: "id",
            columns: ", created, created_text",
            ..Self::mappings(at)
        }
    }

    /// Mappings without this mark.
    pub(super) fn unmarked(at: NamespaceId, mark: &str) -> Self {
        Self::mappings(at).and(NOT_OF_MARK, mark.as_bytes().to_vec())
    }

    /// Outputs of tasks without a mapping, that have a time, which may be too young when
    /// it is another program's text.
    pub(super) fn unused(at: NamespaceId, before: i64) -> Self {
        let mut search = Self::outputs(at).and(
            "own.one IS NULL AND (created < ? OR created_text IS NOT NULL)",
            before,
        );
        search.join = OWN_MAPPING;
        search
    }

    /// Through the indexes that the conditions have.
    const fn indexed(mut self) -> Self {
        self.is_walk = false;
        self
    }

    fn and(mut self, clause: &'static str, value: impl Value + Send + 'static) -> Self {
        self.clauses.push(clause);
        self.values.push(Box::new(value));
        self
    }

    fn and_plain(mut self, clause: &'static str) -> Self {
        self.clauses.push(clause);
        self
    }

    /// The statement: `$1` is the namespace, `$2` and `$3` the borders of the numbers,
    /// `$4` how many rows. `OFFSET 0` keeps the planner from another order than the one
    /// of the walk, and from walking where there is an index.
    fn sql(&self) -> String {
        let Self {
            table,
            key,
            columns,
            join,
            ..
        } = self;
        let mut number = 4;
        let mut clauses = String::new();
        for clause in &self.clauses {
            clauses.push_str(" AND ");
            for part in clause.split_inclusive('?') {
                let Some(text) = part.strip_suffix('?') else {
                    clauses.push_str(part);
                    continue;
                };
                number += 1;
                clauses.push_str(&format!("{text}${number}"));
            }
        }
        let (inner, order, outer) = match self.is_walk {
            true => (String::new(), format!("ORDER BY {key}"), clauses),
            false => (clauses, String::new(), String::new()),
        };
        format!(
            "SELECT {key}{columns}
               FROM (SELECT * FROM {table}
                      WHERE namespace = $1 AND {key} > $2 AND {key} <= $3{inner}
                      {order} OFFSET 0) AS {table} {join}
              WHERE true{outer} ORDER BY {key} LIMIT $4"
        )
    }

    /// Finds at most `limit` rows after the one numbered `after`.
    pub(super) async fn find(
        &self,
        session: &Session,
        after: i64,
        limit: usize,
    ) -> Result<Stretch, PostgresError> {
        let until = match self.is_walk {
            true => after.saturating_add(SCAN_ROWS),
            false => i64::MAX,
        };
        let (at, limit_column) = (column(self.at.0), limit as i64);
        let mut values: Vec<&dyn Value> = vec![&at, &after, &until, &limit_column];
        for value in &self.values {
            values.push(&**value);
        }
        let rows = session.query(&self.sql(), &values).await?;
        let last = rows.last().map(|row| row.get(0));
        let next = match (rows.len() == limit, self.is_walk) {
            (true, _) => last,
            (false, true) => self.following(session, until).await?,
            (false, false) => None,
        };
        Ok(Stretch { rows, next })
    }

    /// Where a walk goes on after a number; a gap, which deletions may have left, is
    /// skipped. `None` when nothing follows.
    async fn following(&self, session: &Session, until: i64) -> Result<Option<i64>, PostgresError> {
        let Self { table, key, .. } = self;
        let sql = format!(
            "SELECT {key} FROM {table} WHERE namespace = $1 AND {key} > $2
              ORDER BY {key} LIMIT 1"
        );
        let row = session.query_opt(&sql, &[&column(self.at.0), &until]).await;
        Ok(row?.map(|row| row.get::<_, i64>(0) - 1))
    }
}

impl Shared {
    /// The mappings that conditions mean; `None` when none can.
    pub(super) async fn mappings_with(
        &self,
        at: NamespaceId,
        conditions: &Conditions,
    ) -> Result<Option<Search>, StoreError> {
        if conditions.is_empty() {
            return Ok(None);
        }
        let has = |column| conditions.get(column).is_some();
        let mut search = Search::mappings(at);
        if has(Column::Taskhash) {
            search = search.indexed().and_plain(ANY_METHOD);
        } else if has(Column::Unihash) {
            search = search.indexed();
        }
        for (column, value) in &conditions.0 {
            let and = match column {
                Column::Method => self.and_method(search, value).await?,
                Column::Taskhash => and_hash(search, "taskhash = ?", &Taskhash::parse(value)),
                Column::Unihash => and_hash(search, "unihash = ?", &Unihash::parse(value)),
                Column::GcMark => Some(search.and(OF_MARK, value.as_bytes().to_vec())),
                _ => Some(search),
            };
            let Some(and) = and else {
                return Ok(None);
            };
            search = and;
        }
        Ok(Some(search))
    }

    /// The outputs that conditions mean; `None` when none can.
    pub(super) async fn outputs_with(
        &self,
        at: NamespaceId,
        conditions: &Conditions,
    ) -> Result<Option<Search>, StoreError> {
        if conditions.is_empty() {
            return Ok(None);
        }
        let has = |column| conditions.get(column).is_some();
        let mut search = Search::outputs(at);
        if has(Column::Outhash) || has(Column::Taskhash) {
            search = search.indexed().and_plain(ANY_METHOD);
        } else if has(Column::Siginfo) {
            search = search.indexed();
        }
        for (column, value) in &conditions.0 {
            let and = match column {
                Column::Method => self.and_method(search, value).await?,
                Column::Taskhash => and_hash(search, "taskhash = ?", &Taskhash::parse(value)),
                Column::Outhash => and_hash(search, "outhash = ?", &Outhash::parse(value)),
                _ => Some(and_text(search, *column, value)),
            };
            let Some(and) = and else {
                return Ok(None);
            };
            search = and;
        }
        Ok(Some(search))
    }

    async fn and_method(&self, search: Search, name: &str) -> Result<Option<Search>, StoreError> {
        let name = Method::new(name.to_owned());
        let method = self.find_method(&self.db, &name).await.map_err(failed)?;
        Ok(method.map(|method| search.and("method = ?", column(method.0))))
    }
}

/// `None` if the text is longer than any hash that is stored.
fn and_hash(search: Search, clause: &'static str, hash: &impl Hash) -> Option<Search> {
    Some(search.and(clause, hash.to_column()?))
}

/// The other columns of the relation O.
fn and_text(search: Search, column: Column, value: &str) -> Search {
    let clause = match column {
        Column::Siginfo => {
            let digest = Digest::of(value.as_bytes());
            return search.and("listing = ?", digest.0.to_vec());
        }
        // A text that we would write in the same way is kept as a number.
        Column::Created => match Created::from_text(Some(value)) {
            Created::At(moment) => return search.and("created = ?", moment.0),
            Created::Text(_) | Created::Never => "created_text = ?",
        },
        Column::Owner => "owner = ?",
        Column::Pn => "pn = ?",
        Column::Pv => "pv = ?",
        Column::Pr => "pr = ?",
        Column::Task => "task = ?",
        Column::Method | Column::Taskhash | Column::Unihash | Column::GcMark | Column::Outhash => {
            return search;
        }
    };
    search.and(clause, value.as_bytes().to_vec())
}
