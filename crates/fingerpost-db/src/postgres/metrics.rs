//! Counters of one database handle.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use deadpool_postgres::Pool;
use fingerpost_core::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::PostgresError;
use crate::metrics::{count, micros};

/// Counters and gauges, read at any time.
#[derive(Debug, Default)]
pub struct PostgresMetrics {
    /// Questions of pollers.
    pub polls: AtomicU64,
    /// Questions of pollers that were not answered well.
    pub poll_failures: AtomicU64,
    last_poll: Mutex<Option<Instant>>,
    jobs: Mutex<Vec<(&'static str, Arc<JobMetrics>)>>,
}

impl PostgresMetrics {
    /// The counters of each job by its name, in the order of their first runs.
    pub fn jobs(&self) -> Vec<(&'static str, Arc<JobMetrics>)> {
        self.jobs.lock().clone()
    }

    /// Notes when a question of a poller began that was answered well.
    pub(crate) fn polled(&self, began: Instant) {
        *self.last_poll.lock() = Some(began);
    }

    pub(crate) fn last_poll_age(&self) -> Option<Duration> {
        self.last_poll.lock().map(|began| began.elapsed())
    }

    pub(crate) fn job(&self, name: &'static str) -> Arc<JobMetrics> {
        let mut jobs = self.jobs.lock();
        if let Some((_, known)) = jobs.iter().find(|(known, _)| *known == name) {
            return Arc::clone(known);
        }
        let new = Arc::<JobMetrics>::default();
        jobs.push((name, Arc::clone(&new)));
        new
    }
}

/// What became of the jobs of one name.
#[derive(Debug, Default)]
pub struct JobMetrics {
    /// Done: committed, or read.
    pub done: AtomicU64,
    /// Failed, with nothing stored.
    pub failures: AtomicU64,
    /// Commits whose outcome is not known.
    pub unknown_outcomes: AtomicU64,
    /// Runs after conflicts with other transactions.
    pub conflict_retries: AtomicU64,
    /// Runs after lost connections.
    pub connection_retries: AtomicU64,
    /// Times from the call to the answer, all runs included, microseconds.
    pub micros: Histogram,
}

impl JobMetrics {
    pub(crate) fn ended<T>(&self, outcome: &Result<T, PostgresError>, took: Duration) {
        count(match outcome {
            Ok(_) => &self.done,
            Err(PostgresError::UnknownOutcome(_)) => &self.unknown_outcomes,
            Err(_) => &self.failures,
        });
        self.micros.observe(micros(took));
    }
}

/// The connections of a handle at one moment, without those of pollers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Connections that are open or being made.
    pub open: usize,
    /// Those of them that jobs use.
    pub in_use: usize,
    /// Jobs that wait for one.
    pub waiting: usize,
    /// Connections at most.
    pub max: usize,
}

impl PoolState {
    pub(crate) fn of(pool: &Pool) -> Self {
        let status = pool.status();
        Self {
            open: status.size,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
            max: status.max_size,
        }
    }
}
