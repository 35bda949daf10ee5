//! A database of another program, which is read and left as it is.

use std::pin::Pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Row, RowStream};

use super::connect::Connector;
use super::error::{PostgresError, PostgresOpenError};
use super::open;
use super::session::Lease;
use super::settings::PostgresSettings;

/// Rows for which a cursor is asked at a time. Each question has the time of a
/// statement; memory holds few of its rows at once.
const FETCH_ROWS: u32 = 1000;

/// Cursors are for whole tables: without the second statement, the server would
/// sort those of which it expects that all is read. The third is for a database
/// of bytes, which the server would refuse to send where they are no UTF-8.
const BEGIN: &str = "
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL cursor_tuple_fraction = 0;
SELECT set_config('client_encoding', 'SQL_ASCII', true)
 WHERE current_setting('server_encoding') = 'SQL_ASCII';
";

/// What another program's database held at one moment. It is read on a
/// connection of its own, in one transaction that can write nothing and keeps
/// nobody from writing; dropping this ends both.
///
/// Nothing is asked of the database: it needs none of our tables, and may be a
/// replica or behind PgBouncer.
pub struct ForeignSnapshot {
    lease: Lease,
    target: String,
}

impl ForeignSnapshot {
    /// Connects and begins the transaction. Of the settings,
    /// [`statement_timeout`](PostgresSettings::statement_timeout) is for each
    /// statement, and each thousand rows of a walk;
    /// [`deadline`](PostgresSettings::deadline) is how long we may be silent.
    ///
    /// # Errors
    ///
    /// [`PostgresOpenError::Tls`] and [`PostgresOpenError::Connect`].
    pub async fn open(mut settings: PostgresSettings) -> Result<Self, PostgresOpenError> {
        // A transaction is all that we need of a pooler.
        settings.statement_cache = false;
        let connector = Connector::new(settings)?;
        let target = connector.settings.target();
        let begun = async {
            let lease = open::first(&connector, &connector.pool(1)).await?;
            let limits = connector.local_limits();
            lease.batch(&format!("{BEGIN} {limits}")).await?;
            Ok(lease)
        };
        match begun.await {
            Ok(lease) => Ok(Self { lease, target }),
            Err(source) => Err(PostgresOpenError::Connect { target, source }),
        }
    }

    /// The database as sentences name it: `postgresql://HOST:PORT/DATABASE`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// All rows of a statement, in memory.
    pub async fn query(&self, sql: &str) -> Result<Vec<ForeignRow>, PostgresError> {
        let rows = async { self.stream(sql).await?.try_collect::<Vec<_>>().await };
        let rows = self.lease.limited(rows).await?;
        Ok(rows.into_iter().map(ForeignRow).collect())
    }

    /// Begins to read the rows of a SELECT, however many they are. One walk at a
    /// time.
    pub async fn walk(&mut self, select: &str) -> Result<ForeignRows<'_>, PostgresError> {
        self.lease
            .batch(&format!("DECLARE walk NO SCROLL CURSOR FOR {select}"))
            .await?;
        Ok(ForeignRows {
            snapshot: self,
            fetched: None,
            rows: 0,
        })
    }

    /// Runs a statement without having it prepared.
    async fn stream(&self, sql: &str) -> Result<Pin<Box<RowStream>>, tokio_postgres::Error> {
        let none: [(&str, Type); 0] = [];
        let stream = self.lease.client().query_typed_raw(sql, none).await?;
        Ok(Box::pin(stream))
    }
}

/// A walk over rows. Memory holds those of some hundred kilobytes at a time, and
/// one at least.
pub struct ForeignRows<'a> {
    snapshot: &'a ForeignSnapshot,
    fetched: Option<Pin<Box<RowStream>>>,
    /// Rows that came out of `fetched`.
    rows: u32,
}

impl ForeignRows<'_> {
    /// The next row; `None` at the end, after which another walk can begin.
    pub async fn next(&mut self) -> Result<Option<ForeignRow>, PostgresError> {
        let lease = &self.snapshot.lease;
        loop {
            let fetched = match &mut self.fetched {
                Some(fetched) => fetched,
                None => {
                    let fetch = format!("FETCH FORWARD {FETCH_ROWS} FROM walk");
                    let fetched = lease.limited(self.snapshot.stream(&fetch)).await?;
                    self.rows = 0;
                    self.fetched.insert(fetched)
                }
            };
            if let Some(row) = lease.limited(fetched.try_next()).await? {
                self.rows += 1;
                return Ok(Some(ForeignRow(row)));
            }
            self.fetched = None;
            if self.rows < FETCH_ROWS {
                lease.batch("CLOSE walk").await?;
                return Ok(None);
            }
        }
    }
}

/// A row of another program's table.
pub struct ForeignRow(Row);

impl ForeignRow {
    /// The bytes of a column of the type `text`, NULL as `None`. They are UTF-8
    /// unless the database stores bytes as they come (`SQL_ASCII`).
    pub fn text(&self, column: usize) -> Result<Option<&[u8]>, PostgresError> {
        let text: Option<Bytes<'_>> = self.0.try_get(column)?;
        Ok(text.map(|Bytes(bytes)| bytes))
    }

    /// A column of the type `int8`.
    pub fn number(&self, column: usize) -> Result<Option<i64>, PostgresError> {
        Ok(self.0.try_get(column)?)
    }
}

/// Text before anybody looked whether it is UTF-8.
struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TEXT
    }
}
