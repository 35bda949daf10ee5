//! The handle of an open database.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;

use super::connect::Connector;
use super::error::{PostgresError, PostgresOpenError};
use super::job::Job;
use super::metrics::{PoolState, PostgresMetrics};
use super::open;
use super::poll::PostgresPoller;
use super::run::Access;
use super::session::Session;
use super::settings::PostgresSettings;
use crate::migrate::Migration;

/// An open database. Clones share it and its connections.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) connector: Connector,
    pub(crate) pool: Pool,
    pub(crate) metrics: Arc<PostgresMetrics>,
    /// The newest version of the schema that this program knows.
    pub(crate) known: u32,
    pub(crate) incarnation: [u8; 16],
    pub(crate) replica: bool,
    pub(crate) new: bool,
}

impl Postgres {
    /// Connects, makes our tables when they are not there, and brings the schema
    /// up to date. Of several processes that do this at once one does the work
    /// and the others wait. A read-only replica stays as it is, and serves reads.
    ///
    /// # Errors
    ///
    /// Databases that are unsafe, too old, too new or somebody else's are refused
    /// by name and left unchanged; see [`PostgresOpenError`].
    pub async fn open(
        settings: PostgresSettings,
        migrations: &[Migration],
    ) -> Result<Self, PostgresOpenError> {
        open::open(settings, migrations)
            .await
            .map(|inner| Self(Arc::new(inner)))
    }

    /// Runs `work` on a connection. Each statement sees what is committed when
    /// it begins, unless the job's isolation says otherwise.
    ///
    /// After a lost connection or a conflict `work` is run again, on another
    /// connection; its futures must not rely on what earlier ones did.
    pub async fn read<T, F, Fut>(&self, job: impl Into<Job>, work: F) -> Result<T, PostgresError>
    where
        F: Fn(Session) -> Fut,
        Fut: Future<Output = Result<T, PostgresError>>,
    {
        self.0.run(job.into(), Access::Read, work).await
    }

    /// Runs `work` in a transaction and commits it; an error of `work` rolls it
    /// back. Returns when the server has said that it is stored.
    ///
    /// As with [`Postgres::read`], `work` may run several times; nothing is stored
    /// of all runs but the last one. When the answer to a commit is lost, the
    /// error is [`PostgresError::UnknownOutcome`], or `work` is run again if the
    /// job is [idempotent](Job::idempotent).
    ///
    /// Who drops the future stops the work; during the commit nobody knows then
    /// whether it is stored. Spawn what has to be heard of.
    pub async fn transaction<T, F, Fut>(
        &self,
        job: impl Into<Job>,
        work: F,
    ) -> Result<T, PostgresError>
    where
        F: Fn(Session) -> Fut,
        Fut: Future<Output = Result<T, PostgresError>>,
    {
        self.0.run(job.into(), Access::Write, work).await
    }

    /// Asks a question `every` so often (500 ms at most), on a connection of its
    /// own, until the poller is dropped or the database closed. A connection that
    /// is lost is made again.
    ///
    /// `ask` has a second beyond `every`. When it fails, the poll does not count
    /// for [`PostgresPoller::last_poll_age`]. To be called within a runtime.
    pub fn poll<F, Fut>(&self, every: Duration, ask: F) -> PostgresPoller
    where
        F: FnMut(Session) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), PostgresError>> + Send + 'static,
    {
        PostgresPoller::start(Arc::downgrade(&self.0), every, ask)
    }

    /// The random id of the database's history, the same for every process on it.
    pub fn incarnation(&self) -> [u8; 16] {
        self.0.incarnation
    }

    /// Whether the server was a read-only replica when it was opened: reads work,
    /// transactions fail with [`PostgresError::ReadOnly`].
    pub fn is_replica(&self) -> bool {
        self.0.replica
    }

    /// Whether our tables were not there before it was opened.
    pub fn is_new(&self) -> bool {
        self.0.new
    }

    /// How long ago the last good question of a poller began; `None` before the
    /// first one. It grows while the database does not answer.
    pub fn last_poll_age(&self) -> Option<Duration> {
        self.0.metrics.last_poll_age()
    }

    /// How it is reached and used.
    pub fn settings(&self) -> &PostgresSettings {
        &self.0.connector.settings
    }

    /// The counters of this handle.
    pub fn metrics(&self) -> &PostgresMetrics {
        &self.0.metrics
    }

    /// What the connections do at the moment.
    pub fn pool_state(&self) -> PoolState {
        PoolState::of(&self.0.pool)
    }

    /// Closes the connections that nobody uses; the others end with their jobs.
    /// Jobs that come later, and those that wait, fail with [`PostgresError::Closed`].
    pub fn close(&self) {
        self.0.pool.close();
    }
}
