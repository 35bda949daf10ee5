//! What is counted of making snapshots. Names begin with `fingerpost_snapshot_`.

use std::time::Duration;

use fingerpost_snapshot::Manifest;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
}

/// The counters, by namespace.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    made: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    created: Family<Labels, Gauge>,
    seconds: Family<Labels, Gauge>,
    rows: Family<Labels, Gauge>,
    bytes: Family<Labels, Gauge>,
    withheld: Gauge,
}

impl Metrics {
    /// With zeros for these namespaces: a counter that begins with its first failure
    /// hides it.
    pub(super) fn of(namespaces: &[String]) -> Self {
        let metrics = Self::default();
        for namespace in namespaces {
            drop(metrics.made.get_or_create(&labels(namespace)));
            drop(metrics.failures.get_or_create(&labels(namespace)));
        }
        metrics
    }

    /// Adds every counter to `registry`, whose prefix is `fingerpost`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("snapshot");
        registry.register(
            "made",
            "Snapshots that this process made",
            self.made.clone(),
        );
        let failures = "Snapshots that could not be made, or old ones removed";
        registry.register("failures", failures, self.failures.clone());
        let created = "When the newest snapshot that was made here was cut, since 1970";
        registry.register_with_unit("created", created, Unit::Seconds, self.created.clone());
        let seconds = "How long the last one took to make";
        registry.register_with_unit("last", seconds, Unit::Seconds, self.seconds.clone());
        registry.register("last_rows", "Rows of the last one", self.rows.clone());
        let bytes = "Bytes of the last one's shards";
        registry.register_with_unit("last", bytes, Unit::Bytes, self.bytes.clone());
        registry.register(
            "withheld",
            "1 while snapshots.directory is not that of the other servers on the database, and \
             what lies there is told to nobody",
            self.withheld.clone(),
        );
    }

    /// There is a snapshot, whoever made it.
    pub(super) fn is_there(&self, namespace: &str, created: u64) {
        set(&self.created, namespace, created);
    }

    /// Whether the directory is none that clients are told of.
    pub(super) fn is_withheld(&self, is_withheld: bool) {
        self.withheld.set(is_withheld.into());
    }

    pub(super) fn made(&self, manifest: &Manifest, took: Duration) {
        let namespace = &*manifest.namespace;
        self.made.get_or_create(&labels(namespace)).inc();
        set(&self.created, namespace, manifest.created.seconds());
        set(&self.seconds, namespace, took.as_secs());
        set(&self.rows, namespace, manifest.rows());
        let bytes = manifest.shards().map(|(_, shard)| shard.bytes).sum();
        set(&self.bytes, namespace, bytes);
    }

    pub(super) fn failed(&self, namespace: &str) {
        self.failures.get_or_create(&labels(namespace)).inc();
    }
}

fn labels(namespace: &str) -> Labels {
    let namespace = namespace.to_owned();
    Labels { namespace }
}

fn set(family: &Family<Labels, Gauge>, namespace: &str, number: u64) {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    family.get_or_create(&labels(namespace)).set(number);
}
