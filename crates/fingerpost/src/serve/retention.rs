//! What goes by itself, beside serving, and the writing of what look-ups noted of uses.

mod metrics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::Timestamp;
use fingerpost_hashequiv::HashEquiv;
use fingerpost_hashequiv::retention::{Outcome, Retention, RetentionError, Schedule};
use fingerpost_net::Shutdown;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::metrics::Metrics;
use crate::config::Config;

/// How often it is looked whether a run is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a failure none is begun for so long.
const PAUSE: Duration = Duration::from_secs(15 * 60);
/// How long the last writes of a server that stops may take, each.
const LAST_MAX: Duration = Duration::from_millis(450);
/// Runs among which the last good one is looked for.
const RUNS: usize = 100;

/// What is done beside serving.
pub(super) struct Chores {
    service: Arc<HashEquiv>,
    retention: Retention,
    schedule: Schedule,
    metrics: Metrics,
}

impl Chores {
    pub(super) fn new(
        service: &Arc<HashEquiv>,
        config: &Config,
        registry: &fingerpost_net::Metrics,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::default();
        registry.register(|registry| metrics.register(registry, service));
        Ok(Self {
            retention: service.retention(config.retention_policy()?),
            service: Arc::clone(service),
            schedule: config.retention_schedule(),
            metrics,
        })
    }

    /// Writes uses and makes runs that are due, until the server stops. A read-only
    /// server does neither.
    pub(super) fn start(self, shutdown: Shutdown) -> JoinHandle<()> {
        tokio::spawn(async move {
            if self.service.is_read_only() {
                return;
            }
            tokio::select! {
                () = shutdown.started() => {}
                ((), ()) = async { tokio::join!(self.write_uses(), self.run_all()) } => {}
            }
            let _ = timeout(LAST_MAX, self.write()).await;
            if self.schedule != Schedule::Off {
                let _ = timeout(LAST_MAX, self.give_way()).await;
            }
        })
    }

    async fn write_uses(&self) {
        loop {
            self.service.wait_for_uses().await;
            self.write().await;
        }
    }

    async fn write(&self) {
        match self.service.store_uses().await {
            Ok(rows) => self.metrics.uses_stored(rows),
            Err(error) => tracing::warn!(%error, "last uses cannot be stored"),
        }
    }

    /// Who goes on need not wait for the end of the lease.
    async fn give_way(&self) {
        if let Err(error) = self.retention.stopped().await {
            tracing::debug!(%error, "the lease of retention is not given back");
        }
    }

    async fn run_all(&self) {
        let since = self.service.now();
        if self.schedule == Schedule::Off {
            return std::future::pending().await;
        }
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed: Option<Instant> = None;
        loop {
            looks.tick().await;
            if failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
                continue;
            }
            failed = None;
            if let Err(error) = self.run_if_due(since).await {
                self.metrics.failed();
                failed = Some(Instant::now());
                let why = format!("{:#}", anyhow::Error::new(error));
                tracing::error!(%why, "retention failed: {why}");
            }
        }
    }

    async fn run_if_due(&self, since: Timestamp) -> Result<(), RetentionError> {
        let runs = self.retention.runs(RUNS).await?;
        let mut good = runs.iter().filter(|run| run.outcome == Outcome::Done);
        let good = good.next();
        if let Some(ended) = good.and_then(|run| run.ended) {
            self.metrics.succeeded(ended);
        }
        let next = self.schedule.next(good.map(|run| run.started), since);
        if next.is_none_or(|next| next > self.service.now()) {
            return Ok(());
        }
        let began = Instant::now();
        self.metrics.running(true);
        let ran = self.retention.run(&|event| self.metrics.see(event)).await;
        self.metrics.running(false);
        let Some(report) = ran? else {
            return Ok(());
        };
        self.metrics.ended(began.elapsed(), self.service.now());
        let (rows, bytes) = (report.rows(), report.given_back_bytes);
        let seconds = began.elapsed().as_secs();
        tracing::info!(
            rows,
            bytes,
            seconds,
            "Retention: {rows} rows went, {bytes} bytes were given back, in {seconds} s"
        );
        Ok(())
    }
}
