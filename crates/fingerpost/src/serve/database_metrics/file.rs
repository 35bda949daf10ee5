//! The counters of a SQLite file.

use std::sync::atomic::{AtomicU64, Ordering};

use fingerpost_db::Sqlite;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads the database's own counters at every scrape.
pub(super) struct FileCollector(Sqlite);

impl FileCollector {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self(database)
    }
}

impl std::fmt::Debug for FileCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FileCollector").finish_non_exhaustive()
    }
}

impl Collector for FileCollector {
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
        let unit = Some(&Unit::Seconds);
        encode(&mut encoder, "checkpoint", help, unit, &counter)?;
        for (name, help, value) in [
            (
                "write_queue",
                "Writes that wait.",
                &metrics.write_queue_depth,
            ),
            ("read_queue", "Reads that wait.", &metrics.read_queue_depth),
        ] {
            encode(
                &mut encoder,
                name,
                help,
                None,
                &ConstGauge::new(load(value)),
            )?;
        }
        encode_histograms(&mut encoder, metrics)?;
        encode_files(&mut encoder, &self.0)
    }
}

fn encode_histograms(
    encoder: &mut DescriptorEncoder<'_>,
    metrics: &fingerpost_db::Metrics,
) -> std::fmt::Result {
    // Groups have at most 512 jobs; commits take from 16 us up to what a drive
    // takes that is about to fail.
    for (name, help, histogram, (lowest, highest), unit) in [
        (
            "group_size_jobs",
            "Writes that were committed together.",
            &metrics.group_sizes,
            (0, 9),
            1.0,
        ),
        (
            "group_duration_seconds",
            "Time from a group's first write to the end of its commit.",
            &metrics.group_micros,
            (4, 23),
            1e-6,
        ),
        (
            "commit_duration_seconds",
            "Time that commits themselves took.",
            &metrics.commit_micros,
            (4, 23),
            1e-6,
        ),
    ] {
        let counts = histogram.counts();
        let buckets = counts.buckets(lowest, highest, unit);
        let name = format!("database_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        let sum = counts.sum() as f64 * unit;
        family.encode_histogram::<NoLabelSet>(sum, counts.count(), &buckets, None)?;
    }
    Ok(())
}

/// The file, its log, and the room on its disk. What cannot be found out is left out.
fn encode_files(encoder: &mut DescriptorEncoder<'_>, database: &Sqlite) -> std::fmt::Result {
    let size = std::fs::metadata(database.path()).map(|file| file.len());
    let wal = Some(load(&database.metrics().wal_bytes));
    let room = database.path().parent().map(rustix::fs::statvfs);
    let room = room.and_then(Result::ok);
    let room = room.map(|room| room.f_bavail.saturating_mul(room.f_frsize));
    for (name, help, bytes) in [
        ("size", "Length of the database file.", size.ok()),
        ("wal", "Length of the log.", wal),
        ("disk_free", "Room left on the database's disk.", room),
    ] {
        if let Some(bytes) = bytes {
            let gauge = ConstGauge::new(bytes);
            encode(encoder, name, help, Some(&Unit::Bytes), &gauge)?;
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
) -> std::fmt::Result {
    let name = format!("database_{name}");
    metric.encode(encoder.encode_descriptor(&name, help, unit, metric.metric_type())?)
}

fn load(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}
