//! What `/readyz` answers: whether the server can work, and since when its database
//! does not answer.
//!
//! A SQLite file that cannot be read is this machine's own trouble, and another server
//! may do better: not ready. A PostgreSQL that does not answer is everybody's. If all
//! servers said then that they are not ready, builds would be refused connections,
//! where misses and what memory knows let them go on; so the servers stay ready and say
//! what is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fingerpost_core::{Clock as _, SystemClock, Timestamp};
use fingerpost_db::Sqlite;
use fingerpost_db::postgres::Postgres;
use fingerpost_hashequiv::Database;

/// The last known state; cheap to ask at every probe.
#[derive(Clone)]
pub(super) enum DatabaseWatch {
    /// Whether the file was readable a moment ago.
    File(Arc<AtomicBool>),
    /// The primary, which is polled all the time.
    Server(Postgres),
}

impl DatabaseWatch {
    /// Looks after `database` until the runtime ends.
    pub(super) fn start(database: &Database) -> Self {
        match database {
            Database::Sqlite(database) => Self::File(watch(database.clone())),
            Database::Postgres { primary, .. } => Self::Server(primary.clone()),
        }
    }

    /// `Err` has a sentence why the server cannot work, `Ok` one about what does not.
    pub(super) fn state(&self) -> Result<Option<String>, String> {
        match self {
            Self::File(readable) if readable.load(Ordering::Relaxed) => Ok(None),
            Self::File(_) => Err("the database cannot be read".to_owned()),
            Self::Server(primary) => Ok(unreachable_since(primary)
                .map(|since| format!("database: unreachable since {}", since.to_rfc3339()))),
        }
    }
}

/// When a PostgreSQL answered last, unless that was a moment ago.
fn unreachable_since(database: &Postgres) -> Option<Timestamp> {
    let age = database.last_poll_age().filter(|age| *age >= SILENCE_MAX)?;
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Some(Timestamp(SystemClock.now().0.saturating_sub(age)))
}

fn watch(database: Sqlite) -> Arc<AtomicBool> {
    let readable = Arc::new(AtomicBool::new(true));
    let watched = Arc::clone(&readable);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let look = database.read(|conn| conn.query_row("SELECT 1", [], |_| Ok(())));
            let outcome = tokio::time::timeout(LOOK_MAX, look).await;
            let now = matches!(outcome, Ok(Ok(())));
            if watched.swap(now, Ordering::Relaxed) && !now {
                tracing::error!("the database cannot be read; /readyz says so");
            }
        }
    });
    readable
}

const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Polls are 250 ms apart; a database that was silent for this long does not answer.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(2);
