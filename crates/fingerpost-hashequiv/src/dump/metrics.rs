//! What is counted of dumps. Names begin with `fingerpost_hashequiv_cache_dump_`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fingerpost_core::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Why something was left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Every counter.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    loaded: Counter,
    left_out: Family<Reason, Counter>,
    dropped: Family<Reason, Counter>,
    load_seconds: Gauge<f64, AtomicU64>,
    written: Counter,
    failures: Counter,
    created: Gauge,
    last_seconds: Gauge<f64, AtomicU64>,
    last_entries: Gauge,
    last_bytes: Gauge,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hashequiv_cache_dump");
        let loaded = "Remembered look-ups that were loaded at the start";
        registry.register("entries_loaded", loaded, self.loaded.clone());
        let left_out = "Remembered look-ups that were not loaded at the start, and why";
        registry.register("entries_dropped", left_out, self.left_out.clone());
        let dropped = "Dumps that were not believed at the start, and why";
        registry.register("dropped", dropped, self.dropped.clone());
        let load = "How long loading took at the start";
        registry.register_with_unit("load", load, Unit::Seconds, self.load_seconds.clone());
        registry.register("written", "Dumps written", self.written.clone());
        let failures = "Dumps that could not be written";
        registry.register("failures", failures, self.failures.clone());
        let created = "When the newest dump was begun, since 1970";
        registry.register_with_unit("created", created, Unit::Seconds, self.created.clone());
        let last = "How long the last dump took to write";
        registry.register_with_unit("last", last, Unit::Seconds, self.last_seconds.clone());
        registry.register(
            "last_entries",
            "Remembered look-ups in the last dump",
            self.last_entries.clone(),
        );
        let bytes = "Size of the last dump";
        registry.register_with_unit("last", bytes, Unit::Bytes, self.last_bytes.clone());
    }

    /// The file that is there was written then.
    pub(super) fn is_there(&self, written: Timestamp) {
        self.created.set(written.0.div_euclid(1_000_000));
    }

    pub(super) fn loaded(&self, entries: u64, took: Duration) {
        self.loaded.inc_by(entries);
        self.load_seconds.set(took.as_secs_f64());
    }

    pub(super) fn left_out(&self, reason: &'static str, entries: u64) {
        self.left_out
            .get_or_create(&Reason { reason })
            .inc_by(entries);
    }

    pub(super) fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn written(&self, written: Timestamp, entries: u64, bytes: u64, took: Duration) {
        self.written.inc();
        self.is_there(written);
        self.last_seconds.set(took.as_secs_f64());
        self.last_entries
            .set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.last_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
    }
}
