//! The counters of PostgreSQL databases: the primary's and its replicas'.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fingerpost_db::postgres::{JobMetrics, Postgres};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::config::PRIMARY;
use crate::serve::readiness::SILENCE_MAX;

/// Reads the counters at every scrape. Jobs have the label `work`: `job` is Prometheus'
/// own.
pub(super) struct ServerCollector {
    /// By name; the primary is the first.
    databases: Vec<(String, Postgres)>,
}

impl ServerCollector {
    pub(super) fn new(
        primary: Postgres,
        replicas: impl Iterator<Item = (String, Postgres)>,
    ) -> Self {
        let primary = std::iter::once((PRIMARY.to_owned(), primary));
        Self {
            databases: primary.chain(replicas).collect(),
        }
    }
}

impl fmt::Debug for ServerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCollector").finish_non_exhaustive()
    }
}

impl Collector for ServerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some((_, primary)) = self.databases.first() {
            encode_polls(&mut encoder, primary)?;
        }
        self.encode_connections(&mut encoder)?;
        self.encode_jobs(&mut encoder)
    }
}

/// Whether the primary answers, as its poller sees it.
fn encode_polls(encoder: &mut DescriptorEncoder<'_>, primary: &Postgres) -> fmt::Result {
    let age = primary.last_poll_age();
    let up = ConstGauge::new(i64::from(age.is_some_and(|age| age < SILENCE_MAX)));
    let help = "Whether the primary answered within the last two seconds.";
    encode(encoder, "postgresql_up", help, None, &up)?;
    if let Some(age) = age {
        let help = "Age of what is known of others' deletions.";
        let age = ConstGauge::new(age.as_secs_f64());
        encode(
            encoder,
            "postgresql_poll_age",
            help,
            Some(&Unit::Seconds),
            &age,
        )?;
    }
    let metrics = primary.metrics();
    for (name, help, counter) in [
        (
            "postgresql_polls",
            "Looks for others' deletions.",
            &metrics.polls,
        ),
        (
            "postgresql_poll_failures",
            "Looks for others' deletions that failed.",
            &metrics.poll_failures,
        ),
    ] {
        encode(encoder, name, help, None, &ConstCounter::new(load(counter)))?;
    }
    Ok(())
}

impl ServerCollector {
    fn encode_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.databases.iter();
        let states: Vec<_> = states
            .map(|(name, database)| (name.as_str(), database.pool_state()))
            .collect();
        type Part = fn(&fingerpost_db::postgres::PoolState) -> usize;
        let parts: [(&str, &str, Part); 4] = [
            (
                "postgresql_connections",
                "Connections that are open.",
                |pool| pool.open,
            ),
            (
                "postgresql_connections_in_use",
                "Connections in use.",
                |pool| pool.in_use,
            ),
            (
                "postgresql_connections_limit",
                "Connections at most.",
                |pool| pool.max,
            ),
            (
                "postgresql_connections_waited_for",
                "Requests that wait for a connection.",
                |pool| pool.waiting,
            ),
        ];
        for (name, help, part) in parts {
            let kind = MetricType::Gauge;
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (database, state) in &states {
                let gauge = ConstGauge::new(part(state) as u64);
                gauge.encode(family.encode_family(&[("database", *database)])?)?;
            }
        }
        Ok(())
    }

    fn encode_jobs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut jobs = Vec::new();
        for (database, handle) in &self.databases {
            let of_database = handle.metrics().jobs().into_iter();
            jobs.extend(of_database.map(|(job, metrics)| (database.as_str(), job, metrics)));
        }
        let outcomes: [(&str, Count); 3] = [
            ("done", |job| &job.done),
            ("failed", |job| &job.failures),
            ("unknown", |job| &job.unknown_outcomes),
        ];
        let help = "Jobs by what became of them; unknown are commits that were not answered.";
        encode_counts(
            encoder,
            "postgresql_jobs",
            help,
            "outcome",
            &jobs,
            &outcomes,
        )?;
        let reasons: [(&str, Count); 2] = [
            ("conflict", |job| &job.conflict_retries),
            ("connection", |job| &job.connection_retries),
        ];
        let help = "Jobs that were begun again.";
        encode_counts(
            encoder,
            "postgresql_job_retries",
            help,
            "reason",
            &jobs,
            &reasons,
        )?;
        let help = "Time from a job's beginning to its end, with what was tried again.";
        let kind = MetricType::Histogram;
        let name = "postgresql_job_duration_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for (database, job, metrics) in &jobs {
            let counts = metrics.micros.counts();
            // From 128 us to the deadline of seconds.
            let buckets = counts.buckets(7, 23, 1e-6);
            let sum = counts.sum() as f64 * 1e-6;
            let labels = [("database", *database), ("work", *job)];
            let mut family = family.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(sum, counts.count(), &buckets, None)?;
        }
        Ok(())
    }
}

type Count = fn(&JobMetrics) -> &AtomicU64;

fn encode_counts(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    jobs: &[(&str, &'static str, Arc<JobMetrics>)],
    counts: &[(&str, Count)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (database, job, metrics) in jobs {
        for (value, count) in counts {
            let labels = [("database", *database), ("work", *job), (label, *value)];
            let counter = ConstCounter::new(load(count(metrics)));
            counter.encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

fn load(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}
