//! Histograms of durations, as Prometheus wants them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Histogram, HistogramCounts};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use crate::sharded::Sharded;

/// Durations in buckets from 8 µs to 8 s, each twice the one before. Cheap to
/// clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Durations(Arc<Histogram>);

/// The same for what every thread adds to all the time.
#[derive(Clone, Debug, Default)]
pub struct HotDurations(Arc<Sharded<Histogram>>);

impl Durations {
    /// Counts something that took `elapsed`.
    pub fn observe(&self, elapsed: Duration) {
        self.0.observe(micros(elapsed));
    }
}

impl HotDurations {
    /// Counts something that took `elapsed`.
    pub fn observe(&self, elapsed: Duration) {
        self.0.own().observe(micros(elapsed));
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts().count()
    }

    fn counts(&self) -> HistogramCounts {
        let mut counts = HistogramCounts::default();
        self.0.all().for_each(|part| part.add_to(&mut counts));
        counts
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        encode(&self.0.counts(), encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl EncodeMetric for HotDurations {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        encode(&self.counts(), encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl TypedMetric for HotDurations {
    const TYPE: MetricType = MetricType::Histogram;
}

fn encode(counts: &HistogramCounts, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    let buckets = counts.buckets(LOWEST, HIGHEST, MICROSECOND);
    let sum_s = counts.sum() as f64 * MICROSECOND;
    encoder.encode_histogram::<NoLabelSet>(sum_s, counts.count(), &buckets, None)
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// Powers of two, in microseconds: 8 µs and 8.4 s.
const LOWEST: usize = 3;
const HIGHEST: usize = 23;
const MICROSECOND: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_all_threads_counted_is_shown_in_seconds() {
        let (durations, mut registry) = (HotDurations::default(), Registry::default());
        registry.register("wait_seconds", "Waits", durations.clone());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| durations.observe(Duration::from_micros(20)));
            }
        });
        durations.observe(Duration::from_secs(60));
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE wait_seconds histogram",
            "wait_seconds_sum 60.00006",
            "wait_seconds_count 4",
            "wait_seconds_bucket{le=\"0.000016\"} 0",
            "wait_seconds_bucket{le=\"0.000032\"} 3",
            "wait_seconds_bucket{le=\"8.388608\"} 3",
            "wait_seconds_bucket{le=\"+Inf\"} 4",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}: {text}");
        }
    }
}
