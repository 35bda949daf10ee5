//! What is counted of retention. Names begin with `fingerpost_retention_`.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::Timestamp;
use fingerpost_hashequiv::HashEquiv;
use fingerpost_hashequiv::retention::Event;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    term: &'static str,
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    rows: Family<Labels, Counter>,
    bytes: Family<Labels, Counter>,
    given_back: Counter,
    failures: Counter,
    uses: Counter,
    running: Gauge,
    seconds: Gauge,
    success: Gauge,
}

impl Metrics {
    /// Adds every counter to `registry`, whose prefix is `fingerpost`.
    pub(super) fn register(&self, registry: &mut Registry, service: &Arc<HashEquiv>) {
        let registry = registry.sub_registry_with_prefix("retention");
        let rows = "Rows that went, by kind and term";
        registry.register("rows_deleted", rows, self.rows.clone());
        let bytes = "What they took in the database file, about";
        registry.register_with_unit("deleted", bytes, Unit::Bytes, self.bytes.clone());
        let freed = "Bytes that the file system got back";
        registry.register_with_unit("freed", freed, Unit::Bytes, self.given_back.clone());
        let failures = "Runs that failed";
        registry.register("failures", failures, self.failures.clone());
        let uses = "Last uses of tasks that look-ups noted and that were written";
        registry.register("uses_stored", uses, self.uses.clone());
        let running = "Whether a run is under way in this process";
        registry.register("running", running, self.running.clone());
        let seconds = "How long the last run of this process took";
        registry.register_with_unit("last", seconds, Unit::Seconds, self.seconds.clone());
        let success = "When the last run that was finished ended, since 1970";
        let unit = Unit::Seconds;
        registry.register_with_unit("last_success", success, unit, self.success.clone());
        registry.register_collector(Box::new(Uses(Arc::clone(service))));
    }

    pub(super) fn see(&self, event: Event) {
        match event {
            Event::Looked(_) => {}
            Event::Gone {
                kind,
                term,
                rows,
                bytes,
            } => {
                let (kind, term) = (kind.as_str(), term.as_str());
                let labels = Labels { kind, term };
                self.rows.get_or_create(&labels).inc_by(rows);
                self.bytes.get_or_create(&labels).inc_by(bytes);
            }
            Event::GaveBack(bytes) => {
                self.given_back.inc_by(bytes);
            }
        }
    }

    pub(super) fn uses_stored(&self, rows: u64) {
        self.uses.inc_by(rows);
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    pub(super) fn running(&self, is_running: bool) {
        self.running.set(i64::from(is_running));
    }

    /// A run of whatever process was finished.
    pub(super) fn succeeded(&self, ended: Timestamp) {
        self.success.set(ended.0.div_euclid(1_000_000));
    }

    pub(super) fn ended(&self, took: Duration, now: Timestamp) {
        self.seconds
            .set(i64::try_from(took.as_secs()).unwrap_or(i64::MAX));
        self.succeeded(now);
    }
}

/// Reads what waits at every scrape.
struct Uses(Arc<HashEquiv>);

impl std::fmt::Debug for Uses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Uses").finish_non_exhaustive()
    }
}

impl Collector for Uses {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let uses = self.0.uses();
        let waiting = ConstGauge::new(uses.waiting() as u64);
        let help = "Last uses of tasks that wait to be written.";
        let kind = waiting.metric_type();
        waiting.encode(encoder.encode_descriptor("uses_waiting", help, None, kind)?)?;
        let dropped = ConstCounter::new(uses.dropped());
        let help = "Last uses that there was no room for.";
        let kind = dropped.metric_type();
        dropped.encode(encoder.encode_descriptor("uses_dropped", help, None, kind)?)
    }
}
