//! What the JSON door counts. Names begin with `fingerpost_hashequiv_http_`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use fingerpost_hashequiv::NamespaceSet;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::outcome::Outcome;
use super::problem::Problem;
use super::routes::LOOK_UP;

/// The command of a request that is none.
pub(super) const NONE: &str = "none";

/// The limits that bodies of requests hit.
const LIMITS: [&str; 5] = [
    "body_bytes",
    "body_stall_seconds",
    "buffered_bytes",
    "items",
    "line_bytes",
];

/// Seconds: a remembered unihash, a commit, a large array, a collection.
const BUCKETS: [f64; 9] = [0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0, 120.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    command: &'static str,
    method: &'static str,
    status: &'static str,
    outcome: &'static str,
    namespace: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    command: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

/// The door's counters. Each label is of a set that the code names.
#[derive(Debug)]
pub(super) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<CommandLabels, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    over_limit: Family<LimitLabels, Counter>,
    namespaces: HashMap<Arc<str>, Known>,
    /// The namespace of a request that came to none.
    nowhere: Arc<str>,
}

/// What counts look-ups that were known in a namespace, found once: they are asked
/// most.
#[derive(Debug)]
struct Known {
    found: Counter,
    unchanged: Counter,
    seconds: Histogram,
}

impl Metrics {
    pub(super) fn new(set: &NamespaceSet) -> Self {
        let mut metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Gauge::default(),
            over_limit: Family::default(),
            namespaces: HashMap::new(),
            nowhere: "".into(),
        };
        // All are there from the start: a rate sees the first of each.
        for limit in LIMITS {
            drop(metrics.over_limit.get_or_create(&LimitLabels { limit }));
        }
        for service in set.iter() {
            let namespace: Arc<str> = service.namespace().into();
            let known = metrics.known(&namespace);
            metrics.namespaces.insert(namespace, known);
        }
        metrics
    }

    /// Adds every counter to `registry`, whose prefix is `fingerpost`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hashequiv_http");
        let requests = "Requests that ended, by command, method, class of the status, outcome \
                        and namespace; gone: the client left before it was known";
        registry.register("requests", requests, self.requests.clone());
        let seconds = "Time until an answer was there, of streams until their end, by command";
        let unit = Unit::Seconds;
        registry.register_with_unit("request_duration", seconds, unit, self.seconds.clone());
        let in_flight = "Requests that are being answered";
        registry.register("in_flight", in_flight, self.in_flight.clone());
        let over_limit = "Requests that hit a limit, by limit";
        registry.register("over_limit", over_limit, self.over_limit.clone());
    }

    /// Counts a look-up that was answered at once.
    pub(super) fn count_known(&self, namespace: &str, status: StatusCode, took: Duration) {
        let Some(known) = self.namespaces.get(namespace) else {
            return;
        };
        match status == StatusCode::NOT_MODIFIED {
            true => known.unchanged.inc(),
            false => known.found.inc(),
        };
        known.seconds.observe(took.as_secs_f64());
    }

    fn known(&self, namespace: &Arc<str>) -> Known {
        let (command, method) = (LOOK_UP, "GET");
        let of = |status| {
            let labels = RequestLabels {
                command,
                method,
                status,
                outcome: Outcome::Ok.label(),
                namespace: Arc::clone(namespace),
            };
            self.requests.get_or_create_owned(&labels)
        };
        let seconds = self.seconds.get_or_create(&CommandLabels { command });
        Known {
            found: of("2xx"),
            unchanged: of("3xx"),
            seconds: seconds.clone(),
        }
    }

    /// Counts a problem.
    fn count(&self, problem: &Problem) {
        if let Some(limit) = problem.limit_name() {
            self.over_limit.get_or_create(&LimitLabels { limit }).inc();
        }
    }
}

/// A request that is answered until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    metrics: Arc<Metrics>,
    command: &'static str,
    method: &'static str,
    started: Instant,
    /// Where its caller works, once that is known.
    namespace: OnceLock<Arc<str>>,
    /// Zero until it is known.
    status: AtomicU16,
    outcome: AtomicU16,
}

impl Running {
    pub(super) fn begin(metrics: &Arc<Metrics>, command: &'static str, method: &Method) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics: Arc::clone(metrics),
            command,
            method: label_of(method),
            started: Instant::now(),
            namespace: OnceLock::new(),
            status: AtomicU16::new(0),
            outcome: AtomicU16::new(Outcome::Gone as u16),
        }
    }

    /// Its caller works there. What is said first counts.
    pub(super) fn within(&self, namespace: &str) {
        if let Some((known, _)) = self.metrics.namespaces.get_key_value(namespace) {
            let _ = self.namespace.set(Arc::clone(known));
        }
    }

    /// How it ends, as far as is known.
    pub(super) fn answered(&self, status: StatusCode) {
        self.ends(status, Outcome::of(status));
    }

    fn ends(&self, status: StatusCode, outcome: Outcome) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
        self.outcome.store(outcome as u16, Ordering::Relaxed);
    }

    /// It ends with a problem, in the middle of a stream too.
    pub(super) fn failed(&self, problem: &Problem) {
        self.ends(problem.status(), problem.outcome());
        self.metrics.count(problem);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let metrics = &self.metrics;
        metrics.in_flight.dec();
        let command = self.command;
        let labels = RequestLabels {
            command,
            method: self.method,
            status: class_of(self.status.load(Ordering::Relaxed)),
            outcome: Outcome::numbered(self.outcome.load(Ordering::Relaxed)).label(),
            namespace: Arc::clone(self.namespace.get().unwrap_or(&metrics.nowhere)),
        };
        metrics.requests.get_or_create(&labels).inc();
        let seconds = metrics.seconds.get_or_create(&CommandLabels { command });
        seconds.observe(self.started.elapsed().as_secs_f64());
    }
}

fn label_of(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE"];
    let found = known.into_iter().find(|known| method.as_str() == *known);
    found.unwrap_or("other")
}

const fn class_of(status: u16) -> &'static str {
    match status / 100 {
        0 => "gone",
        1 | 2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
