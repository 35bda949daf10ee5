//! What the door counts. Names begin with `fingerpost_hg_`.

use fingerpost_core::{Failure, Registry as Commands};
use fingerpost_hg::RepositoryView;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The door's counters, with every label looked up beforehand.
#[derive(Debug)]
pub(crate) struct Metrics {
    commands: Vec<[Counter; OUTCOMES.len()]>,
    refusals: Family<RefusalLabels, Counter>,
    other_clients: Counter,
    retries: Counter,
    made_again: Counter,
    sent_bytes: Counter,
    requests: Family<RequestLabels, Counter>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Denied,
    Refused,
    BadArgument,
    Failed,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Ok, "ok"),
    (Outcome::Denied, "denied"),
    (Outcome::Refused, "refused"),
    (Outcome::BadArgument, "bad_argument"),
    (Outcome::Failed, "failed"),
];

impl Outcome {
    pub(crate) const fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Denied { .. } => Self::Denied,
            Failure::Refused { .. } => Self::Refused,
            Failure::BadArgument(_) | Failure::Unknown => Self::BadArgument,
            Failure::Internal(_) | Failure::Unavailable(_) => Self::Failed,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    command: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    status: u16,
}

impl Metrics {
    pub(crate) fn new(commands: &Commands<RepositoryView>) -> Self {
        let requests = Family::<RequestLabels, Counter>::default();
        let of_command = |command: &'static str| {
            OUTCOMES.map(|(_, outcome)| {
                requests.get_or_create_owned(&RequestLabels { command, outcome })
            })
        };
        let entries = commands.entries().iter();
        Self {
            commands: entries
                .map(|entry| of_command(entry.declaration.name))
                .collect(),
            requests: requests.clone(),
            refusals: Family::default(),
            other_clients: Counter::default(),
            retries: Counter::default(),
            made_again: Counter::default(),
            sent_bytes: Counter::default(),
        }
    }

    /// A command, by its index in the registry.
    pub(crate) fn count_command(&self, command: usize, outcome: Outcome) {
        let index = OUTCOMES.iter().position(|(known, _)| *known == outcome);
        if let (Some(counters), Some(index)) = (self.commands.get(command), index) {
            counters[index].inc();
        }
    }

    /// A request that got a status and a text instead of frames.
    pub(crate) fn count_refusal(&self, status: u16) {
        self.refusals.get_or_create(&RefusalLabels { status }).inc();
    }

    /// A client that does not speak v2.
    pub(crate) fn count_other_client(&self) {
        self.other_clients.inc();
    }

    /// A command that was run again, because the store changed under it.
    pub(crate) fn count_retry(&self) {
        self.retries.inc();
    }

    /// An answer that was made for one request, because a store or another
    /// request failed that it was to come from.
    pub(crate) fn count_made_again(&self) {
        self.made_again.inc();
    }

    /// Bytes of answers.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hg");
        registry.register(
            "commands",
            "Commands by how they ended",
            self.requests.clone(),
        );
        registry.register(
            "refusals",
            "Requests that got a status and a text instead of frames",
            self.refusals.clone(),
        );
        registry.register(
            "other_clients",
            "Requests of clients that do not speak version 2",
            self.other_clients.clone(),
        );
        registry.register(
            "retries",
            "Commands run again because the store changed under them",
            self.retries.clone(),
        );
        registry.register(
            "made_again",
            "Answers made for one request because a store or another request failed",
            self.made_again.clone(),
        );
        registry.register(
            "sent_bytes",
            "Bytes of answers made",
            self.sent_bytes.clone(),
        );
    }
}
