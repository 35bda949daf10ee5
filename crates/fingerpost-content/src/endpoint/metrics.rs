//! What the endpoint counts. Names begin with `fingerpost_content_`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::body::Why;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabel {
    why: &'static str,
}

/// The counters of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Family<StatusLabel, Counter>,
    sent_bytes: Counter,
    broken: Family<WhyLabel, Counter>,
}

impl Metrics {
    pub(crate) fn count_request(&self, status: u16) {
        self.requests.get_or_create(&StatusLabel { status }).inc();
    }

    /// Bytes of an entry that were handed to a connection.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn count_broken(&self, why: Why) {
        let why = why.label();
        self.broken.get_or_create(&WhyLabel { why }).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("content");
        registry.register(
            "requests",
            "Requests for entries by the status of the answer",
            self.requests.clone(),
        );
        registry.register(
            "sent_bytes",
            "Bytes of entries sent",
            self.sent_bytes.clone(),
        );
        // All are there from the start: a rate sees the first of each.
        for why in Why::ALL {
            let why = why.label();
            self.broken.get_or_create_owned(&WhyLabel { why });
        }
        registry.register(
            "broken",
            "Answers that were broken off in the middle",
            self.broken.clone(),
        );
    }
}
