//! The registry behind `/metrics`, and the counters of this crate.

use std::fmt;

use parking_lot::RwLock;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::door::{Peer, PeerAddress};
use crate::process::ProcessCollector;

/// Everything that `/metrics` shows. Every name begins with `fingerpost_`.
///
/// Other crates add theirs with [`Metrics::register`], either metrics that
/// they keep counting or a `Collector` that is asked at each scrape.
pub struct Metrics {
    registry: RwLock<Registry>,
    connections: Family<ConnectionLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    silent: Counter,
    accept_errors: Counter,
    dropped_at_shutdown: Counter,
    open: Gauge,
    open_max: Gauge,
    open_probes: Gauge,
}

/// The version of all crates of the workspace.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a connection turned out to speak, within TLS if it is spoken: a label
/// value. `Tls` alone is what was not served.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    BitBake,
    Http,
    WebSocket,
    Tls,
}

/// Why a connection or an HTTP request was turned away: a label value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason {
    ConnectionLimit,
    HandshakeTimeout,
    NoProxy,
    ProxyHeader,
    Tls,
    TlsHandshake,
    PlaintextLines,
    PlaintextHttp,
    NotHttp,
    Origin,
    /// The request was for another name.
    Host,
    MessageTooBig,
    /// What came is no HTTP.
    BadHttp,
    /// A request said twice how long its body is.
    TwoLengths,
    /// The head of a request was too long.
    HeadTooBig,
    /// The head of a request took too long.
    SlowHead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    protocol: &'static str,
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

impl Protocol {
    const fn label(self) -> &'static str {
        match self {
            Self::BitBake => "bitbake",
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Tls => "tls",
        }
    }
}

impl Reason {
    const ALL: [Self; 16] = [
        Self::ConnectionLimit,
        Self::HandshakeTimeout,
        Self::NoProxy,
        Self::ProxyHeader,
        Self::Tls,
        Self::TlsHandshake,
        Self::PlaintextLines,
        Self::PlaintextHttp,
        Self::NotHttp,
        Self::Origin,
        Self::Host,
        Self::MessageTooBig,
        Self::BadHttp,
        Self::TwoLengths,
        Self::HeadTooBig,
        Self::SlowHead,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::ConnectionLimit => "connection_limit",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::NoProxy => "no_proxy",
            Self::ProxyHeader => "proxy_header",
            Self::Tls => "tls",
            Self::TlsHandshake => "tls_handshake",
            Self::PlaintextLines => "plaintext_lines",
            Self::PlaintextHttp => "plaintext_http",
            Self::NotHttp => "not_http",
            Self::Origin => "origin",
            Self::Host => "host",
            Self::MessageTooBig => "message_too_big",
            Self::BadHttp => "bad_http",
            Self::TwoLengths => "two_lengths",
            Self::HeadTooBig => "head_too_big",
            Self::SlowHead => "slow_head",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes a registry with this crate's counters and those of the process.
    pub fn new() -> Self {
        let metrics = Self {
            registry: RwLock::new(Registry::with_prefix("fingerpost")),
            connections: Family::default(),
            refused: Family::default(),
            silent: Counter::default(),
            accept_errors: Counter::default(),
            dropped_at_shutdown: Counter::default(),
            open: Gauge::default(),
            open_max: Gauge::default(),
            open_probes: Gauge::default(),
        };
        metrics.register(|registry| metrics.register_own(registry));
        metrics
    }

    fn register_own(&self, registry: &mut Registry) {
        let build = Info::new([("version", VERSION)]);
        registry.register("build", "Which program this is", build);
        let connections = "Connections by what they speak and came over";
        registry.register("connections", connections, self.connections.clone());
        let refused = "Connections and requests that were turned away, by reason";
        // All are there from the start: a rate sees the first of each.
        for reason in Reason::ALL {
            self.refused.get_or_create_owned(&RefusedLabels {
                reason: reason.label(),
            });
        }
        registry.register("refused", refused, self.refused.clone());
        let silent = "Connections closed by the peer without a byte, as load balancers do";
        registry.register("connections_silent", silent, self.silent.clone());
        let errors = "Failures to accept a connection, such as too many open files";
        registry.register("accept_errors", errors, self.accept_errors.clone());
        let dropped = "Connections dropped because they outlived a shutdown";
        registry.register(
            "connections_dropped",
            dropped,
            self.dropped_at_shutdown.clone(),
        );
        registry.register(
            "connections_open",
            "Connections open now",
            self.open.clone(),
        );
        let most = "Connections that may be open; more are turned away";
        registry.register("connections_limit", most, self.open_max.clone());
        let probes = "Connections open now to the listener of metrics and probes";
        registry.register("probe_connections_open", probes, self.open_probes.clone());
        registry.register_collector(Box::new(ProcessCollector::new()));
    }

    /// Registers metrics or collectors of another crate. Names get the prefix
    /// `fingerpost_`, counters the suffix `_total`.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.write());
    }

    /// The text of `/metrics`, as `application/openmetrics-text`.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        if let Err(fmt::Error) = text::encode(&mut out, &self.registry.read()) {
            tracing::error!("a metric could not be written");
        }
        out
    }

    pub(crate) fn count_refused(&self, reason: Reason) {
        self.refused
            .get_or_create(&RefusedLabels {
                reason: reason.label(),
            })
            .inc();
    }

    pub(crate) fn count_connection(&self, protocol: Protocol, peer: &Peer) {
        let transport = match peer.address {
            _ if peer.tls => "tls",
            PeerAddress::Tcp(_) => "tcp",
            PeerAddress::Unix { .. } | PeerAddress::Unnamed => "unix",
        };
        let labels = ConnectionLabels {
            protocol: protocol.label(),
            transport,
        };
        self.connections.get_or_create(&labels).inc();
    }

    pub(crate) fn count_silent(&self) {
        self.silent.inc();
    }

    pub(crate) fn count_accept_error(&self) {
        self.accept_errors.inc();
    }

    pub(crate) fn count_dropped(&self, connections: usize) {
        self.dropped_at_shutdown.inc_by(connections as u64);
    }

    pub(crate) fn open(&self) -> Gauge {
        self.open.clone()
    }

    pub(crate) fn set_open_max(&self, connections: usize) {
        self.open_max
            .set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    pub(crate) fn open_probes(&self) -> Gauge {
        self.open_probes.clone()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_register_is_shown_with_the_prefix() {
        let metrics = Metrics::new();
        let counter = Counter::<u64>::default();
        metrics.register(|registry| registry.register("reports", "Reports", counter.clone()));
        counter.inc_by(2);
        metrics.count_refused(Reason::Origin);
        let text = metrics.encode();
        assert!(text.contains("\nfingerpost_reports_total 2\n"), "{text}");
        assert!(
            text.contains("\nfingerpost_refused_total{reason=\"origin\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("\nfingerpost_refused_total{reason=\"not_http\"} 0\n"));
        assert!(
            text.contains("\nfingerpost_build_info{version=\""),
            "{text}"
        );
    }
}
