//! Rows of the relation O, one or a page of them, and their listings.

use fingerpost_db::postgres::{PostgresError, Row, Session, Value};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};

use super::listing::{LISTING, LISTING_FROM, stored_listing};
use super::lookup::TaskColumns;
use super::methods::{column, number};
use super::value::{Hash as _, created, text, text_of};
use super::{PostgresStore, failed};
use crate::cache::MethodId;
use crate::listings::StoredListing;
use crate::namespace::{Chain, NamespaceId};
use crate::paging::{OutputFilter, OutputKey};
use crate::store::{Metadata, OutputRow, StoreError, Task};

/// Reads what [`read_row`] takes.
const ROW: &str = "
    SELECT output.id, method.name, output.taskhash, output.outhash, output.created,
           output.created_text, output.owner, output.pn, output.pv, output.pr, output.task,
           mapping.unihash, collection.mark, output.listing IS NOT NULL";
const ROW_FROM: &str = "
      FROM output
      JOIN method ON method.id = output.method
      LEFT JOIN mapping ON mapping.namespace = output.namespace
           AND mapping.method = output.method AND mapping.taskhash = output.taskhash
      LEFT JOIN collection ON collection.id = mapping.collection";
/// Columns of [`ROW`].
const ROW_COLUMNS: usize = 14;

/// The oldest row of (method, outhash) whose task has a unihash; with the namespace, the
/// method, the outhash, and whether only valid ones count as `$1` to `$4`. As for reports
/// (`report/seen.rs`), the limit within keeps it to look-ups by whole keys.
const OLDEST_MATCH: &str = "
    SELECT output.id FROM output
     CROSS JOIN LATERAL (
           SELECT mapping.unihash FROM mapping
            WHERE mapping.namespace = $1 AND mapping.method = $2
              AND mapping.taskhash = output.taskhash
            LIMIT 1) AS matched
     WHERE output.namespace = $1 AND output.method = $2 AND output.outhash = $3
       AND (NOT $4 OR octet_length(matched.unihash) = 32)
     ORDER BY output.id LIMIT 1";
const OLDEST: &str = "
    SELECT id FROM output
     WHERE namespace = $1 AND method = $2 AND outhash = $3 ORDER BY id LIMIT 1";
const OLDEST_OF_TASK: &str = "
    SELECT id FROM output
     WHERE namespace = $1 AND method = $2 AND taskhash = $3 ORDER BY id LIMIT 1";

/// An output as columns name it.
struct OutputColumns {
    method: MethodId,
    outhash: Vec<u8>,
}

impl PostgresStore {
    /// The oldest output of a task that has a unihash. The nearest namespace in which it
    /// has one decides, whether it has an output there or not.
    pub(super) async fn oldest_output(
        &self,
        at: &Chain,
        task: Task,
    ) -> Result<Option<OutputRow>, StoreError> {
        let nearest = self.nearest(at, std::slice::from_ref(&task)).await?;
        let (Some(named), Some(columns)) = (
            nearest.into_iter().next().flatten(),
            self.columns(&task).await?,
        ) else {
            return Ok(None);
        };
        let (at, columns) = (named.namespace, &columns);
        let row = self.shared.db.read("output_of_task", |session| async move {
            let TaskColumns { method, taskhash } = columns;
            let values: &[&dyn Value] = &[&column(at.0), &column(method.0), taskhash];
            let oldest = session.query_opt(OLDEST_OF_TASK, values).await?;
            match oldest {
                Some(oldest) => row_by_id(&session, at, oldest.get(0)).await,
                None => Ok(None),
            }
        });
        finish(row.await.map_err(failed)?, true)
    }

    /// The oldest row of (method, outhash) in the nearest namespace that has one.
    pub(super) async fn oldest_of_outhash(
        &self,
        at: &Chain,
        (method, outhash): (&Method, &Outhash),
        with_unihash: bool,
        valid_only: bool,
    ) -> Result<Option<OutputRow>, StoreError> {
        let Some(columns) = self.output_columns(method, outhash).await? else {
            return Ok(None);
        };
        let columns = &columns;
        let row = self.shared.db.read("output", |session| async move {
            for at in at.iter() {
                let oldest = match with_unihash {
                    true => oldest_match(&session, at, columns, valid_only).await?,
                    false => {
                        let OutputColumns { method, outhash } = columns;
                        let values: &[&dyn Value] = &[&column(at.0), &column(method.0), outhash];
                        let oldest = session.query_opt(OLDEST, values).await?;
                        oldest.map(|row| row.get(0))
                    }
                };
                if let Some(id) = oldest {
                    return row_by_id(&session, at, id).await;
                }
            }
            Ok(None)
        });
        finish(row.await.map_err(failed)?, with_unihash)
    }

    /// Whether neither the task nor its output says which unihash to take.
    pub(super) async fn nothing_known(
        &self,
        at: &Chain,
        task: Task,
        outhash: Option<Outhash>,
    ) -> Result<bool, StoreError> {
        let nearest = self.nearest(at, std::slice::from_ref(&task)).await?;
        if nearest.iter().any(Option::is_some) {
            return Ok(false);
        }
        let Some(outhash) = outhash else {
            return Ok(true);
        };
        let Some(columns) = self.output_columns(&task.method, &outhash).await? else {
            return Ok(true);
        };
        let valid_only = !self.shared.options.match_invalid_unihashes;
        let columns = &columns;
        let known = self.shared.db.read("is_unknown", |session| async move {
            for at in at.iter() {
                if oldest_match(&session, at, columns, valid_only)
                    .await?
                    .is_some()
                {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        Ok(!known.await.map_err(failed)?)
    }

    /// Rows after the row numbered `after`, in the order of their numbers, without their
    /// listings.
    pub(super) async fn output_page(
        &self,
        at: NamespaceId,
        filter: &OutputFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<OutputRow>, StoreError> {
        let (method, name, hash) = match filter {
            OutputFilter::Outhash { method, outhash } => (method, "outhash", outhash.to_column()),
            OutputFilter::Task(task) => (&task.method, "taskhash", task.taskhash.to_column()),
        };
        let find = self.shared.find_method(&self.shared.db, method);
        let (Some(method), Some(hash)) = (find.await.map_err(failed)?, hash) else {
            return Ok(Vec::new());
        };
        let sql = format!(
            "{ROW} {ROW_FROM}
              WHERE output.namespace = $1 AND output.method = $2 AND output.{name} = $3
                AND output.id > $4
              ORDER BY output.id LIMIT $5"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (sql, hash) = (&sql, &hash);
        let rows = self.shared.db.read("output_rows", |session| async move {
            let (at, method) = (column(at.0), column(method.0));
            session
                .query(sql, &[&at, &method, hash, &after, &limit])
                .await
        });
        let rows = rows.await.map_err(failed)?;
        let read = |row: &Row| {
            let mut output = read_row(row, true)?;
            output.siginfo = row.get::<_, bool>(13).then(String::new);
            Ok(output)
        };
        rows.iter().map(read).collect()
    }

    /// The listing of one row, of the nearest namespace that has it.
    pub(super) async fn listing_of(
        &self,
        at: &Chain,
        key: &OutputKey,
    ) -> Result<Option<String>, StoreError> {
        let (Some(columns), Some(outhash)) =
            (self.columns(&key.task).await?, key.outhash.to_column())
        else {
            return Ok(None);
        };
        let sql = format!(
            "SELECT {LISTING} FROM output {LISTING_FROM}
              WHERE output.namespace = $1 AND output.method = $2 AND output.taskhash = $3
                AND output.outhash = $4"
        );
        let (sql, columns, outhash) = (&sql, &columns, &outhash);
        let row = self.shared.db.read("siginfo", |session| async move {
            let TaskColumns { method, taskhash } = columns;
            for at in at.iter() {
                let found = session
                    .query_opt(sql, &[&column(at.0), &column(method.0), taskhash, outhash])
                    .await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
        });
        let row = row.await.map_err(failed)?;
        let listing = row.as_ref().map(|row| stored_listing(row, 0)).transpose()?;
        listing.flatten().map(StoredListing::decode).transpose()
    }

    async fn output_columns(
        &self,
        method: &Method,
        outhash: &Outhash,
    ) -> Result<Option<OutputColumns>, StoreError> {
        let find = self.shared.find_method(&self.shared.db, method);
        let method = find.await.map_err(failed)?;
        let columns = method.zip(outhash.to_column());
        Ok(columns.map(|(method, outhash)| OutputColumns { method, outhash }))
    }
}

async fn oldest_match(
    session: &Session,
    at: NamespaceId,
    OutputColumns { method, outhash }: &OutputColumns,
    valid_only: bool,
) -> Result<Option<i64>, PostgresError> {
    let values: &[&dyn Value] = &[&column(at.0), &column(method.0), outhash, &valid_only];
    let row = session.query_opt(OLDEST_MATCH, values).await?;
    Ok(row.map(|row| row.get(0)))
}

/// A row with its listing, which is read in the same statement: neither goes meanwhile.
async fn row_by_id(
    session: &Session,
    at: NamespaceId,
    id: i64,
) -> Result<Option<Row>, PostgresError> {
    let sql = format!(
        "{ROW}, {LISTING} {ROW_FROM}
         {LISTING_FROM}
         WHERE output.namespace = $1 AND output.id = $2"
    );
    session.query_opt(&sql, &[&column(at.0), &id]).await
}

fn finish(row: Option<Row>, with_unihash: bool) -> Result<Option<OutputRow>, StoreError> {
    let Some(row) = row else {
        return Ok(None);
    };
    let mut output = read_row(&row, with_unihash)?;
    let listing = stored_listing(&row, ROW_COLUMNS)?;
    output.siginfo = listing.map(StoredListing::decode).transpose()?;
    Ok(Some(output))
}

fn read_row(row: &Row, with_unihash: bool) -> Result<OutputRow, StoreError> {
    let unihash = row.get::<_, Option<&[u8]>>(11).filter(|_| with_unihash);
    let unihash = unihash.map(Unihash::of_column).transpose()?;
    let mark = text_of(row, 12)?.unwrap_or_default();
    Ok(OutputRow {
        id: row.get(0),
        method: Method::new(text(row.get(1))?),
        taskhash: Taskhash::of_column(row.get(2))?,
        outhash: Outhash::of_column(row.get(3))?,
        created: created(row, 4)?.into_text(),
        metadata: Metadata {
            owner: text_of(row, 6)?,
            pn: text_of(row, 7)?,
            pv: text_of(row, 8)?,
            pr: text_of(row, 9)?,
            task: text_of(row, 10)?,
        },
        siginfo: None,
        unihash: unihash.map(|unihash| (unihash, mark)),
    })
}

/// The method of a column.
pub(super) const fn method_of(column: i32) -> MethodId {
    MethodId(number(column))
}

/// Outputs as columns name them, one array for each.
pub(super) struct OutputKeyColumns {
    pub(super) methods: Vec<i32>,
    pub(super) taskhashes: Vec<Vec<u8>>,
    pub(super) outhashes: Vec<Vec<u8>>,
}

impl PostgresStore {
    /// Rows after the one numbered `after` with their listings, without unihashes.
    pub(super) async fn complete_outputs(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<OutputRow>, StoreError> {
        let sql = format!(
            "{ROW}, {LISTING} {ROW_FROM} {LISTING_FROM}
              WHERE output.namespace = $1 AND output.id > $2 ORDER BY output.id LIMIT $3"
        );
        let (sql, limit) = (&sql, limit as i64);
        let rows = self.shared.db.read("output_copies", |session| async move {
            session.query(sql, &[&column(at.0), &after, &limit]).await
        });
        let rows = rows.await.map_err(failed)?;
        let finished = rows.into_iter().map(|row| finish(Some(row), false));
        let rows: Vec<Option<OutputRow>> = finished.collect::<Result<_, _>>()?;
        Ok(rows.into_iter().flatten().collect())
    }
}
