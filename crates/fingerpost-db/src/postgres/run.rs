//! Running a job until it is done, or has failed for good.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join;
use rand::RngExt as _;
use tokio::time::{Instant, sleep, timeout_at};

use super::database::Inner;
use super::error::PostgresError;
use super::job::{Isolation, Job};
use super::session::{Lease, Session};
use crate::metrics::count;

/// Longest pause between two runs.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Upper bounds of the first pauses.
const CONFLICT_PAUSE: Duration = Duration::from_millis(4);
const LOSS_PAUSE: Duration = Duration::from_millis(20);

/// What a job may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Inner {
    /// Runs the job as often as its limits allow.
    pub(crate) async fn run<T, F, Fut>(
        &self,
        job: Job,
        access: Access,
        work: F,
    ) -> Result<T, PostgresError>
    where
        F: Fn(Session) -> Fut,
        Fut: Future<Output = Result<T, PostgresError>>,
    {
        let metrics = self.metrics.job(job.name);
        let mut tries = Tries::new(self, job, access);
        let started = tries.started;
        // Of an earlier run, whatever becomes of later ones.
        let mut unknown = None;
        let outcome = loop {
            let error = match self.attempt(job, access, &work, tries.deadline).await {
                Ok(value) => break Ok(value),
                Err(error) => error,
            };
            let Some(pause) = tries.pause_after(&error) else {
                break Err(unknown.unwrap_or(error));
            };
            if matches!(error, PostgresError::UnknownOutcome(_)) {
                unknown = Some(error.clone());
            }
            count(match error {
                PostgresError::Conflict(_) => &metrics.conflict_retries,
                _ => &metrics.connection_retries,
            });
            tracing::debug!(job = job.name, %error, "a job of PostgreSQL is run again");
            sleep(pause).await;
        };
        metrics.ended(&outcome, started.elapsed());
        outcome
    }

    async fn attempt<T, F, Fut>(
        &self,
        job: Job,
        access: Access,
        work: &F,
        deadline: Instant,
    ) -> Result<T, PostgresError>
    where
        F: Fn(Session) -> Fut,
        Fut: Future<Output = Result<T, PostgresError>>,
    {
        let lease = Arc::new(Lease::take(&self.connector, &self.pool, deadline).await?);
        let begin = self.begin(job, access);
        let work = work(Session::new(Arc::clone(&lease)));
        let outcome = timeout_at(deadline, async {
            let Some(begin) = &begin else {
                return work.await;
            };
            // Polled in this order: the first statement goes out behind BEGIN, and nobody
            // waits for the answers one by one.
            let begun = self.started(&lease, access, begin);
            let ((), value) = try_join(begun, work).await?;
            Ok(value)
        })
        .await;
        lease.end();
        let outcome = outcome.unwrap_or(Err(PostgresError::Timeout));
        if begin.is_none() {
            if outcome.as_ref().err().is_none_or(PostgresError::is_answer) {
                lease.clean();
            }
            return outcome;
        }
        match outcome {
            Ok(value) => commit(&lease, access).await.map(|()| value),
            Err(error) => {
                if error.is_answer() && lease.roll_back().await {
                    lease.clean();
                }
                Err(error)
            }
        }
    }

    /// How the job's transaction begins, if it is one.
    fn begin(&self, job: Job, access: Access) -> Option<String> {
        let limits = self.connector.local_limits();
        let isolation = job.isolation.sql();
        match access {
            Access::Read if limits.is_empty() && job.isolation == Isolation::ReadCommitted => None,
            Access::Read => Some(format!(
                "BEGIN ISOLATION LEVEL {isolation} READ ONLY; {limits}"
            )),
            Access::Write => Some(format!(
                "BEGIN ISOLATION LEVEL {isolation}; {limits} \
                 SELECT min_reader FROM fingerpost"
            )),
        }
    }

    /// Begins; a write looks whether another program migrated the database
    /// beyond this one.
    async fn started(
        &self,
        lease: &Lease,
        access: Access,
        begin: &str,
    ) -> Result<(), PostgresError> {
        if access == Access::Read {
            return lease.batch(begin).await;
        }
        let row = lease.text_row(begin).await?;
        let min_reader = row
            .first()
            .and_then(|column| column.as_deref()?.parse().ok());
        match min_reader {
            Some(min_reader) if self.known >= min_reader => Ok(()),
            _ => Err(PostgresError::Superseded),
        }
    }
}

async fn commit(lease: &Lease, access: Access) -> Result<(), PostgresError> {
    match lease.commit().await {
        Ok(()) => {
            lease.clean();
            Ok(())
        }
        // Nothing was to be stored.
        Err(PostgresError::UnknownOutcome(_)) if access == Access::Read => {
            Err(PostgresError::NoAnswer)
        }
        Err(error) => Err(error),
    }
}

/// How often a job was tried and may be.
struct Tries {
    started: Instant,
    deadline: Instant,
    acquire_timeout: Duration,
    attempts_left: u32,
    idempotent: bool,
    /// Writing is refused for good.
    read_only: bool,
    pauses: u32,
    lost_since: Option<Instant>,
}

impl Tries {
    fn new(db: &Inner, job: Job, access: Access) -> Self {
        let settings = &db.connector.settings;
        let started = Instant::now();
        Self {
            started,
            deadline: started + settings.deadline,
            acquire_timeout: settings.acquire_timeout,
            attempts_left: settings.attempts_max.saturating_sub(1),
            idempotent: job.idempotent,
            read_only: db.replica || access == Access::Read,
            pauses: 0,
            lost_since: None,
        }
    }

    /// How long to wait before the next run, if there is one.
    fn pause_after(&mut self, error: &PostgresError) -> Option<Duration> {
        let first = match error {
            PostgresError::Conflict(_) => {
                self.attempts_left = self.attempts_left.checked_sub(1)?;
                CONFLICT_PAUSE
            }
            PostgresError::UnknownOutcome(_) if !self.idempotent => return None,
            PostgresError::ReadOnly if self.read_only => return None,
            PostgresError::Lost(_)
            | PostgresError::NoAnswer
            | PostgresError::UnknownOutcome(_)
            // A replica by now; its successor may be reached at the same address.
            | PostgresError::ReadOnly => {
                let since = *self.lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.acquire_timeout {
                    return None;
                }
                LOSS_PAUSE
            }
            _ => return None,
        };
        let pause = jittered(first, self.pauses);
        self.pauses += 1;
        (Instant::now() + pause < self.deadline).then_some(pause)
    }
}

/// A random pause whose upper bound doubles each time.
pub(crate) fn jittered(first: Duration, pauses: u32) -> Duration {
    let bound = first.saturating_mul(1 << pauses.min(16)).min(PAUSE_MAX);
    rand::rng().random_range(first / 4..=bound)
}
