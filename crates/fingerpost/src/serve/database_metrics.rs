//! The database's counters on `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use fingerpost_db::Sqlite;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads the database's own counters at every scrape.
pub(super) struct DatabaseCollector(Sqlite);

impl DatabaseCollector {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self(database)
    }
}

impl std::fmt::Debug for DatabaseCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DatabaseCollector").finish_non_exhaustive()
    }
}

impl Collector for DatabaseCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let metrics = self.0.metrics();
        for (name, help, value) in [
            ("commits", "Transactions committed.", &metrics.commits),
            (
                "commit_failures",
                "Transactions rolled back.",
                &metrics.commit_failures,
            ),
            ("jobs", "Writes answered with success.", &metrics.jobs),
            (
                "job_failures",
                "Writes and reads answered with an error.",
                &metrics.job_failures,
            ),
            (
                "groups",
                "Groups of writes committed together.",
                &metrics.groups,
            ),
            ("group_jobs", "Writes in those groups.", &metrics.group_jobs),
            (
                "background_batches",
                "Background batches.",
                &metrics.background_batches,
            ),
            ("read_jobs", "Reads run.", &metrics.read_jobs),
            (
                "queue_timeouts",
                "Jobs refused as busy.",
                &metrics.queue_timeouts,
            ),
            (
                "checkpoints",
                "Checkpoints of the log.",
                &metrics.checkpoints,
            ),
            (
                "checkpoint_failures",
                "Checkpoints that failed.",
                &metrics.checkpoint_failures,
            ),
            (
                "polls",
                "Looks for commits of other processes.",
                &metrics.polls,
            ),
        ] {
            encode(
                &mut encoder,
                name,
                help,
                None,
                &ConstCounter::new(load(value)),
            )?;
        }
        let seconds = load(&metrics.checkpoint_micros) as f64 / 1e6;
        let help = "Time spent in checkpoints.";
        let counter = ConstCounter::new(seconds);
        encode(
            &mut encoder,
            "checkpoint",
            help,
            Some(&Unit::Seconds),
            &counter,
        )?;
        for (name, help, unit, value) in [
            (
                "write_queue",
                "Writes that wait.",
                None,
                &metrics.write_queue_depth,
            ),
            (
                "read_queue",
                "Reads that wait.",
                None,
                &metrics.read_queue_depth,
            ),
            (
                "wal",
                "Length of the log.",
                Some(&Unit::Bytes),
                &metrics.wal_bytes,
            ),
        ] {
            let value = i64::try_from(load(value)).unwrap_or(i64::MAX);
            encode(&mut encoder, name, help, unit, &ConstGauge::new(value))?;
        }
        Ok(())
    }
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> std::fmt::Result {
    let name = format!("database_{name}");
    metric.encode(encoder.encode_descriptor(&name, help, unit, metric.metric_type())?)
}

fn load(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}
