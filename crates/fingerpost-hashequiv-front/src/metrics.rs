//! What the native door counts. Names begin with `fingerpost_hashequiv_`.

use std::collections::HashMap;
use std::sync::Arc;

use fingerpost_core::{Entry, Failure, Kind, Registry as Commands};
use fingerpost_hashequiv::{HashEquiv, HotCounter, HotDurations, NamespaceSet};
use fingerpost_hashequiv_proto::Misbehaved;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The door's counters, with every label looked up beforehand.
#[derive(Debug)]
pub(crate) struct Metrics {
    by_namespace: HashMap<Arc<str>, OfCommands>,
    /// Those of the default namespace.
    default: OfCommands,
    /// Breaches of the protocol, in the order of [`Misbehaved::ALL`].
    misbehaved: Vec<Counter>,
    over_limit: Vec<Counter>,
    /// Bytes of requests.
    pub(crate) received_bytes: HotCounter,
    /// Bytes of answers.
    pub(crate) sent_bytes: HotCounter,
    families: Families,
}

/// The counters of commands within one namespace, in the order of the commands. Found
/// once for a connection.
pub(crate) type OfCommands = Arc<[CommandMetrics]>;

/// The counters of one command within one namespace.
#[derive(Debug)]
pub(crate) struct CommandMetrics {
    outcomes: [Counter; OUTCOMES.len()],
    /// Lines of the stream that the command opens, its end included.
    pub(crate) lines: HotCounter,
    /// Of requests; of a stream, those of the batches of its lines. The same in each
    /// namespace.
    pub(crate) durations: HotDurations,
}

/// A limit of the door other than those that [`Misbehaved`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The handshake took too long.
    HandshakeTime,
    /// A message took too long.
    MessageTime,
    /// The peer did not take its answers.
    WriteStall,
    /// All connections together hold too much.
    BufferedBytes,
}

const OUTCOMES: [&str; 5] = ["ok", "denied", "refused", "bad_argument", "failed"];

const LIMITS: [(Limit, &str); 4] = [
    (Limit::HandshakeTime, "handshake_time"),
    (Limit::MessageTime, "message_time"),
    (Limit::WriteStall, "write_stall"),
    (Limit::BufferedBytes, "buffered_bytes"),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    command: &'static str,
    outcome: &'static str,
    namespace: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    command: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    stream: &'static str,
    namespace: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Debug, Default)]
struct Families {
    requests: Family<RequestLabels, Counter>,
    lines: Family<StreamLabels, HotCounter>,
    durations: Family<CommandLabels, HotDurations>,
    misbehaved: Family<ReasonLabels, Counter>,
    over_limit: Family<LimitLabels, Counter>,
}

impl Metrics {
    pub(crate) fn new(commands: &Commands<HashEquiv>, set: &NamespaceSet) -> Self {
        let families = Families::default();
        let within = |service: &HashEquiv| {
            let namespace: Arc<str> = service.namespace().into();
            let entries = commands.entries().iter();
            let counters = entries.map(|entry| families.of_command(entry, &namespace));
            (Arc::clone(&namespace), counters.collect())
        };
        let by_namespace: HashMap<_, OfCommands> =
            set.iter().map(|service| within(service)).collect();
        let (_, default) = within(set.default());
        let reason = |reason| {
            families
                .misbehaved
                .get_or_create_owned(&ReasonLabels { reason })
        };
        let limit = |limit| {
            families
                .over_limit
                .get_or_create_owned(&LimitLabels { limit })
        };
        Self {
            by_namespace,
            default,
            misbehaved: Misbehaved::ALL
                .iter()
                .map(|kind| reason(kind.as_str()))
                .collect(),
            over_limit: LIMITS.iter().map(|(_, word)| limit(*word)).collect(),
            received_bytes: HotCounter::default(),
            sent_bytes: HotCounter::default(),
            families,
        }
    }

    /// Adds every counter to `registry`, whose prefix is `fingerpost`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hashequiv");
        let requests = "Requests that ended, by command, outcome and namespace; the opening of a stream is one";
        registry.register("requests", requests, self.families.requests.clone());
        let lines = "Lines of streams, the ends of streams included";
        registry.register("stream_lines", lines, self.families.lines.clone());
        let durations =
            "Time from the taking of a request to its answer; of streams, for each batch of lines";
        let family = self.families.durations.clone();
        registry.register("request_duration_seconds", durations, family);
        let misbehaved = "Connections closed for a breach of the protocol, by reason";
        registry.register("misbehaved", misbehaved, self.families.misbehaved.clone());
        let over_limit = "Connections closed for being too slow or holding too much, by limit";
        registry.register("over_limit", over_limit, self.families.over_limit.clone());
        let received = "Bytes received over BitBake's protocol";
        registry.register("received_bytes", received, self.received_bytes.clone());
        let sent = "Bytes of answers over BitBake's protocol";
        registry.register("sent_bytes", sent, self.sent_bytes.clone());
    }

    /// The counters of a namespace, which is one of those that there were at first.
    pub(crate) fn within(&self, namespace: &str) -> OfCommands {
        let known = self.by_namespace.get(namespace);
        Arc::clone(known.unwrap_or(&self.default))
    }

    pub(crate) fn count_misbehaved(&self, misbehaved: Misbehaved) {
        let place = Misbehaved::ALL
            .iter()
            .position(|other| *other == misbehaved);
        if let Some(counter) = place.and_then(|place| self.misbehaved.get(place)) {
            counter.inc();
        }
    }

    pub(crate) fn count_over_limit(&self, limit: Limit) {
        let place = LIMITS.iter().position(|(other, _)| *other == limit);
        if let Some(counter) = place.and_then(|place| self.over_limit.get(place)) {
            counter.inc();
        }
    }
}

impl Families {
    fn of_command(&self, entry: &Entry<HashEquiv>, namespace: &Arc<str>) -> CommandMetrics {
        let command = entry.declaration.name;
        CommandMetrics {
            outcomes: OUTCOMES.map(|outcome| {
                self.requests.get_or_create_owned(&RequestLabels {
                    command,
                    outcome,
                    namespace: Arc::clone(namespace),
                })
            }),
            lines: match entry.declaration.kind {
                Kind::Stream => self.lines.get_or_create_owned(&StreamLabels {
                    stream: command,
                    namespace: Arc::clone(namespace),
                }),
                Kind::Once => HotCounter::default(),
            },
            durations: self
                .durations
                .get_or_create_owned(&CommandLabels { command }),
        }
    }
}

impl CommandMetrics {
    /// Counts a request that ended.
    pub(crate) fn count(&self, failure: Option<&Failure>) {
        let outcome = match failure {
            None => 0,
            Some(Failure::Denied { .. }) => 1,
            Some(Failure::Refused { .. }) => 2,
            Some(Failure::BadArgument(_) | Failure::Unknown) => 3,
            Some(Failure::Internal(_) | Failure::Unavailable(_)) => 4,
        };
        self.outcomes[outcome].inc();
    }
}

impl Limit {
    /// A phrase for the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::HandshakeTime => "the handshake took too long",
            Self::MessageTime => "a message took too long",
            Self::WriteStall => "the answers were not read",
            Self::BufferedBytes => "all connections together hold too much",
        }
    }
}
