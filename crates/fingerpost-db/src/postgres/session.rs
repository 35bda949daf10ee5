//! What a job speaks to.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};

use super::connect::Connector;
use super::error::PostgresError;
use super::value::Value;

/// A connection for as long as a job runs; afterwards its statements fail.
///
/// A statement is prepared once for each connection, or not at all, as
/// [`PostgresSettings::statement_cache`] says; results of the types of an
/// extension or of enumerations need the former.
///
/// [`PostgresSettings::statement_cache`]: super::PostgresSettings::statement_cache
pub struct Session(Arc<Lease>);

impl Session {
    pub(crate) const fn new(lease: Arc<Lease>) -> Self {
        Self(lease)
    }

    /// Prepares a statement on this connection, unless that was done or is not done at
    /// all: when it is sent later, no statement that is sent after it overtakes it.
    pub async fn prepare(&self, sql: &str, values: &[&dyn Value]) -> Result<(), PostgresError> {
        if !self.0.cached {
            return Ok(());
        }
        let types = types(values);
        let prepared = self.0.client().prepare_typed_cached(sql, &types);
        self.0.limited(prepared).await.map(drop)
    }

    /// Runs a statement; all of its rows, in memory.
    pub async fn query(&self, sql: &str, values: &[&dyn Value]) -> Result<Vec<Row>, PostgresError> {
        let client = self.0.client();
        self.0
            .limited(async {
                if self.0.cached {
                    let statement = client.prepare_typed_cached(sql, &types(values)).await?;
                    client.query(&statement, &plain(values)).await
                } else {
                    client.query_typed(sql, &typed(values)).await
                }
            })
            .await
    }

    /// Runs a statement that gives one row or none.
    pub async fn query_opt(
        &self,
        sql: &str,
        values: &[&dyn Value],
    ) -> Result<Option<Row>, PostgresError> {
        let mut rows = self.query(sql, values).await?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            more => Err(PostgresError::Rows(more)),
        }
    }

    /// Runs a statement that gives one row.
    pub async fn query_one(&self, sql: &str, values: &[&dyn Value]) -> Result<Row, PostgresError> {
        let row = self.query_opt(sql, values).await?;
        row.ok_or(PostgresError::Rows(0))
    }

    /// Runs a statement; how many rows it changed.
    pub async fn execute(&self, sql: &str, values: &[&dyn Value]) -> Result<u64, PostgresError> {
        let client = self.0.client();
        self.0
            .limited(async {
                if self.0.cached {
                    let statement = client.prepare_typed_cached(sql, &types(values)).await?;
                    client.execute(&statement, &plain(values)).await
                } else {
                    client.execute_typed(sql, &typed(values)).await
                }
            })
            .await
    }

    /// Runs statements without values, separated by `;`, in one round trip.
    pub async fn batch(&self, sql: &str) -> Result<(), PostgresError> {
        self.0.batch(sql).await
    }
}

fn types(values: &[&dyn Value]) -> Vec<Type> {
    values.iter().map(|value| value.sql_type()).collect()
}

fn plain<'a>(values: &[&'a dyn Value]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value.as_sql()).collect()
}

fn typed<'a>(values: &[&'a dyn Value]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    let values = values.iter();
    values
        .map(|value| (value.as_sql(), value.sql_type()))
        .collect()
}

/// A connection out of a pool. It goes back only when it is [`clean`](Self::clean):
/// whatever is half done on another one ends with it.
pub(crate) struct Lease {
    object: Option<Object>,
    cached: bool,
    limit: Duration,
    /// Statements whose answers were not waited for to the end.
    unanswered: AtomicU32,
    clean: AtomicBool,
    ended: AtomicBool,
}

impl Lease {
    /// Waits for one until the deadline at most.
    pub(crate) async fn take(
        connector: &Connector,
        pool: &Pool,
        deadline: Instant,
    ) -> Result<Self, PostgresError> {
        let object = timeout_at(deadline, pool.get())
            .await
            .map_err(|_| PostgresError::Busy)??;
        Ok(Self {
            object: Some(object),
            cached: connector.settings.statement_cache,
            limit: connector.answer_limit(),
            unanswered: AtomicU32::new(0),
            clean: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// Waits this long for an answer instead.
    pub(crate) const fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn client(&self) -> &ClientWrapper {
        self.object.as_ref().expect("only drop takes it out")
    }

    /// Gives `work` the time of a statement.
    pub(crate) async fn limited<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresError> {
        if self.ended.load(Ordering::Acquire) {
            return Err(PostgresError::TransactionLost);
        }
        // Stays counted when the job drops this future.
        self.unanswered.fetch_add(1, Ordering::AcqRel);
        let Ok(outcome) = timeout(self.limit, work).await else {
            return Err(PostgresError::NoAnswer);
        };
        self.unanswered.fetch_sub(1, Ordering::AcqRel);
        outcome.map_err(PostgresError::from)
    }

    pub(crate) async fn batch(&self, sql: &str) -> Result<(), PostgresError> {
        self.limited(self.client().batch_execute(sql)).await
    }

    /// The columns of the last row that these statements give, as text.
    pub(crate) async fn text_row(&self, sql: &str) -> Result<Vec<Option<String>>, PostgresError> {
        let messages = self.limited(self.client().simple_query(sql)).await?;
        let rows = messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = rows.ok_or(PostgresError::Rows(0))?;
        Ok((0..row.len())
            .map(|column| row.get(column).map(str::to_owned))
            .collect())
    }

    /// Sends COMMIT. In a transaction that an error has ended COMMIT would
    /// succeed and store nothing; the statement before it does not.
    pub(crate) async fn commit(&self) -> Result<(), PostgresError> {
        if self.client().is_closed() {
            // Lost before it was sent.
            return Err(PostgresError::NoAnswer);
        }
        let commit = self.client().batch_execute("SELECT 1; COMMIT");
        match timeout(self.limit, commit).await {
            Ok(outcome) => outcome.map_err(PostgresError::of_commit),
            Err(_) => Err(PostgresError::UnknownOutcome(None)),
        }
    }

    /// Whether the transaction is gone and the connection as good as new.
    pub(crate) async fn roll_back(&self) -> bool {
        let roll_back = self.client().batch_execute("ROLLBACK");
        matches!(timeout(self.limit, roll_back).await, Ok(Ok(())))
    }

    /// From now on the job's statements fail.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// No transaction is open. If no answer is outstanding either, it can be used
    /// again.
    pub(crate) fn clean(&self) {
        let answered = self.unanswered.load(Ordering::Acquire) == 0;
        self.clean.store(answered, Ordering::Release);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && !self.clean.load(Ordering::Acquire)
        {
            // Closes it; the server rolls back.
            drop(Object::take(object));
        }
    }
}
