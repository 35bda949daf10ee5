//! What tiers count. Names begin with `fingerpost_cache_`.

use std::sync::Arc;

use fingerpost_core::CacherError;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::tiers::Guarded;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TierLabel {
    tier: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    tier: Arc<str>,
    kind: &'static str,
}

/// The counters of all tiers.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    hits: Family<TierLabel, Counter>,
    misses: Family<TierLabel, Counter>,
    stored: Family<TierLabel, Counter>,
    stored_bytes: Family<TierLabel, Counter>,
    failures: Family<FailureLabels, Counter>,
    promotions_skipped: Counter,
}

impl Metrics {
    /// The counters of one tier, looked up beforehand.
    pub(crate) fn of_tier(&self, tier: &str) -> TierMetrics {
        let tier = Arc::<str>::from(tier);
        let label = TierLabel {
            tier: Arc::clone(&tier),
        };
        // All are there from the start: a rate sees the first of each.
        for kind in KINDS {
            let tier = Arc::clone(&tier);
            self.failures
                .get_or_create_owned(&FailureLabels { tier, kind });
        }
        TierMetrics {
            hits: self.hits.get_or_create_owned(&label),
            misses: self.misses.get_or_create_owned(&label),
            stored: self.stored.get_or_create_owned(&label),
            stored_bytes: self.stored_bytes.get_or_create_owned(&label),
            failures: self.failures.clone(),
            tier,
        }
    }

    /// A hit that was not copied to faster tiers, because enough others are.
    pub(crate) fn count_promotion_skipped(&self) {
        self.promotions_skipped.inc();
    }

    pub(crate) fn register(&self, tiers: Vec<Arc<Guarded>>, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("cache");
        registry.register("hits", "Look-ups that found", self.hits.clone());
        registry.register("misses", "Look-ups that did not", self.misses.clone());
        registry.register("stored", "Entries taken", self.stored.clone());
        registry.register(
            "stored_bytes",
            "Bytes of entries taken",
            self.stored_bytes.clone(),
        );
        registry.register(
            "failures",
            "Calls that failed or took too long",
            self.failures.clone(),
        );
        registry.register(
            "promotions_skipped",
            "Hits not copied to faster tiers, because enough others were",
            self.promotions_skipped.clone(),
        );
        registry.register_collector(Box::new(TiersCollector(tiers)));
    }
}

/// The counters of one tier.
#[derive(Debug)]
pub(crate) struct TierMetrics {
    tier: Arc<str>,
    hits: Counter,
    misses: Counter,
    stored: Counter,
    stored_bytes: Counter,
    failures: Family<FailureLabels, Counter>,
}

impl TierMetrics {
    pub(crate) fn count_hit(&self) {
        self.hits.inc();
    }

    pub(crate) fn count_miss(&self) {
        self.misses.inc();
    }

    pub(crate) fn count_stored(&self, bytes: u64) {
        self.stored.inc();
        self.stored_bytes.inc_by(bytes);
    }

    pub(crate) fn count_failure(&self, error: &CacherError) {
        let labels = FailureLabels {
            tier: Arc::clone(&self.tier),
            kind: kind(error),
        };
        self.failures.get_or_create(&labels).inc();
    }
}

/// What [`kind`] gives.
const KINDS: [&str; 7] = [
    "io",
    "timed_out",
    "damaged",
    "length",
    "full",
    "suspended",
    "other",
];

const fn kind(error: &CacherError) -> &'static str {
    match error {
        CacherError::Io(_) => "io",
        CacherError::TimedOut(_) => "timed_out",
        CacherError::Damaged(_) => "damaged",
        CacherError::Length { .. } => "length",
        CacherError::Full => "full",
        CacherError::Suspended => "suspended",
        CacherError::Other(_) => "other",
    }
}

/// Asks tiers for their state at every scrape.
#[derive(Debug)]
struct TiersCollector(Vec<Arc<Guarded>>);

impl Collector for TiersCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut family = encoder.encode_descriptor(
            "suspended",
            "Whether a tier is left alone because it failed.",
            None,
            MetricType::Gauge,
        )?;
        for tier in &self.0 {
            for (work, suspended) in tier.suspended() {
                let labels = [("tier", tier.name()), ("work", work)];
                let encoder = family.encode_family(&labels)?;
                ConstGauge::new(i64::from(suspended)).encode(encoder)?;
            }
        }
        self.encode_usage(&mut encoder, "entries", "Entries held.", |usage| {
            usage.entries
        })?;
        let help = "Bytes held, as they count against the limit.";
        self.encode_usage(&mut encoder, "bytes", help, |usage| usage.bytes)
    }
}

impl TiersCollector {
    fn encode_usage(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(fingerpost_core::Usage) -> u64,
    ) -> std::fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for tier in &self.0 {
            if let Some(usage) = tier.usage() {
                let labels = [("tier", tier.name())];
                let encoder = family.encode_family(&labels)?;
                ConstGauge::new(value(usage)).encode(encoder)?;
            }
        }
        Ok(())
    }
}
