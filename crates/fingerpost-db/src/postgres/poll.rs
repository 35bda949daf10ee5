//! Asking a question again and again.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::database::Inner;
use super::error::PostgresError;
use super::run::jittered;
use super::session::{Lease, Session};
use crate::metrics::{count, micros};

/// Polls are at most so far apart.
const EVERY_MAX: Duration = Duration::from_millis(500);
/// How much longer than its interval a poll may take.
const SLOWNESS_MAX: Duration = Duration::from_secs(1);
const NEVER: u64 = u64::MAX;

/// A task that asks at an interval; stops when dropped or when the database is
/// closed.
pub struct PostgresPoller {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    origin: Instant,
    polled_micros: AtomicU64,
}

impl PostgresPoller {
    /// Returns how old the knowledge of the last good poll is: the time since its
    /// start. [`Duration::MAX`] before the first one.
    ///
    /// It grows while polls fail: whoever remembers rows may use them only while
    /// this is small.
    pub fn last_poll_age(&self) -> Duration {
        match self.shared.polled_micros.load(Ordering::Acquire) {
            NEVER => Duration::MAX,
            micros => self
                .shared
                .origin
                .elapsed()
                .saturating_sub(Duration::from_micros(micros)),
        }
    }

    pub(crate) fn start<F, Fut>(db: Weak<Inner>, every: Duration, ask: F) -> Self
    where
        F: FnMut(Session) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), PostgresError>> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            polled_micros: AtomicU64::new(NEVER),
        });
        let every = every.min(EVERY_MAX);
        let task = tokio::spawn(run(db, Arc::clone(&shared), every, ask));
        Self { shared, task }
    }
}

impl Drop for PostgresPoller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<F, Fut>(db: Weak<Inner>, shared: Arc<Shared>, every: Duration, mut ask: F)
where
    F: FnMut(Session) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), PostgresError>> + Send + 'static,
{
    // One connection, which nobody else waits for, made again when it is lost.
    let Some(pool) = db.upgrade().map(|db| db.connector.pool(1)) else {
        return;
    };
    let mut failures = 0;
    loop {
        let started = Instant::now();
        let Some(db) = db.upgrade().filter(|db| !db.pool.is_closed()) else {
            return;
        };
        count(&db.metrics.polls);
        let outcome = once(&db, &pool, every + SLOWNESS_MAX, &mut ask).await;
        let mut rest = every.saturating_sub(started.elapsed());
        match outcome {
            Ok(()) => {
                failures = 0;
                let since = micros(started.duration_since(shared.origin));
                shared.polled_micros.store(since, Ordering::Release);
                db.metrics.polled(started);
            }
            Err(error) => {
                count(&db.metrics.poll_failures);
                if failures == 0 {
                    tracing::warn!(%error, "polling PostgreSQL for changes fails");
                }
                rest = rest.max(jittered(every, failures));
                failures += 1;
            }
        }
        drop(db);
        sleep(rest.max(Duration::from_millis(1))).await;
    }
}

async fn once<F, Fut>(
    db: &Inner,
    pool: &Pool,
    limit: Duration,
    ask: &mut F,
) -> Result<(), PostgresError>
where
    F: FnMut(Session) -> Fut,
    Fut: Future<Output = Result<(), PostgresError>>,
{
    let connected = Instant::now() + db.connector.settings.connect_timeout;
    let lease = Arc::new(Lease::take(&db.connector, pool, connected).await?);
    let outcome = timeout(limit, ask(Session::new(Arc::clone(&lease)))).await;
    lease.end();
    let outcome = outcome.unwrap_or(Err(PostgresError::Timeout));
    if outcome.is_ok() {
        lease.clean();
    }
    outcome
}
