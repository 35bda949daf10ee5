//! The one thread that writes.
//!
//! Commits are grouped by nature, not by a timer: whatever has arrived while
//! the last commit was on its way to the disk shares the next one.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::DbError;
use crate::checkpoint::Checkpoints;
use crate::format;
use crate::job::{Hook, Tx, WriteJob, panic_text};
use crate::metrics::{Metrics, add, count, micros};
use crate::queue::{Lane, Queue};

/// Jobs in one commit at most.
const GROUP_JOBS_MAX: usize = 512;
/// How long a group takes in more jobs; a client's answer waits for it.
const GROUP_TIME_MAX: Duration = Duration::from_millis(20);

type Boxed = Box<dyn WriteJob>;

/// Writes waiting for the writer.
pub(crate) type WriteQueue = Queue<Boxed>;

/// The writer's thread and what it owns.
pub(crate) struct Writer {
    pub(crate) conn: Connection,
    pub(crate) queue: Arc<WriteQueue>,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) busy_timeout: Duration,
    pub(crate) schema: Schema,
}

/// What the writer believes of the file's schema.
pub(crate) struct Schema {
    /// The newest version that this program knows.
    known: u32,
    /// SQLite's own counter of changes when the version was looked at last.
    seen: Cell<Option<i64>>,
}

impl Schema {
    pub(crate) const fn new(known: u32) -> Self {
        Self {
            known,
            seen: Cell::new(None),
        }
    }

    /// Looks whether another process migrated the file beyond this program.
    fn check(&self, conn: &Connection) -> Result<(), DbError> {
        let now = conn
            .prepare_cached("PRAGMA schema_version")?
            .query_row([], |row| row.get(0))?;
        if self.seen.get() == Some(now) {
            return Ok(());
        }
        if format::header(conn)?.min_reader > self.known {
            return Err(DbError::Superseded);
        }
        self.seen.set(Some(now));
        Ok(())
    }
}

impl Writer {
    /// Runs jobs until the queue is closed and empty, then gives back the
    /// connection. A group and a background job take turns as long as both are
    /// there.
    pub(crate) fn run(self) -> Connection {
        let mut preferred = Lane::Foreground;
        let mut tried = 0;
        while let Some((lane, job)) = self.queue.next(preferred) {
            match lane {
                Lane::Foreground => self.group(job),
                Lane::Background => {
                    if self.alone(job).is_none() {
                        count(&self.metrics.background_batches);
                    }
                }
            }
            preferred = match lane {
                Lane::Foreground => Lane::Background,
                Lane::Background => Lane::Foreground,
            };
            self.checkpoints
                .tend(&self.conn, self.busy_timeout, &mut tried);
        }
        self.conn
    }

    /// Runs `first` and what arrives meanwhile in one transaction.
    fn group(&self, first: Boxed) {
        if let Err(error) = self.begin() {
            self.rollback();
            return self.refuse(first, &error);
        }
        let started = Instant::now();
        let mut jobs = Vec::new();
        let mut hooks = Vec::new();
        let mut outcome = Ok(());
        let mut next = Some(first);
        while let Some(mut job) = next.take() {
            outcome = self.step(&mut *job, &mut hooks);
            jobs.push(job);
            let full = jobs.len() >= GROUP_JOBS_MAX || started.elapsed() >= GROUP_TIME_MAX;
            if outcome.is_ok() && !full {
                next = self.queue.try_next();
            }
        }
        match outcome.and_then(|()| self.commit()) {
            Ok(()) => {
                count(&self.metrics.groups);
                add(&self.metrics.group_jobs, jobs.len() as u64);
                self.metrics.group_sizes.observe(jobs.len() as u64);
                self.metrics.group_micros.observe(micros(started.elapsed()));
                run_hooks(hooks);
                self.answer_all(jobs, &Ok(()));
            }
            Err(error) => {
                self.rollback();
                self.one_by_one(jobs, error);
            }
        }
    }

    /// One job spoiled the group, or the commit failed: gives each a
    /// transaction of its own, so that the good ones get through. When the
    /// storage fails a job even then, the rest is not tried.
    fn one_by_one(&self, jobs: Vec<Boxed>, error: DbError) {
        if jobs.len() == 1 {
            return self.answer_all(jobs, &Err(error));
        }
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            if let Some(error) = self.alone(job)
                && (error.is_storage() || error.is_busy())
            {
                return self.answer_all(jobs, &Err(error));
            }
        }
    }

    /// Runs and answers a job in its own transaction. Returns its error.
    fn alone(&self, mut job: Boxed) -> Option<DbError> {
        let mut hooks = Vec::new();
        let outcome = self
            .begin()
            .and_then(|()| self.step(&mut *job, &mut hooks))
            .and_then(|()| self.commit());
        match outcome {
            Ok(()) => {
                run_hooks(hooks);
                self.answer_all([job], &Ok(()));
                None
            }
            Err(error) => {
                self.rollback();
                self.answer_all([job], &Err(error.clone()));
                Some(error)
            }
        }
    }

    /// Runs one job inside of the open transaction.
    fn step(&self, job: &mut dyn WriteJob, hooks: &mut Vec<Hook>) -> Result<(), DbError> {
        job.run(&mut Tx::new(&self.conn, hooks))?;
        if self.conn.is_autocommit() {
            // SQLite rolls back by itself on some errors. Going on would commit
            // every further statement alone.
            return Err(DbError::TransactionLost);
        }
        Ok(())
    }

    /// No transaction could begin: what waits now would wait as long again,
    /// each group after the other.
    fn refuse(&self, first: Boxed, error: &DbError) {
        self.answer_all([first], &Err(error.clone()));
        self.answer_all(self.queue.drain(Lane::Foreground), &Err(error.clone()));
    }

    fn answer_all(&self, jobs: impl IntoIterator<Item = Boxed>, outcome: &Result<(), DbError>) {
        let counter = match outcome {
            Ok(()) => &self.metrics.jobs,
            Err(_) => &self.metrics.job_failures,
        };
        for job in jobs {
            count(counter);
            job.answer(outcome.clone());
        }
    }

    fn begin(&self) -> Result<(), DbError> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.schema.check(&self.conn)
    }

    fn commit(&self) -> Result<(), DbError> {
        let started = Instant::now();
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        count(&self.metrics.commits);
        let took = micros(started.elapsed());
        self.metrics.commit_micros.observe(took);
        Ok(())
    }

    fn rollback(&self) {
        count(&self.metrics.commit_failures);
        if self.conn.is_autocommit() {
            return;
        }
        if let Err(error) = self.conn.execute_batch("ROLLBACK") {
            tracing::error!(%error, "a rollback of the database failed");
        }
    }
}

/// A hook that panics must not keep the others from running, nor the answers
/// from being sent: the commit stands.
fn run_hooks(hooks: Vec<Hook>) {
    for hook in hooks {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(hook)) {
            tracing::error!(
                panic = panic_text(&*panic),
                "a hook after a commit panicked"
            );
        }
    }
}

#[cfg(test)]
mod tests;
