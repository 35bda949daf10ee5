//! Copying the write-ahead log into the file, off the writer's path.
//!
//! A thread with a connection of its own copies what has gathered, beside
//! writers and readers. Under constant load that alone never lets the log start
//! over, since new frames arrive while it copies: so the writer, between two
//! transactions, copies the few that are left and waits a moment for readers
//! that still need the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::metrics::{Metrics, add, count, micros};

/// A page with its header in the log.
const FRAME_BYTES: u64 = 4096 + 24;
/// How long the writer waits for readers, and for the checkpointer.
const RESTART_WAIT: Duration = Duration::from_millis(10);
/// Rest after a checkpoint that gained nothing: a reader's old snapshot holds it
/// up, or the disk is full.
const HELD_UP_PAUSE: Duration = Duration::from_millis(200);
/// The writer does all the copying itself once the log is this many times as
/// long as wanted: the disk does not keep up, and clients have to feel it.
const LENGTHS_MAX: u64 = 4;
/// The writer copies this part of the wanted length at most by itself.
const FEW: u64 = 8;

/// What the log holds, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// All of it since it started over.
    pub(crate) bytes: u64,
    /// What is not in the file yet.
    pub(crate) pending: u64,
}

#[derive(Clone, Copy)]
enum Mode {
    /// Copies nothing.
    Look,
    /// Copies what it can without waiting for anybody.
    Passive,
    /// Copies everything and lets the log start over, waiting for readers.
    Restart,
}

/// Returns the state of the log; a few microseconds.
pub(crate) fn look(conn: &Connection) -> rusqlite::Result<Log> {
    checkpoint(conn, Mode::Look)
}

fn checkpoint(conn: &Connection, mode: Mode) -> rusqlite::Result<Log> {
    let sql = match mode {
        Mode::Look => "PRAGMA wal_checkpoint(NOOP)",
        Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Restart => "PRAGMA wal_checkpoint(RESTART)",
    };
    conn.prepare_cached(sql)?.query_row([], |row| {
        // -1 until somebody has read or written through this connection.
        let all = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        let copied = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        Ok(Log {
            bytes: all * FRAME_BYTES,
            pending: all.saturating_sub(copied) * FRAME_BYTES,
        })
    })
}

/// What the writer and the checkpointer tell each other.
pub(crate) struct Checkpoints {
    wanted_bytes: u64,
    idle: Duration,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    wake: Condvar,
    /// The thread has copied the bulk; the writer finishes.
    finish: AtomicBool,
}

enum Reason {
    Wanted,
    Time,
    Stopped,
}

#[derive(Default)]
struct State {
    wanted: bool,
    stopped: bool,
}

impl Checkpoints {
    pub(crate) fn new(wanted_bytes: u64, idle: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            wanted_bytes: wanted_bytes.max(FRAME_BYTES),
            idle,
            metrics,
            state: Mutex::new(State::default()),
            wake: Condvar::new(),
            finish: AtomicBool::new(false),
        }
    }

    /// Ends [`Checkpoints::run`].
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.wake.notify_all();
    }

    fn want(&self) {
        self.state.lock().wanted = true;
        self.wake.notify_one();
    }

    /// The checkpointer's thread.
    pub(crate) fn run(&self, conn: &Connection) {
        let mut seen = Log::default();
        let mut since = Instant::now();
        loop {
            let wanted = match self.wait_for_a_reason() {
                Reason::Stopped => return,
                Reason::Wanted => true,
                Reason::Time => false,
            };
            let Ok(log) = look(conn) else { continue };
            self.metrics.wal_bytes.store(log.bytes, Ordering::Relaxed);
            if log != seen {
                seen = log;
                since = Instant::now();
            }
            let idle = log.pending > 0 && since.elapsed() >= self.idle;
            if !idle && !wanted && log.pending < self.wanted_bytes {
                continue;
            }
            since = Instant::now();
            let _ = self.timed(conn, Mode::Passive);
            if !idle {
                self.finish.store(true, Ordering::Release);
            }
            let left = look(conn).map_or(log.pending, |log| log.pending);
            if left >= log.pending && self.pause() {
                return;
            }
        }
    }

    /// Returns after a wish, or after a while.
    fn wait_for_a_reason(&self) -> Reason {
        let mut state = self.state.lock();
        if !state.wanted && !state.stopped {
            let turn = (self.idle / 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
            self.wake.wait_for(&mut state, turn);
        }
        match std::mem::take(&mut state.wanted) {
            _ if state.stopped => Reason::Stopped,
            true => Reason::Wanted,
            false => Reason::Time,
        }
    }

    /// Rests; `true` when stopped.
    fn pause(&self) -> bool {
        let until = Instant::now() + HELD_UP_PAUSE;
        let mut state = self.state.lock();
        while !state.stopped && !self.wake.wait_until(&mut state, until).timed_out() {}
        state.stopped
    }

    /// The last one, when the threads are gone. SQLite removes the log with the
    /// last connection.
    pub(crate) fn finish(&self, conn: &Connection) {
        let _ = self.timed(conn, Mode::Passive);
    }

    /// Runs and counts a checkpoint.
    fn timed(&self, conn: &Connection, mode: Mode) -> rusqlite::Result<Log> {
        let started = Instant::now();
        let outcome = checkpoint(conn, mode);
        count(&self.metrics.checkpoints);
        let took = micros(started.elapsed());
        add(&self.metrics.checkpoint_micros, took);
        match &outcome {
            Ok(log) => self.metrics.wal_bytes.store(log.bytes, Ordering::Relaxed),
            Err(error) => {
                // Another process may be at it. Everything else (a full disk) is
                // tried again, and the writes fail loudly meanwhile.
                count(&self.metrics.checkpoint_failures);
                tracing::debug!(%error, "checkpoint failed; it will be tried again");
            }
        }
        outcome
    }

    /// The writer's part, between two transactions.
    pub(crate) fn tend(&self, conn: &Connection, busy_timeout: Duration, tried: &mut u64) {
        let Ok(log) = look(conn) else { return };
        self.metrics.wal_bytes.store(log.bytes, Ordering::Relaxed);
        if log.bytes < self.wanted_bytes {
            *tried = 0;
            return;
        }
        // Rounds of the thread get shorter and shorter, and leave less and less.
        let rounds_ran = self.finish.load(Ordering::Acquire);
        let few = self.wanted_bytes / FEW;
        let few_left = rounds_ran && log.pending <= few;
        if log.pending > if rounds_ran { few } else { self.wanted_bytes } {
            self.want();
        }
        let too_long =
            log.bytes >= LENGTHS_MAX * self.wanted_bytes && log.bytes.saturating_sub(*tried) >= few;
        if !few_left && !too_long {
            return;
        }
        *tried = log.bytes;
        if conn.busy_timeout(RESTART_WAIT).is_ok() {
            self.finish.store(false, Ordering::Release);
            let _ = self.timed(conn, Mode::Restart);
        }
        // A number of milliseconds is always accepted.
        let _ = conn.busy_timeout(busy_timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MIGRATIONS, TestFile, insert};
    use crate::{Settings, Sqlite};

    const WANTED: u64 = 1 << 20;

    fn open(file: &TestFile, idle: Duration) -> Sqlite {
        let settings = Settings {
            checkpoint_bytes: WANTED,
            checkpoint_idle: idle,
            ..file.settings()
        };
        Sqlite::open(settings, MIGRATIONS).unwrap()
    }

    async fn add_blobs(db: &Sqlite, count: usize) {
        for _ in 0..count {
            db.write(|tx| {
                tx.conn()
                    .execute("INSERT INTO item (data) VALUES (randomblob(30000))", [])
            })
            .await
            .unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_log_stays_short_under_constant_load() {
        let file = TestFile::new();
        let db = open(&file, Duration::from_secs(60));
        let reading = db.clone();
        let reader = tokio::spawn(async move {
            loop {
                let sql = "SELECT count(*) FROM item";
                reading
                    .read_snapshot(|conn| conn.query_row(sql, [], |_| Ok(())))
                    .await
                    .unwrap();
            }
        });
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { add_blobs(&db, 250).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        reader.abort();
        let log = std::fs::metadata(file.sibling("test.db-wal"))
            .unwrap()
            .len();
        // 30 MB were written.
        assert!(log <= 8 * WANTED, "{log} bytes of log");
        assert!(db.metrics().checkpoints.load(Ordering::Relaxed) > 1);
        assert_eq!(db.metrics().checkpoint_failures.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_left_is_copied_when_nothing_happens() {
        let file = TestFile::new();
        let db = open(&file, Duration::from_millis(20));
        insert(&db, "a").await.unwrap().unwrap();
        let conn = file.connect();
        let started = Instant::now();
        loop {
            // Whoever reads the file alone sees the row.
            let uri = format!("file:{}?immutable=1", file.path().display());
            let alone = Connection::open(uri).unwrap();
            if alone
                .query_row("SELECT 1 FROM item", [], |_| Ok(()))
                .is_ok()
            {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(conn);
    }

    #[tokio::test]
    async fn a_long_read_only_delays_the_copying() {
        let file = TestFile::new();
        let db = open(&file, Duration::from_millis(50));
        add_blobs(&db, 5).await;
        let other = file.connect();
        other
            .execute_batch("BEGIN; SELECT count(*) FROM item")
            .unwrap();
        add_blobs(&db, 100).await;
        let held = look(&file.connect_and_read()).unwrap();
        assert!(held.bytes > 2 * WANTED);
        other.execute_batch("COMMIT").unwrap();
        let started = Instant::now();
        while look(&file.connect_and_read()).unwrap().bytes > WANTED {
            add_blobs(&db, 1).await;
            assert!(started.elapsed() < Duration::from_secs(10));
        }
    }
}
