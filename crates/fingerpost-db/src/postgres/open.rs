//! The way from settings to a database that is up to date.

use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio::time::{Instant, sleep};

use super::connect::Connector;
use super::database::Inner;
use super::error::{PostgresError, PostgresOpenError};
use super::metrics::PostgresMetrics;
use super::migrate::{self, Header};
use super::run::jittered;
use super::session::Lease;
use super::settings::PostgresSettings;
use crate::migrate::Migration;
use crate::open::known_version;

/// The oldest server that works, as it tells its own version.
const VERSION_MIN: u32 = 130_000;

/// What the server says of itself.
struct Facts {
    replica: bool,
    asynchronous: bool,
    /// `fsync` is off.
    careless: bool,
    ours: bool,
    reference: bool,
}

pub(crate) async fn open(
    settings: PostgresSettings,
    migrations: &[Migration],
) -> Result<Inner, PostgresOpenError> {
    let connector = Connector::new(settings)?;
    let pool = connector.pool(connector.settings.connections_max);
    let target = connector.settings.target();
    let failed = |source| PostgresOpenError::Connect {
        target: target.clone(),
        source,
    };
    let lease = first(&connector, &pool).await.map_err(failed)?;
    check_version(&lease, &target).await?;
    let facts = facts(&lease).await.map_err(failed)?;
    lease.clean();
    drop(lease);
    facts.check(&connector.settings)?;
    let known = known_version(migrations);
    let header = if facts.replica {
        of_replica(&connector, &pool, &facts, known).await?
    } else {
        migrate::bring_up_to_date(&connector, &pool, facts.ours, migrations).await?
    };
    Ok(Inner {
        connector,
        pool,
        metrics: Arc::new(PostgresMetrics::default()),
        known,
        incarnation: header.incarnation,
        replica: facts.replica,
        new: !facts.ours,
    })
}

/// The first connection. A server that is just starting is waited for.
pub(crate) async fn first(connector: &Connector, pool: &Pool) -> Result<Lease, PostgresError> {
    let settings = &connector.settings;
    let started = Instant::now();
    let mut pauses = 0;
    loop {
        let error = match Lease::take(connector, pool, started + settings.deadline).await {
            Ok(lease) => return Ok(lease),
            Err(error) => error,
        };
        let again = matches!(error, PostgresError::Lost(_) | PostgresError::NoAnswer);
        if !again || started.elapsed() >= settings.acquire_timeout {
            return Err(error);
        }
        sleep(jittered(std::time::Duration::from_millis(50), pauses)).await;
        pauses += 1;
    }
}

/// Asks nothing that an old server would not understand.
async fn check_version(lease: &Lease, target: &str) -> Result<(), PostgresOpenError> {
    let row = lease
        .text_row("SELECT current_setting('server_version_num'), current_setting('server_version')")
        .await
        .map_err(|source| PostgresOpenError::Connect {
            target: target.to_owned(),
            source,
        })?;
    let column = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let number: u32 = column(0).parse().unwrap_or(0);
    if number >= VERSION_MIN {
        return Ok(());
    }
    Err(PostgresOpenError::TooOld {
        target: target.to_owned(),
        version: column(1).to_owned(),
    })
}

async fn facts(lease: &Lease) -> Result<Facts, PostgresError> {
    let row = lease
        .text_row(
            "SELECT pg_is_in_recovery(), current_setting('synchronous_commit'),
             current_setting('fsync', true), to_regclass('fingerpost') IS NOT NULL,
             coalesce(to_regclass('unihashes_v3'), to_regclass('unihashes_v2'),
                      to_regclass('outhashes_v2'), to_regclass('tasks_v2')) IS NOT NULL",
        )
        .await?;
    let is = |at: usize, expected: &str| row.get(at).and_then(Option::as_deref) == Some(expected);
    Ok(Facts {
        replica: is(0, "t"),
        asynchronous: is(1, "off"),
        careless: is(2, "off"),
        ours: is(3, "t"),
        reference: is(4, "t"),
    })
}

impl Facts {
    fn check(&self, settings: &PostgresSettings) -> Result<(), PostgresOpenError> {
        let target = settings.target();
        if self.reference && !self.ours {
            return Err(PostgresOpenError::ReferenceDatabase { target });
        }
        if self.replica {
            return Ok(());
        }
        if self.careless {
            tracing::warn!(%target, "fsync = off: a power cut may damage the database");
        }
        if self.asynchronous && !settings.allow_asynchronous_commit {
            return Err(PostgresOpenError::AsynchronousCommit { target });
        }
        if self.asynchronous {
            tracing::warn!(%target, "synchronous_commit = off: a crash loses what was answered");
        }
        Ok(())
    }
}

/// A replica gets its schema from its primary.
async fn of_replica(
    connector: &Connector,
    pool: &Pool,
    facts: &Facts,
    known: u32,
) -> Result<Header, PostgresOpenError> {
    let target = connector.settings.target();
    if !facts.ours {
        return Err(PostgresOpenError::EmptyReplica { target });
    }
    let header = migrate::current(connector, pool).await?;
    migrate::check(&header, known, &target)?;
    if header.version < known {
        return Err(PostgresOpenError::OldReplica {
            target,
            version: header.version,
            known,
        });
    }
    Ok(header)
}
