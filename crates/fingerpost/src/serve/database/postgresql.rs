//! PostgreSQL: opened when it can be reached, and what is said when it cannot be used.

use std::time::Duration;

use fingerpost_db::postgres::{Postgres, PostgresError, PostgresOpenError, PostgresSettings};
use fingerpost_hashequiv::Database;
use fingerpost_hashequiv::postgres::MIGRATIONS;
use tokio::time::{Instant, sleep};

use super::Opened;
use crate::config::Config;
use crate::exit::{Exit, failure};

/// Pause between two attempts, beside what an attempt takes.
const PAUSE: Duration = Duration::from_millis(500);

/// Opens the primary and its replicas; what cannot be reached yet is waited for.
pub(super) async fn open(config: &Config, patience: Duration) -> anyhow::Result<Opened> {
    let wrong = |error| failure(Exit::Configuration, error);
    let Some(settings) = config.postgresql_primary().map_err(wrong)? else {
        return Err(failure(Exit::Configuration, "postgresql.url is not set"));
    };
    let place = settings.target();
    let deadline = Instant::now() + patience;
    let primary = reach(settings, may_write(config), deadline).await?;
    let (mut replicas, mut replica_names) = (Vec::new(), Vec::new());
    for (name, settings) in config.postgresql_replicas().map_err(wrong)? {
        let replica = reach(settings, Role::Replica, deadline).await?;
        if replica.incarnation() != primary.incarnation() {
            let why = format!("postgresql.replicas.{name} is no replica of {place}");
            return Err(failure(Exit::Configuration, why));
        }
        replicas.push(replica);
        replica_names.push(name);
    }
    Ok(Opened {
        is_new: primary.is_new(),
        database: Database::Postgres { primary, replicas },
        replica_names,
        place,
    })
}

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    /// Nothing is written, so a replica will do.
    ReadOnly,
    Replica,
}

const fn may_write(config: &Config) -> Role {
    match config.server.read_only {
        true => Role::ReadOnly,
        false => Role::Primary,
    }
}

/// Opens one. What may be right a little later is tried again until the deadline:
/// programs of a cluster start together, and a replica gets its tables from its primary.
async fn reach(
    settings: PostgresSettings,
    role: Role,
    deadline: Instant,
) -> anyhow::Result<Postgres> {
    let target = settings.target();
    let mut is_told = false;
    loop {
        let (exit, why) = match Postgres::open(settings.clone(), MIGRATIONS).await {
            Ok(database) if role == Role::Primary && database.is_replica() => {
                (Exit::Unavailable, read_only(&target))
            }
            Ok(database) => return Ok(database),
            Err(error) => {
                let exit = exit_of(&error, role);
                (exit, sentence(error))
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if exit != Exit::Unavailable || left.is_zero() {
            return Err(failure(exit, why));
        }
        if !is_told {
            let seconds = left.as_secs();
            tracing::warn!("{why}; it is tried again for {seconds} s");
            is_told = true;
        }
        sleep(PAUSE.min(left)).await;
    }
}

fn read_only(target: &str) -> String {
    format!(
        "{target} is a read-only replica; name its primary (with several hosts: \
         target_session_attrs=read-write), or set server.read_only"
    )
}

fn sentence(error: PostgresOpenError) -> String {
    let way_out = match &error {
        PostgresOpenError::ReferenceDatabase { .. } => {
            "; it was left as it is. Set postgresql.url to an empty database, and see \
             `fingerpost import --help`"
        }
        PostgresOpenError::AsynchronousCommit { .. } => " (postgresql.allow_asynchronous_commit)",
        _ => "",
    };
    format!("{:#}{way_out}", anyhow::Error::new(error))
}

/// [`Exit::Unavailable`] for what may be right a little later.
fn exit_of(error: &PostgresOpenError, role: Role) -> Exit {
    match error {
        PostgresOpenError::Connect { source, .. } => exit_of_source(source),
        PostgresOpenError::Migration { source, .. } => match exit_of_source(source) {
            Exit::Configuration => Exit::Io,
            exit => exit,
        },
        PostgresOpenError::EmptyReplica { .. } | PostgresOpenError::OldReplica { .. }
            if role != Role::ReadOnly =>
        {
            Exit::Unavailable
        }
        _ => Exit::Configuration,
    }
}

fn exit_of_source(error: &PostgresError) -> Exit {
    if error.is_busy() || matches!(error, PostgresError::Lost(_) | PostgresError::NoAnswer) {
        return Exit::Unavailable;
    }
    match error.code() {
        // A login that is wrong or may not do this.
        Some(code) if code.starts_with("28") || code == "42501" => Exit::Denied,
        // No such database, a certificate that is not believed, no TLS there.
        None | Some("3D000") => Exit::Configuration,
        Some(_) => Exit::Io,
    }
}
