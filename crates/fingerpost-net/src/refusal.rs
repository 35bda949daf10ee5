//! Turning peers away: counted always, logged seldom.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{Metrics, Reason};
use crate::{Peer, Seldom};

/// A line about each reason at most this often, because peers can provoke them.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Clients that are set up wrongly come again and again, for days.
const LOG_SETUP_EVERY: Duration = Duration::from_secs(60);

/// Counts refusals and logs some of them.
#[derive(Debug)]
pub(crate) struct Refusals {
    metrics: Arc<Metrics>,
    connection_limit: Seldom,
    handshake_timeout: Seldom,
    no_proxy: Seldom,
    proxy_header: Seldom,
    tls: Seldom,
    tls_handshake: Seldom,
    plaintext: Seldom,
    not_http: Seldom,
    origin: Seldom,
    host: Seldom,
    bad_http: Seldom,
    two_lengths: Seldom,
    head_too_big: Seldom,
    slow_head: Seldom,
}

impl Refusals {
    pub(crate) const fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            connection_limit: Seldom::new(LOG_EVERY),
            handshake_timeout: Seldom::new(LOG_EVERY),
            no_proxy: Seldom::new(LOG_SETUP_EVERY),
            proxy_header: Seldom::new(LOG_EVERY),
            tls: Seldom::new(LOG_SETUP_EVERY),
            tls_handshake: Seldom::new(LOG_EVERY),
            plaintext: Seldom::new(LOG_SETUP_EVERY),
            not_http: Seldom::new(LOG_EVERY),
            origin: Seldom::new(LOG_EVERY),
            host: Seldom::new(LOG_SETUP_EVERY),
            bad_http: Seldom::new(LOG_EVERY),
            two_lengths: Seldom::new(LOG_EVERY),
            head_too_big: Seldom::new(LOG_EVERY),
            slow_head: Seldom::new(LOG_EVERY),
        }
    }

    /// A new connection was closed because there are too many.
    pub(crate) fn too_many(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::ConnectionLimit);
        if let Some(held_back) = self.connection_limit.now() {
            let listener = &peer.listener;
            tracing::warn!(%peer, %listener, held_back, "closed a new connection: too many are open");
        }
    }

    /// A connection did not say in time what it speaks. One that said nothing
    /// at all is not worth a line.
    pub(crate) fn too_late(&self, peer: &Peer, silent: bool) {
        self.metrics.count_refused(Reason::HandshakeTimeout);
        if silent {
            return;
        }
        if let Some(held_back) = self.handshake_timeout.now() {
            let listener = &peer.listener;
            tracing::info!(%peer, %listener, held_back, "closed a connection: no protocol in time");
        }
    }

    /// Somebody else than a trusted proxy came to a listener of the PROXY protocol.
    pub(crate) fn no_proxy(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::NoProxy);
        if let Some(held_back) = self.no_proxy.now() {
            let listener = &peer.listener;
            tracing::warn!(
                %peer, %listener, held_back,
                "closed a connection: only proxies of server.trusted_proxies are served here"
            );
        }
    }

    /// A trusted proxy did not begin with a header of the PROXY protocol.
    pub(crate) fn proxy_header(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::ProxyHeader);
        if let Some(held_back) = self.proxy_header.now() {
            let listener = &peer.listener;
            tracing::warn!(
                %peer, %listener, held_back,
                "closed a connection of a proxy: no header of the PROXY protocol that is understood"
            );
        }
    }

    /// A connection began with TLS where there is none.
    pub(crate) fn tls(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::Tls);
        if let Some(held_back) = self.tls.now() {
            let listener = &peer.listener;
            tracing::warn!(
                %peer, %listener, held_back,
                "closed a TLS connection: TLS is off here; set tls.certificate and tls.key, and \
                 tls = \"optional\" or \"required\" (metrics.bind never has TLS)"
            );
        }
    }

    /// A TLS handshake failed: no common version, no certificate that is
    /// trusted, a scanner that hung up.
    pub(crate) fn tls_handshake(&self, peer: &Peer, error: &io::Error) {
        self.metrics.count_refused(Reason::TlsHandshake);
        if let Some(held_back) = self.tls_handshake.now() {
            let listener = &peer.listener;
            tracing::info!(%peer, %listener, held_back, %error, "closed a connection: no TLS handshake");
        }
    }

    /// Lines came without TLS where it is required.
    pub(crate) fn plaintext(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::PlaintextLines);
        if let Some(held_back) = self.plaintext.now() {
            let listener = &peer.listener;
            tracing::warn!(
                %peer, %listener, held_back,
                "BitBake speaks TLS only through wss:// or the agent; set tls = \"optional\" or add \
                 a second listener"
            );
        }
    }

    /// Something else than HTTP came to a listener of probes.
    pub(crate) fn not_http(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::NotHttp);
        if let Some(held_back) = self.not_http.now() {
            let listener = &peer.listener;
            tracing::info!(%peer, %listener, held_back, "closed a connection: only HTTP is spoken here");
        }
    }

    /// A request was for another name.
    pub(crate) fn host(&self, peer: &Peer, host: &str) {
        self.metrics.count_refused(Reason::Host);
        if let Some(held_back) = self.host.now() {
            let listener = &peer.listener;
            tracing::warn!(
                %peer, %listener, host, held_back,
                "refused a request for another host; if that is a name of this server, add it to \
                 server.host_names"
            );
        }
    }

    /// What came is no HTTP, or not all of it.
    pub(crate) fn bad_http(&self, peer: &Peer, error: &dyn std::error::Error) {
        self.metrics.count_refused(Reason::BadHttp);
        if let Some(held_back) = self.bad_http.now() {
            let listener = &peer.listener;
            tracing::info!(%peer, %listener, held_back, %error, "refused what is no HTTP");
        }
    }

    /// A request said twice how long its body is, as those do that are to be
    /// understood by two servers in two ways.
    pub(crate) fn two_lengths(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::TwoLengths);
        if let Some(held_back) = self.two_lengths.now() {
            let listener = &peer.listener;
            tracing::warn!(
                %peer, %listener, held_back,
                "refused a request with both Content-Length and Transfer-Encoding; a proxy that \
                 passes these on can be made to mix up requests"
            );
        }
    }

    /// The head of a request is longer than server options let it be.
    pub(crate) fn head_too_big(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::HeadTooBig);
        if let Some(held_back) = self.head_too_big.now() {
            let listener = &peer.listener;
            tracing::info!(%peer, %listener, held_back, "refused a request: its head is too long");
        }
    }

    /// The head of a request did not come to its end in time.
    pub(crate) fn slow_head(&self, peer: &Peer) {
        self.metrics.count_refused(Reason::SlowHead);
        if let Some(held_back) = self.slow_head.now() {
            let listener = &peer.listener;
            tracing::info!(%peer, %listener, held_back, "closed a connection: the head of a request took too long");
        }
    }

    /// A web page asked for what only allow-listed ones may.
    pub(crate) fn origin(&self, peer: &Peer, origin: &str) {
        self.metrics.count_refused(Reason::Origin);
        if let Some(held_back) = self.origin.now() {
            let listener = &peer.listener;
            tracing::warn!(%peer, %listener, origin, held_back, "refused a request of a web page");
        }
    }
}
