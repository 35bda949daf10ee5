//! What redirect targets count.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::targets::Served;

/// Counters by target.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetMetrics {
    redirects: Family<TargetLabel, Counter>,
    bytes: Family<TargetLabel, Counter>,
    published: Family<TargetLabel, Counter>,
    published_bytes: Family<TargetLabel, Counter>,
    failures: Family<TargetLabel, Counter>,
}

/// Those of one target.
#[derive(Clone, Debug)]
pub(crate) struct TargetCounters {
    redirects: Counter,
    bytes: Counter,
    published: Counter,
    published_bytes: Counter,
    failures: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabel {
    target: String,
}

impl TargetMetrics {
    pub(crate) fn of_target(&self, name: &str) -> TargetCounters {
        let label = TargetLabel {
            target: name.to_owned(),
        };
        TargetCounters {
            redirects: self.redirects.get_or_create_owned(&label),
            bytes: self.bytes.get_or_create_owned(&label),
            published: self.published.get_or_create_owned(&label),
            published_bytes: self.published_bytes.get_or_create_owned(&label),
            failures: self.failures.get_or_create_owned(&label),
        }
    }

    pub(crate) fn register(&self, targets: Vec<Arc<Served>>, registry: &mut Registry) {
        for (name, help, family) in [
            ("redirects", "Answers redirected", &self.redirects),
            (
                "redirects_bytes",
                "Bytes of answers redirected, without a coding",
                &self.bytes,
            ),
            (
                "redirects_published",
                "Answers put to a target",
                &self.published,
            ),
            (
                "redirects_published_bytes",
                "Bytes put to a target",
                &self.published_bytes,
            ),
            (
                "redirects_failures",
                "Times that a target's store failed",
                &self.failures,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register_collector(Box::new(Health(targets)));
    }
}

impl TargetCounters {
    pub(crate) fn count_redirect(&self, bytes: u64) {
        self.redirects.inc();
        self.bytes.inc_by(bytes);
    }

    pub(crate) fn count_published(&self, bytes: u64) {
        self.published.inc();
        self.published_bytes.inc_by(bytes);
    }

    pub(crate) fn count_failure(&self) {
        self.failures.inc();
    }
}

/// Whether each target works, as it is when it is asked for.
#[derive(Debug)]
struct Health(Vec<Arc<Served>>);

impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let help = "Whether clients are told of a target.";
        let gauge = ConstGauge::new(0_i64);
        let mut metric =
            encoder.encode_descriptor("redirects_healthy", help, None, gauge.metric_type())?;
        for served in &self.0 {
            let label = TargetLabel {
                target: served.target().advertised.name.clone(),
            };
            let gauge = ConstGauge::new(i64::from(served.is_healthy()));
            gauge.encode(metric.encode_family(&label)?)?;
        }
        Ok(())
    }
}
