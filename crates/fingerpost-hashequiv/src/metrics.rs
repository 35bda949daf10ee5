//! What the service counts. Names begin with `fingerpost_hashequiv_`.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::durations::Durations;
use crate::sharded::HotCounter;

/// The counters of the service in one namespace. Doors count what is theirs.
#[derive(Debug)]
pub struct Metrics {
    /// Look-ups answered from memory.
    pub cache_hits: HotCounter,
    /// Look-ups that went to the database.
    pub cache_misses: Counter,
    /// Look-ups that were answered with a unihash, from wherever.
    pub unihashes_found: HotCounter,
    /// Look-ups that were answered with a miss.
    pub unihashes_unknown: Counter,
    /// Stored unihashes of an old form that were answered as a miss.
    pub invalid_unihashes: Counter,
    /// Reports that were stored or confirmed.
    pub reports: Counter,
    /// Reports that gave a task its unihash.
    pub reports_adopted: Counter,
    /// Of those, the ones that took another unihash than they proposed.
    pub reports_matched: Counter,
    /// Reports that were answered without storing: no right, or read-only.
    pub reports_unstored: Counter,
    /// Rows that were removed on request.
    pub rows_removed: Counter,
    /// What is counted for all namespaces together.
    pub shared: SharedMetrics,
}

/// Counters that belong to no namespace. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct SharedMetrics {
    /// Questions to the upstream.
    pub upstream_questions: Counter,
    /// Questions that the upstream failed to answer.
    pub upstream_failures: Counter,
    /// Questions that the upstream did not answer in time.
    pub upstream_timeouts: Counter,
    /// How long questions to the upstream took, by how they ended.
    pub(crate) upstream_durations: Family<UpstreamOutcome, Durations>,
    /// Questions that were spared, because the answer was a miss lately.
    pub upstream_misses_remembered: Counter,
    /// Rows that were copied from the upstream.
    pub backfilled: Counter,
    /// Signatures that were kept.
    pub signatures_stored: Counter,
    /// Signatures that were not kept, because no row is the signed one.
    pub signatures_refused: Counter,
    /// Rows that were not copied, because the queue was full.
    pub backfill_dropped: Counter,
    /// Look-ups that were answered with a miss, because the database did not answer.
    pub lookups_given_up: Counter,
    /// Groups of look-ups that a replica could not answer yet.
    pub replica_behind: Counter,
    /// Groups of look-ups that a replica failed to answer.
    pub replica_failures: Counter,
    /// Times that remembered answers were given though nobody could say whether they
    /// still held: once for each batch of look-ups.
    pub stale_batches: HotCounter,
    /// Rows that wait to be copied.
    pub backfill_queue: Gauge<i64, AtomicI64>,
}

/// How a question to the upstream ended: `answered`, `failed` or `timed_out`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UpstreamOutcome {
    pub(crate) outcome: &'static str,
}

/// A namespace's name: one of those that are configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Within {
    namespace: String,
}

/// The counters of every namespace. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Families {
    cache_hits: Family<Within, HotCounter>,
    cache_misses: Family<Within, Counter>,
    unihashes_found: Family<Within, HotCounter>,
    unihashes_unknown: Family<Within, Counter>,
    invalid_unihashes: Family<Within, Counter>,
    reports: Family<Within, Counter>,
    reports_adopted: Family<Within, Counter>,
    reports_matched: Family<Within, Counter>,
    reports_unstored: Family<Within, Counter>,
    rows_removed: Family<Within, Counter>,
    pub(crate) shared: SharedMetrics,
}

impl Families {
    /// The counters of one namespace.
    pub(crate) fn of(&self, namespace: &str) -> Metrics {
        let within = Within {
            namespace: namespace.to_owned(),
        };
        let hot = |family: &Family<Within, HotCounter>| family.get_or_create(&within).clone();
        let cold = |family: &Family<Within, Counter>| family.get_or_create(&within).clone();
        Metrics {
            cache_hits: hot(&self.cache_hits),
            cache_misses: cold(&self.cache_misses),
            unihashes_found: hot(&self.unihashes_found),
            unihashes_unknown: cold(&self.unihashes_unknown),
            invalid_unihashes: cold(&self.invalid_unihashes),
            reports: cold(&self.reports),
            reports_adopted: cold(&self.reports_adopted),
            reports_matched: cold(&self.reports_matched),
            reports_unstored: cold(&self.reports_unstored),
            rows_removed: cold(&self.rows_removed),
            shared: self.shared.clone(),
        }
    }

    /// Adds every counter to `registry`, whose prefix is `fingerpost`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hashequiv");
        let hits = "Look-ups answered from memory";
        registry.register("cache_hits", hits, self.cache_hits.clone());
        let found = "Look-ups answered with a unihash";
        registry.register("unihashes_found", found, self.unihashes_found.clone());
        let families = [
            (
                "cache_misses",
                "Look-ups that went to the database",
                &self.cache_misses,
            ),
            (
                "unihashes_unknown",
                "Look-ups answered with a miss",
                &self.unihashes_unknown,
            ),
            (
                "invalid_unihashes",
                "Stored unihashes of an old form that were answered as a miss",
                &self.invalid_unihashes,
            ),
            (
                "reports",
                "Reports that were stored or confirmed",
                &self.reports,
            ),
            (
                "reports_adopted",
                "Reports that gave a task its unihash",
                &self.reports_adopted,
            ),
            (
                "reports_matched",
                "Reports that took the unihash of an equal output",
                &self.reports_matched,
            ),
            (
                "reports_unstored",
                "Reports answered without storing",
                &self.reports_unstored,
            ),
            (
                "rows_removed",
                "Rows removed on request",
                &self.rows_removed,
            ),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        self.shared.register(registry);
    }
}

impl SharedMetrics {
    fn register(&self, registry: &mut Registry) {
        let durations = "Time that questions to the upstream took, by how they ended";
        registry.register(
            "upstream_duration_seconds",
            durations,
            self.upstream_durations.clone(),
        );
        let counters = [
            (
                "upstream_questions",
                "Questions to the upstream",
                &self.upstream_questions,
            ),
            (
                "upstream_failures",
                "Questions the upstream failed to answer",
                &self.upstream_failures,
            ),
            (
                "upstream_timeouts",
                "Questions the upstream did not answer in time",
                &self.upstream_timeouts,
            ),
            (
                "upstream_misses_remembered",
                "Questions spared by a remembered miss",
                &self.upstream_misses_remembered,
            ),
            (
                "backfilled",
                "Rows copied from the upstream",
                &self.backfilled,
            ),
            (
                "signatures_stored",
                "Signatures of rows kept",
                &self.signatures_stored,
            ),
            (
                "signatures_refused",
                "Signatures not kept, no row is the signed one",
                &self.signatures_refused,
            ),
            (
                "lookups_given_up",
                "Look-ups answered with a miss, the database did not answer",
                &self.lookups_given_up,
            ),
            (
                "replica_behind",
                "Groups of look-ups asked of the primary, a replica was behind",
                &self.replica_behind,
            ),
            (
                "replica_failures",
                "Groups of look-ups asked of the primary, a replica failed",
                &self.replica_failures,
            ),
            (
                "backfill_dropped",
                "Rows not copied, the queue was full",
                &self.backfill_dropped,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "stale_batches",
            "Batches of look-ups answered from memory that was not compared with the database",
            self.stale_batches.clone(),
        );
        registry.register(
            "backfill_queue",
            "Rows waiting to be copied",
            self.backfill_queue.clone(),
        );
    }
}
