//! The handle of an open file and the threads behind it.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, InterruptHandle};

use crate::checkpoint::Checkpoints;
use crate::copy::{self, CopyError};
use crate::job::{Answer, Tx, read_job, write_job};
use crate::metrics::Metrics;
use crate::migrate::Migration;
use crate::poll::{PollState, Poller};
use crate::queue::{Lane, Queue};
use crate::reader::{self, ReadQueue};
use crate::writer::{Schema, WriteQueue, Writer};
use crate::{DbError, OpenError, Settings, connection, open};

/// An open file. Clones share it; the last one that is dropped stops the
/// threads without waiting for them, [`Sqlite::close`] waits.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    settings: Settings,
    incarnation: [u8; 16],
    metrics: Arc<Metrics>,
    writes: Arc<WriteQueue>,
    reads: Arc<ReadQueue>,
    checkpoints: Arc<Checkpoints>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    writer: Option<JoinHandle<Connection>>,
    others: Vec<JoinHandle<()>>,
    pollers: Vec<Arc<PollState>>,
    /// What readers are doing now can be cut short.
    reading: Vec<InterruptHandle>,
}

impl Threads {
    fn are_finished(&self) -> bool {
        self.others.iter().all(JoinHandle::is_finished)
            && self.writer.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Sqlite {
    /// Opens the file, makes it when it does not exist, and brings its schema
    /// up to date. Takes the same instant for a small file and a large one,
    /// unless a migration has to run; blocks meanwhile.
    ///
    /// # Errors
    ///
    /// Files that are not ours, that are too new, or that lie on a network file
    /// system are refused by name and left unchanged; see [`OpenError`].
    pub fn open(mut settings: Settings, migrations: &[Migration]) -> Result<Self, OpenError> {
        settings = open::resolved(&settings)?;
        settings.readers = settings.readers.max(1);
        let (conn, header) = open::open(&settings, migrations)?;
        let metrics = Arc::new(Metrics::default());
        let (timeout, counters) = (settings.queue_timeout, || Arc::clone(&metrics));
        let inner = Inner {
            incarnation: header.incarnation,
            writes: Arc::new(Queue::new(
                settings.write_queue,
                timeout,
                counters(),
                |metrics| &metrics.write_queue_depth,
            )),
            reads: Arc::new(Queue::new(
                settings.read_queue,
                timeout,
                counters(),
                |metrics| &metrics.read_queue_depth,
            )),
            checkpoints: Arc::new(Checkpoints::new(
                settings.checkpoint_bytes,
                settings.checkpoint_idle,
                counters(),
            )),
            threads: Mutex::default(),
            metrics,
            settings,
        };
        // From here on a failure drops `inner`, which stops what runs already.
        inner.start(conn, open::known_version(migrations))?;
        Ok(Self(Arc::new(inner)))
    }

    /// Runs `job` on a reader's connection. Each statement sees what is
    /// committed when it begins.
    pub async fn read<T, F>(&self, job: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (job, answer) = read_job(job, false);
        self.0.reads.push(Lane::Foreground, job).await?;
        wait(answer).await
    }

    /// Runs `job` on a reader's connection, all of it in one snapshot of the
    /// file. The write-ahead log cannot start over meanwhile: be quick.
    pub async fn read_snapshot<T, F>(&self, job: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (job, answer) = read_job(job, true);
        self.0.reads.push(Lane::Foreground, job).await?;
        wait(answer).await
    }

    /// Runs `job` on the writer, in one transaction with whatever else waits,
    /// and returns after the commit (durable as [`Settings::durability`] says).
    ///
    /// When a job of the group or the commit fails, everything is rolled back
    /// and each job runs again alone: a job must not keep state between runs.
    /// A caller that goes away does not cancel its job.
    pub async fn write<T, F>(&self, job: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (job, answer) = write_job(job);
        self.0.writes.push(Lane::Foreground, job).await?;
        wait(answer).await
    }

    /// Runs `job` on the writer in a transaction of its own, between two groups
    /// of [`Sqlite::write`] and at once when there are none. Clients wait for
    /// it: a batch should take a few milliseconds.
    pub async fn write_background<T, F>(&self, job: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (job, answer) = write_job(job);
        self.0.writes.push(Lane::Background, job).await?;
        wait(answer).await
    }

    /// Gives up to `pages` free pages back to the file system, as a background
    /// write. Returns how many free pages are left.
    pub async fn vacuum_step(&self, pages: u32) -> Result<u64, DbError> {
        self.write_background(move |tx| {
            let mut step = tx
                .conn()
                .prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = step.query([])?;
            while rows.next()?.is_some() {}
            let left: i64 = tx
                .conn()
                .prepare_cached("PRAGMA freelist_count")?
                .query_row([], |row| row.get(0))?;
            Ok(left.unsigned_abs())
        })
        .await
    }

    /// Looks for commits of other connections (other processes, and our own
    /// writer) `every` so often, on a thread and a connection of its own.
    ///
    /// Runs `on_change` once at the start and after each poll that saw a
    /// commit; when it fails it is run again at the next poll, and the poll
    /// does not count for [`Poller::last_poll_age`].
    pub fn poll(
        &self,
        every: Duration,
        on_change: impl FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Poller {
        let state = Arc::new(PollState::new(Arc::clone(&self.0.metrics)));
        let settings = self.0.settings.clone();
        let shared = Arc::clone(&state);
        let started = spawn("db-poller", move || {
            shared.run(every, || connection::reader(&settings), on_change);
        });
        match started {
            Ok(thread) => {
                let mut threads = self.0.threads.lock();
                threads.others.push(thread);
                threads.pollers.push(Arc::clone(&state));
            }
            // The age of its polls stays endless, so nothing relies on it.
            Err(error) => tracing::error!(%error, "no thread to poll the database"),
        }
        Poller::new(state)
    }

    /// The random id of the file's history: the same for every process on the
    /// file, another one after [`restore`](crate::restore()).
    pub fn incarnation(&self) -> [u8; 16] {
        self.0.incarnation
    }

    /// The file, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.0.settings.path
    }

    /// The counters of this handle.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Copies the file, as it is now, to a new file `to` while writes go on.
    /// Blocks; `progress` gets the pages copied and the pages in all. The
    /// write-ahead log grows meanwhile.
    ///
    /// # Errors
    ///
    /// When `to` exists, or cannot be written; nothing is left there then.
    pub fn backup(&self, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), CopyError> {
        let source = connection::reader(&self.0.settings)?;
        let plan = copy::Plan {
            vfs: self.0.settings.vfs.as_deref(),
            overwrite: false,
        };
        copy::copy(&source, to, &plan, progress)
    }

    /// Finishes the jobs that wait, copies the write-ahead log into the file and
    /// ends the threads; jobs that come later fail with [`DbError::Closed`].
    /// Returns `false` when that took longer than [`Settings::close_timeout`],
    /// with threads still at work.
    pub async fn close(self) -> bool {
        let deadline = Instant::now() + self.0.settings.close_timeout;
        self.0.stop();
        let closed = self.wait_for_threads(deadline).await && self.finish(deadline).await;
        if !closed {
            tracing::warn!("the database did not close in time");
        }
        closed
    }

    async fn wait_for_threads(&self, deadline: Instant) -> bool {
        let half = self.0.settings.close_timeout / 2;
        while !self.0.threads.lock().are_finished() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if left < half {
                self.0
                    .threads
                    .lock()
                    .reading
                    .iter()
                    .for_each(InterruptHandle::interrupt);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }

    /// The writer's connection is the last one: with it SQLite removes the log.
    async fn finish(&self, deadline: Instant) -> bool {
        let Some(writer) = self.0.threads.lock().writer.take() else {
            return true;
        };
        let checkpoints = Arc::clone(&self.0.checkpoints);
        let finish = tokio::task::spawn_blocking(move || {
            if let Ok(conn) = writer.join() {
                checkpoints.finish(&conn);
            }
        });
        matches!(
            tokio::time::timeout_at(deadline.into(), finish).await,
            Ok(Ok(()))
        )
    }
}

impl Inner {
    fn start(&self, conn: Connection, known: u32) -> Result<(), OpenError> {
        let path = &*self.settings.path;
        let opened = |outcome: rusqlite::Result<Connection>| {
            outcome.map_err(|error| open::sqlite_error(path, error))
        };
        let mut threads = self.threads.lock();
        for _ in 0..self.settings.readers {
            let conn = opened(connection::reader(&self.settings))?;
            threads.reading.push(conn.get_interrupt_handle());
            let (queue, metrics) = (Arc::clone(&self.reads), Arc::clone(&self.metrics));
            let reader = self.spawn("db-reader", move || reader::run(&conn, &queue, &metrics))?;
            threads.others.push(reader);
        }
        let copying = opened(connection::checkpointer(&self.settings))?;
        let checkpoints = Arc::clone(&self.checkpoints);
        threads
            .others
            .push(self.spawn("db-checkpoint", move || checkpoints.run(&copying))?);
        let writer = Writer {
            conn,
            queue: Arc::clone(&self.writes),
            checkpoints: Arc::clone(&self.checkpoints),
            metrics: Arc::clone(&self.metrics),
            busy_timeout: self.settings.busy_timeout,
            schema: Schema::new(known),
        };
        threads.writer = Some(self.spawn("db-writer", move || writer.run())?);
        Ok(())
    }

    fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, OpenError> {
        spawn(name, work).map_err(|source| OpenError::Io {
            path: self.settings.path.clone(),
            source,
        })
    }

    fn stop(&self) {
        self.writes.close();
        self.reads.close();
        self.checkpoints.stop();
        self.threads
            .lock()
            .pollers
            .iter()
            .for_each(|poller| poller.stop());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
}

/// A thread that is gone drops the sender.
async fn wait<T>(answer: Answer<T>) -> Result<T, DbError> {
    answer.await.unwrap_or(Err(DbError::Closed))
}
