//! Our two tables, and bringing the services' schema up to date.
//!
//! Whoever migrates holds the lock on the one row of `fingerpost`. That is no
//! advisory lock: those belong to a session, and CockroachDB has none.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::{Instant, sleep};

use super::connect::{Connector, local_limits};
use super::error::{PostgresError, PostgresOpenError};
use super::run::jittered;
use super::session::Lease;
use crate::migrate::Migration;
use crate::open::known_version;

/// The tables of this crate. The statements fail when another process is just
/// making the same tables.
const BASE_SQL: &str = "
CREATE TABLE IF NOT EXISTS fingerpost (
    -- One row.
    id int4 PRIMARY KEY CHECK (id = 1),
    -- Of the services' schema; 0 before the first migration.
    version int4 NOT NULL,
    -- The oldest version of the program that can use the database.
    min_reader int4 NOT NULL,
    -- 16 random bytes.
    incarnation bytea NOT NULL
);
CREATE TABLE IF NOT EXISTS lease (
    name text PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL
);
";

/// Tries of what another process may be doing at the same moment.
const ATTEMPTS_MAX: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);
/// What a statement of a migration may take beyond its limit to be answered.
const GRACE: Duration = Duration::from_secs(5);

/// The row of the table `fingerpost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) min_reader: u32,
    pub(crate) incarnation: [u8; 16],
}

/// A step that failed.
struct Failed {
    version: u32,
    source: PostgresError,
}

impl From<PostgresError> for Failed {
    fn from(source: PostgresError) -> Self {
        Self { version: 0, source }
    }
}

/// Makes our tables unless `ours` says that they are there, and runs what is
/// missing.
pub(crate) async fn bring_up_to_date(
    connector: &Connector,
    pool: &Pool,
    ours: bool,
    migrations: &[Migration],
) -> Result<Header, PostgresOpenError> {
    let target = connector.settings.target();
    let known = known_version(migrations);
    let mut attempts = 0;
    loop {
        let outcome = async {
            if !ours {
                make_base(connector, pool).await?;
            }
            migrate(connector, pool, migrations, known).await
        }
        .await;
        let failed = match outcome {
            Ok(header) => {
                check(&header, known, &target)?;
                return Ok(header);
            }
            Err(failed) => failed,
        };
        attempts += 1;
        if attempts >= ATTEMPTS_MAX || !may_pass(&failed.source) {
            return Err(match failed {
                Failed { version: 0, source } => PostgresOpenError::Connect { target, source },
                Failed { version, source } => PostgresOpenError::Migration {
                    target,
                    version,
                    source,
                },
            });
        }
        sleep(jittered(PAUSE, attempts)).await;
    }
}

/// Whether the same may succeed now: all of it can be done twice. Two processes
/// that make a table at once collide in the server's own catalogue.
fn may_pass(error: &PostgresError) -> bool {
    matches!(
        error,
        PostgresError::Conflict(_)
            | PostgresError::Lost(_)
            | PostgresError::NoAnswer
            | PostgresError::UnknownOutcome(_)
    ) || matches!(error.code(), Some("23505" | "42P07" | "42710" | "XX000"))
}

/// Refuses what needs a newer program.
pub(crate) fn check(header: &Header, known: u32, target: &str) -> Result<(), PostgresOpenError> {
    if header.min_reader <= known {
        return Ok(());
    }
    Err(PostgresOpenError::TooNew {
        target: target.to_owned(),
        version: header.version,
        min_reader: header.min_reader,
        known,
    })
}

/// The header as it is.
pub(crate) async fn current(
    connector: &Connector,
    pool: &Pool,
) -> Result<Header, PostgresOpenError> {
    let read = async {
        let lease = leased(connector, pool).await?;
        let header = header(&lease, "").await?;
        lease.clean();
        Ok(header)
    };
    read.await.map_err(|source| PostgresOpenError::Connect {
        target: connector.settings.target(),
        source,
    })
}

async fn leased(connector: &Connector, pool: &Pool) -> Result<Lease, PostgresError> {
    let deadline = Instant::now() + connector.settings.deadline;
    let limit = connector.settings.migration_timeout + GRACE;
    let lease = Lease::take(connector, pool, deadline).await?;
    Ok(lease.with_limit(limit))
}

async fn make_base(connector: &Connector, pool: &Pool) -> Result<(), PostgresError> {
    let incarnation: [u8; 16] = rand::random();
    let incarnation: String = incarnation
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lease = leased(connector, pool).await?;
    lease
        .batch(&format!(
            "BEGIN; {BASE_SQL}
             INSERT INTO fingerpost (id, version, min_reader, incarnation)
             VALUES (1, 0, 0, '\\x{incarnation}') ON CONFLICT (id) DO NOTHING; COMMIT"
        ))
        .await?;
    lease.clean();
    Ok(())
}

/// Runs what is missing, all of it or nothing.
async fn migrate(
    connector: &Connector,
    pool: &Pool,
    migrations: &[Migration],
    known: u32,
) -> Result<Header, Failed> {
    let lease = leased(connector, pool).await?;
    let mut header = header(&lease, "").await?;
    if header.version >= known || header.min_reader > known {
        lease.clean();
        return Ok(header);
    }
    let time = connector.settings.migration_timeout;
    let limits = local_limits(time, time);
    lease.batch(&format!("BEGIN; {limits}")).await?;
    // Who comes second waits here, and finds nothing to do.
    header = self::header(&lease, "FOR UPDATE").await?;
    if header.min_reader <= known {
        for step in migrations {
            if step.version > header.version {
                lease.batch(step.sql).await.map_err(|source| Failed {
                    version: step.version,
                    source,
                })?;
            }
        }
        header = recorded(&lease, header, migrations, known).await?;
    }
    lease.commit().await?;
    lease.clean();
    Ok(header)
}

async fn recorded(
    lease: &Lease,
    mut header: Header,
    migrations: &[Migration],
    known: u32,
) -> Result<Header, PostgresError> {
    if header.version >= known {
        return Ok(header);
    }
    let min_readers = migrations.iter().map(|step| step.min_reader);
    header.version = known;
    header.min_reader = min_readers.fold(header.min_reader, u32::max);
    let Header {
        version,
        min_reader,
        ..
    } = header;
    lease
        .batch(&format!(
            "UPDATE fingerpost SET version = {version}, min_reader = {min_reader} WHERE id = 1"
        ))
        .await?;
    Ok(header)
}

/// Reads the one row, and locks it when `lock` says so.
async fn header(lease: &Lease, lock: &str) -> Result<Header, PostgresError> {
    let row = lease
        .text_row(&format!(
            "SELECT version, min_reader, encode(incarnation, 'hex') FROM fingerpost
             WHERE id = 1 {lock}"
        ))
        .await?;
    let number = |at: usize| row.get(at)?.as_deref()?.parse().ok();
    let incarnation = || {
        let hex = u128::from_str_radix(row.get(2)?.as_deref()?, 16).ok()?;
        Some(hex.to_be_bytes())
    };
    number(0)
        .zip(number(1))
        .zip(incarnation())
        .map(|((version, min_reader), incarnation)| Header {
            version,
            min_reader,
            incarnation,
        })
        .ok_or(PostgresError::Rows(0))
}
