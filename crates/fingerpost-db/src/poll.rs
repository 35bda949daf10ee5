//! Noticing what other connections commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::DbError;
use crate::job::guarded;
use crate::metrics::{Metrics, count};

/// A thread that looks for commits at an interval; stops when dropped or when
/// the database is closed.
pub struct Poller {
    shared: Arc<PollState>,
}

impl Poller {
    pub(crate) const fn new(shared: Arc<PollState>) -> Self {
        Self { shared }
    }

    /// Returns how old the knowledge of other connections' commits is: the time
    /// since the start of the last complete poll, its `on_change` included.
    /// [`Duration::MAX`] before the first one.
    ///
    /// It grows while polls fail: whoever remembers rows may use them only
    /// while this is small.
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
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

const NEVER: u64 = u64::MAX;

/// What the poller's thread shares with its owner.
pub(crate) struct PollState {
    origin: Instant,
    polled_micros: AtomicU64,
    stopped: Mutex<bool>,
    wake: Condvar,
    metrics: Arc<Metrics>,
}

impl PollState {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            origin: Instant::now(),
            polled_micros: AtomicU64::new(NEVER),
            stopped: Mutex::new(false),
            wake: Condvar::new(),
            metrics,
        }
    }

    pub(crate) fn stop(&self) {
        *self.stopped.lock() = true;
        self.wake.notify_all();
    }

    /// The thread. `open` is tried again as long as it fails.
    pub(crate) fn run(
        &self,
        every: Duration,
        open: impl Fn() -> rusqlite::Result<Connection>,
        mut on_change: impl FnMut(&Connection) -> rusqlite::Result<()>,
    ) {
        let mut poll = Poll {
            conn: None,
            seen: None,
        };
        let mut failing = false;
        loop {
            let started = Instant::now();
            count(&self.metrics.polls);
            match poll.once(&open, &mut on_change) {
                Ok(()) => {
                    failing = false;
                    let micros = started.duration_since(self.origin).as_micros();
                    let micros = u64::try_from(micros).unwrap_or(NEVER - 1);
                    self.polled_micros.store(micros, Ordering::Release);
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "polling the database for changes fails");
                }
                Err(_) => {}
            }
            if self.rest(every.saturating_sub(started.elapsed())) {
                return;
            }
        }
    }

    /// Waits; `true` when stopped.
    fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time.max(Duration::from_millis(1));
        let mut stopped = self.stopped.lock();
        while !*stopped && !self.wake.wait_until(&mut stopped, until).timed_out() {}
        *stopped
    }
}

/// The poller's connection and what it saw last.
struct Poll {
    conn: Option<Connection>,
    seen: Option<i64>,
}

impl Poll {
    fn once(
        &mut self,
        open: impl Fn() -> rusqlite::Result<Connection>,
        on_change: &mut impl FnMut(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), DbError> {
        let conn = match &self.conn {
            Some(conn) => conn,
            None => self.conn.insert(open()?),
        };
        let version = guarded(|| {
            let version = conn
                .prepare_cached("PRAGMA data_version")?
                .query_row([], |row| row.get(0))?;
            if self.seen != Some(version) {
                on_change(conn)?;
            }
            Ok(version)
        })?;
        self.seen = Some(version);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::testing::{TestFile, insert};

    const EVERY: Duration = Duration::from_millis(10);
    const SOON: Duration = Duration::from_secs(5);

    fn count_of(conn: &Connection) -> rusqlite::Result<i64> {
        conn.query_row("SELECT count(*) FROM item", [], |row| row.get(0))
    }

    #[tokio::test]
    async fn commits_of_others_and_of_our_own_are_noticed() {
        let file = TestFile::new();
        let (db, other) = (file.open(), file.open());
        let (sender, seen) = mpsc::sync_channel(100);
        let poller = db.poll(EVERY, move |conn| {
            let _ = sender.send(count_of(conn)?);
            Ok(())
        });
        assert_eq!(seen.recv_timeout(SOON), Ok(0), "once at the start");
        insert(&other, "a").await.unwrap().unwrap();
        assert_eq!(seen.recv_timeout(SOON), Ok(1));
        insert(&db, "b").await.unwrap().unwrap();
        assert_eq!(seen.recv_timeout(SOON), Ok(2));
        assert!(poller.last_poll_age() < SOON);
    }

    #[tokio::test]
    async fn a_failed_poll_does_not_count_and_is_repeated() {
        let file = TestFile::new();
        let db = file.open();
        let mut failures = 3;
        let poller = db.poll(EVERY, move |_| {
            failures -= 1;
            match failures {
                2 => Err(rusqlite::Error::InvalidQuery),
                1 => panic!("on purpose"),
                _ => Ok(()),
            }
        });
        let started = Instant::now();
        while poller.last_poll_age() == Duration::MAX {
            assert!(started.elapsed() < SOON);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(started.elapsed() >= EVERY);
    }

    #[tokio::test]
    async fn a_dropped_poller_stops() {
        let file = TestFile::new();
        let db = file.open();
        let (sender, seen) = mpsc::sync_channel::<()>(100);
        let poller = db.poll(EVERY, move |_| {
            sender.send(()).map_err(|_| rusqlite::Error::InvalidQuery)
        });
        seen.recv_timeout(SOON).unwrap();
        drop(poller);
        // The closure, and with it the sender, goes with the thread.
        assert_eq!(
            seen.recv_timeout(SOON),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
