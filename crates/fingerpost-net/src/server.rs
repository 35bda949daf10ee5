//! All listeners together, from the first accept to the last close.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::accept::{Gate, accept_all};
use crate::http::{HttpOptions, Readiness, Shell, with_probes};
use crate::limit::ConnectionLimit;
use crate::listener::Bound;
use crate::metrics::Metrics;
use crate::ready::Ready;
use crate::refusal::Refusals;
use crate::request_id::RequestIds;
use crate::unix::SocketFile;
use crate::{
    LineDoor, Listener, NoLines, Seldom, Shortcut, Shutdown, Tls, TlsPolicy, TrustedProxies,
    default_connection_limit, open_files_limit,
};

/// Metrics and probes have places of their own, so that they answer when the
/// service has none left.
const PROBE_CONNECTIONS_MAX: usize = 64;
/// Nobody is drained whose connection was accepted less than this ago: what they
/// connected for is on its way, and new connections are somebody else's already.
const FIRST_WORDS: Duration = Duration::from_millis(500);
/// A line about failures to accept at most this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The limits of a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How long a connection may take until its protocol is known and its
    /// handshake done, that of TLS included. 10 s.
    pub handshake_max: Duration,
    /// The most connections at once; more are closed at once. Most of the
    /// open-files limit; see [`crate::raise_open_files`].
    pub connections_max: usize,
    /// How long requests in hand may take after [`Shutdown::start`]. 4 s, so that
    /// a process can be gone after 5.
    pub drain_max: Duration,
    /// The proxies whose word about their clients is taken. None.
    pub proxies: TrustedProxies,
    /// HTTP's own.
    pub http: HttpOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            handshake_max: Duration::from_secs(10),
            connections_max: default_connection_limit(open_files_limit()),
            drain_max: Duration::from_secs(4),
            proxies: TrustedProxies::default(),
            http: HttpOptions::default(),
        }
    }
}

/// A server for one [`LineDoor`] and one HTTP router on any number of listeners.
pub struct Server<D> {
    door: Option<D>,
    options: ServerOptions,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    router: Router,
    shortcut: Option<Arc<dyn Shortcut>>,
    readiness: Readiness,
    listeners: Vec<Listener>,
    probes: Vec<Listener>,
}

impl Server<NoLines> {
    /// As [`Server::new`], for a server that speaks HTTP alone and closes
    /// connections that speak anything else.
    pub fn http_only(options: ServerOptions, metrics: Arc<Metrics>, shutdown: Shutdown) -> Self {
        Self::with(None, options, metrics, shutdown)
    }
}

impl<D: LineDoor> Server<D> {
    /// Makes a server without listeners, always ready, whose router has only
    /// the probes.
    pub fn new(door: D, options: ServerOptions, metrics: Arc<Metrics>, shutdown: Shutdown) -> Self {
        Self::with(Some(door), options, metrics, shutdown)
    }

    fn with(
        door: Option<D>,
        options: ServerOptions,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            door,
            options,
            metrics,
            shutdown,
            router: Router::new(),
            shortcut: None,
            readiness: Arc::new(|| Ok(None)),
            listeners: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// What answers HTTP besides the probes. Must not have `/healthz`,
    /// `/readyz`, `/version` or `/metrics`. Handlers find the [`crate::Peer`] among the
    /// request's extensions.
    #[must_use]
    pub fn router(mut self, router: Router) -> Self {
        self.router = router;
        self
    }

    /// What is asked before the router.
    #[must_use]
    pub fn shortcut(mut self, shortcut: Arc<dyn Shortcut>) -> Self {
        self.shortcut = Some(shortcut);
        self
    }

    /// What `/readyz` asks, unless the server is draining: `Ok` if it can work, with a
    /// sentence about what does not; `Err` says why not.
    #[must_use]
    pub fn readiness(
        mut self,
        ready: impl Fn() -> Result<Option<String>, String> + Send + Sync + 'static,
    ) -> Self {
        self.readiness = Arc::new(ready);
        self
    }

    /// Adds a listener that speaks everything.
    #[must_use]
    pub fn listen(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Adds a listener for metrics and probes only, over HTTP. Its connections
    /// do not count against the limit.
    #[must_use]
    pub fn listen_probes(mut self, listener: Listener) -> Self {
        self.probes.push(listener);
        self
    }

    /// Serves until [`Shutdown::begin`], then drains: listeners are closed and
    /// their socket files removed, and, once whoever was accepted last has had half
    /// a second to ask something, idle connections closed, requests in
    /// hand finished; what is left after `drain_max` is dropped. Returns how many
    /// connections that were. With [`Shutdown::start`] nobody is waited for.
    ///
    /// # Errors
    ///
    /// Fails at once if a listener cannot be taken into the runtime.
    pub async fn run(mut self) -> io::Result<usize> {
        let (listeners, probes) = (
            std::mem::take(&mut self.listeners),
            std::mem::take(&mut self.probes),
        );
        self.show_readiness();
        let (service, probe) = (self.service_gate(), self.probe_gate());
        let mut accepting = Accepting::default();
        let mut watching = Watching::default();
        for listener in listeners {
            watching.start(listener.tls());
            accepting.start(listener, &service)?;
        }
        for listener in probes {
            accepting.start(listener, &probe)?;
        }
        self.shutdown.started().await;
        let deadline = Instant::now() + self.options.drain_max;
        accepting.stop().await;
        let age = FIRST_WORDS.min(self.options.drain_max);
        self.shutdown.settle(age).await;
        self.shutdown.start();
        drop(watching);
        let left = deadline.saturating_duration_since(Instant::now());
        let dropped = self.shutdown.finish(left).await;
        self.metrics.count_dropped(dropped);
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "connections outlived the shutdown and were dropped"
            );
        }
        Ok(dropped)
    }

    /// Shows what `/readyz` says as a number, for those who watch only that.
    fn show_readiness(&self) {
        let ready = Box::new(self.ready());
        self.metrics
            .register(|registry| registry.register_collector(ready));
    }

    fn ready(&self) -> Ready {
        Ready {
            readiness: self.readiness.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn service_gate(&self) -> Arc<Gate<D>> {
        let metrics = self
            .options
            .http
            .metrics_everywhere
            .then(|| self.metrics.clone());
        self.metrics.set_open_max(self.options.connections_max);
        let limit = ConnectionLimit::new(self.options.connections_max, self.metrics.open());
        let ways = (self.router.clone(), self.shortcut.clone());
        self.gate(self.door.clone(), ways, metrics, limit)
    }

    fn probe_gate(&self) -> Arc<Gate<D>> {
        let limit = ConnectionLimit::new(PROBE_CONNECTIONS_MAX, self.metrics.open_probes());
        let ways = (Router::new(), None);
        self.gate(None, ways, Some(self.metrics.clone()), limit)
    }

    fn gate(
        &self,
        door: Option<D>,
        (router, shortcut): (Router, Option<Arc<dyn Shortcut>>),
        shown: Option<Arc<Metrics>>,
        limit: ConnectionLimit,
    ) -> Arc<Gate<D>> {
        let options = self.options.http.clone();
        let router = with_probes(router, &options, self.ready(), shown);
        let handshake = self.options.handshake_max;
        let metrics = self.metrics.clone();
        let refusals = Arc::new(Refusals::new(metrics.clone()));
        Arc::new(Gate {
            shell: Arc::new(Shell {
                door,
                router,
                shortcut,
                proxies: self.options.proxies.clone(),
                options,
                handshake,
                metrics,
                refusals: refusals.clone(),
                ids: RequestIds::default(),
            }),
            limit,
            proxies: self.options.proxies.clone(),
            shutdown: self.shutdown.clone(),
            handshake,
            metrics: self.metrics.clone(),
            refusals,
            failed: Seldom::new(LOG_EVERY),
        })
    }
}

/// Looks after every certificate once. Ends when it is dropped.
#[derive(Default)]
struct Watching {
    tasks: JoinSet<()>,
    watched: Vec<Tls>,
}

impl Watching {
    fn start(&mut self, policy: &TlsPolicy) {
        let Some(tls) = policy.tls() else { return };
        if !self.watched.iter().any(|known| known.is(tls)) {
            self.watched.push(tls.clone());
            self.tasks.spawn(tls.clone().watch());
        }
    }
}

/// The accept loops, and the socket files that go with them.
#[derive(Default)]
struct Accepting {
    loops: JoinSet<()>,
    files: Vec<SocketFile>,
}

impl Accepting {
    fn start<D: LineDoor>(&mut self, listener: Listener, gate: &Arc<Gate<D>>) -> io::Result<()> {
        let (sockets, file, entrance) = listener.into_parts();
        self.files.extend(file);
        for socket in sockets {
            let (gate, entrance) = (gate.clone(), entrance.clone());
            match socket {
                Bound::Tcp(tcp) => {
                    let tcp = TcpListener::from_std(tcp)?;
                    self.loops.spawn(accept_all(tcp, entrance, gate));
                }
                Bound::Unix(unix) => {
                    let unix = UnixListener::from_std(unix)?;
                    self.loops.spawn(accept_all(unix, entrance, gate));
                }
            }
        }
        Ok(())
    }

    /// Waits for the loops, which end by themselves when the server drains.
    async fn stop(mut self) {
        while self.loops.join_next().await.is_some() {}
    }
}
