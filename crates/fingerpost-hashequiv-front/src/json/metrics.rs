//! What the JSON door counts. Names begin with `fingerpost_hashequiv_http_`.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::problem::Problem;
use super::routes::LOOK_UP;

/// The command of a request that is none.
pub(super) const NONE: &str = "none";

/// Seconds: a remembered unihash, a commit, a large array, a collection.
const BUCKETS: [f64; 9] = [0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0, 120.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    command: &'static str,
    method: &'static str,
    status: &'static str,
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
    known: OnceLock<Known>,
}

/// What counts look-ups that were known, found once: they are asked most.
#[derive(Debug)]
struct Known {
    found: Counter,
    unchanged: Counter,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            in_flight: Gauge::default(),
            over_limit: Family::default(),
            known: OnceLock::new(),
        }
    }
}

impl Metrics {
    /// Adds every counter to `registry`, whose prefix is `fingerpost`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("hashequiv_http");
        let requests = "Requests that ended, by command, method and class of the status; gone: \
                        the client left before it was known";
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
    pub(super) fn count_known(&self, status: StatusCode, took: Duration) {
        let known = self.known.get_or_init(|| self.known());
        match status == StatusCode::NOT_MODIFIED {
            true => known.unchanged.inc(),
            false => known.found.inc(),
        };
        known.seconds.observe(took.as_secs_f64());
    }

    fn known(&self) -> Known {
        let (command, method) = (LOOK_UP, "GET");
        let of = |status| {
            let labels = RequestLabels {
                command,
                method,
                status,
            };
            self.requests.get_or_create(&labels).clone()
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
    /// Zero until it is known.
    status: AtomicU16,
}

impl Running {
    pub(super) fn begin(metrics: &Arc<Metrics>, command: &'static str, method: &Method) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics: Arc::clone(metrics),
            command,
            method: label_of(method),
            started: Instant::now(),
            status: AtomicU16::new(0),
        }
    }

    /// How it ends, as far as is known.
    pub(super) fn answered(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// It ends with a problem, in the middle of a stream too.
    pub(super) fn failed(&self, problem: &Problem) {
        self.answered(problem.status());
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
