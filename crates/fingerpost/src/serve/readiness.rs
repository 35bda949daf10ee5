//! What `/readyz` answers: whether the database was readable a moment ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fingerpost_db::Sqlite;

/// The last known state; cheap to ask at every probe.
#[derive(Clone)]
pub(super) struct DatabaseWatch(Arc<AtomicBool>);

impl DatabaseWatch {
    /// Looks after `database` until the runtime ends.
    pub(super) fn start(database: Sqlite) -> Self {
        let readable = Arc::new(AtomicBool::new(true));
        let watch = Self(Arc::clone(&readable));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let look = database.read(|conn| conn.query_row("SELECT 1", [], |_| Ok(())));
                let outcome = tokio::time::timeout(LOOK_MAX, look).await;
                let now = matches!(outcome, Ok(Ok(())));
                if readable.swap(now, Ordering::Relaxed) && !now {
                    tracing::error!("the database cannot be read; /readyz says so");
                }
            }
        });
        watch
    }

    /// A sentence why the server cannot work, if it cannot.
    pub(super) fn state(&self) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("the database cannot be read".to_owned())
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_MAX: Duration = Duration::from_secs(2);
