//! The HTTP shell: limits, probes, origins, upgrades.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::{Either, ready};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tower::Service;

use crate::exposition::Exposition;
use crate::forwarded::forwarded;
use crate::gathering::Gathering;
use crate::http_io::HttpIo;
use crate::metrics::{Metrics, Protocol, Reason, VERSION};
use crate::problem::{Refused, Why};
use crate::ready::Ready;
use crate::refusal::Refusals;
use crate::request_id::RequestIds;
use crate::{
    ConnectionGuard, ForwardedBy, LineDoor, Peer, ShortRequest, Shortcut, TrustedProxies,
    authority, websocket,
};

/// Says whether the server can do its work: `Err` holds a sentence why not, and
/// `Ok` may hold one about what does not work; `/readyz` shows them. Called at every probe, so it must not block.
pub type Readiness = Arc<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

/// Limits and rules of HTTP, the same on every listener.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The longest wait for the headers of a request, and so for the next
    /// request on an idle HTTP/1.1 connection. 30 s.
    pub header_timeout: Duration,
    /// The most bytes of one request's headers; at least 8 KiB. 64 KiB.
    pub header_bytes_max: u32,
    /// The most header lines of an HTTP/1.1 request. 100.
    pub headers_max: usize,
    /// The most bytes of a request's body that axum's extractors take. 2 MiB.
    pub body_bytes_max: usize,
    /// The most requests at once on one HTTP/2 connection. 100.
    pub streams_max: u32,
    /// How long a peer may take nothing of an answer, WebSocket included. 60 s.
    pub write_stall_max: Duration,
    /// Which headers of trusted proxies tell of their clients. `X-Forwarded-*`.
    pub forwarded_by: ForwardedBy,
    /// The values of `Origin` that may upgrade to WebSocket and use writing
    /// methods, as browsers send them (`https://host`); `*` allows all. None.
    pub allowed_origins: Vec<String>,
    /// Names that requests may be for, without ports; empty: any. Addresses and
    /// `localhost` go in any case. None.
    pub host_names: Vec<String>,
    /// Whether `/metrics` is also on the listeners of the service, not only on
    /// those of the probes. True.
    pub metrics_everywhere: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            header_bytes_max: 64 << 10,
            headers_max: 100,
            body_bytes_max: 2 << 20,
            streams_max: 100,
            write_stall_max: Duration::from_secs(60),
            forwarded_by: ForwardedBy::XForwarded,
            allowed_origins: Vec::new(),
            host_names: Vec::new(),
            metrics_everywhere: true,
        }
    }
}

/// What answers HTTP on a group of listeners.
pub(crate) struct Shell<D> {
    pub(crate) door: Option<D>,
    pub(crate) router: Router,
    pub(crate) shortcut: Option<Arc<dyn Shortcut>>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) options: HttpOptions,
    pub(crate) handshake: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) ids: RequestIds,
}

/// What the requests of a connection get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Answers.
    All,
    /// That they have to come through TLS.
    UpgradeRequired,
}

/// One HTTP connection, as its requests see it.
struct Link {
    peer: Peer,
    guard: ConnectionGuard,
    answers: Answers,
    gathering: Arc<Gathering>,
    refusals: Arc<Refusals>,
}

impl Link {
    /// Notes how a connection ended that did not end well.
    fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        let Peer {
            address, listener, ..
        } = &self.peer;
        tracing::debug!(peer = %address, %listener, error, "an HTTP connection failed");
        let Some(error) = error.downcast_ref::<hyper::Error>() else {
            return;
        };
        if error.is_parse_too_large() {
            self.refusals.head_too_big(&self.peer);
        } else if error.is_parse() {
            self.refusals.bad_http(&self.peer, &error);
        } else if error.is_timeout() && self.gathering.is_unanswered() {
            // Whoever says nothing more is just not there any more.
            self.refusals.slow_head(&self.peer);
        }
    }

    /// Counts a body that is not written as HTTP has it. One that only breaks off is
    /// that of a peer that has gone.
    fn broken_body(&self, error: hyper::Error) -> hyper::Error {
        let source = std::error::Error::source(&error);
        let source = source.and_then(|source| source.downcast_ref::<io::Error>());
        let is_malformed = source.is_some_and(|source| {
            matches!(
                source.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            )
        });
        if let Some(source) = source.filter(|_| is_malformed) {
            self.refusals.bad_http(&self.peer, source);
        }
        error
    }
}

impl<D: LineDoor> Shell<D> {
    /// Serves a connection until it ends or the server drains.
    pub(crate) async fn serve<IO>(
        self: Arc<Self>,
        io: IO,
        first: Vec<u8>,
        peer: Peer,
        guard: ConnectionGuard,
        answers: Answers,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = builder(&self.options);
        let gathering = Arc::new(Gathering::default());
        let stall_max = self.options.write_stall_max;
        let io = HttpIo::new(io, first, stall_max, guard.permit(), gathering.clone());
        let link = Arc::new(Link {
            peer,
            guard,
            answers,
            gathering: gathering.clone(),
            refusals: self.refusals.clone(),
        });
        let service = service_fn({
            let link = link.clone();
            move |request| {
                if let Some(response) = self.known(&request, &link) {
                    return Either::Left(ready(Ok::<_, Infallible>(response)));
                }
                let (shell, link) = (self.clone(), link.clone());
                // Boxed, so that no answer is moved with the room of the longest way.
                let answering = async move { Ok(shell.answer(request, &link).await) };
                Either::Right(Box::pin(answering))
            }
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        // The request that is there comes first: a connection that is asked to end
        // before it was looked at answers nothing.
        let outcome = tokio::select! {
            biased;
            outcome = poll_fn(|cx| gathering.poll(connection.as_mut(), cx)) => outcome,
            () = link.guard.drained() => {
                connection.as_mut().graceful_shutdown();
                poll_fn(|cx| gathering.poll(connection.as_mut(), cx)).await
            }
        };
        if let Err(error) = outcome {
            link.failed(&*error);
        }
    }

    /// What is known without the router.
    fn known(&self, request: &Request<Incoming>, link: &Link) -> Option<Response> {
        let shortcut = self.shortcut.as_ref()?;
        if request.method() != Method::GET || !shortcut.takes_path(request.uri().path()) {
            return None;
        }
        let (uri, headers) = (request.uri(), request.headers());
        let by = self.options.forwarded_by;
        let client = forwarded(&self.proxies, by, &link.peer, headers);
        let is_refused = link.answers == Answers::UpgradeRequired && !client.peer.tls
            || !authority::is_ours(&self.options.host_names, uri, headers)
            || websocket::is_upgrade(headers)
            || !request.body().is_end_stream();
        if is_refused {
            return None;
        }
        shortcut.answer(&ShortRequest {
            uri,
            headers,
            peer: &client.peer,
            forwarded_host: client.host.as_ref(),
        })
    }

    async fn answer(&self, request: Request<Incoming>, link: &Arc<Link>) -> Response {
        if link.gathering.is_doubtful() && request.headers().contains_key(header::TRANSFER_ENCODING)
        {
            self.refusals.two_lengths(&link.peer);
            return two_lengths(self.refused(&request));
        }
        let client = forwarded(
            &self.proxies,
            self.options.forwarded_by,
            &link.peer,
            request.headers(),
        );
        if link.answers == Answers::UpgradeRequired && !client.peer.tls {
            self.metrics.count_refused(Reason::PlaintextHttp);
            return upgrade_required(self.refused(&request), request.version());
        }
        if !authority::is_ours(&self.options.host_names, request.uri(), request.headers()) {
            return self.refuse_host(&request, &link.peer);
        }
        let upgrade = self
            .door
            .as_ref()
            .filter(|_| websocket::is_upgrade(request.headers()));
        let writes = !matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        if (writes || upgrade.is_some()) && !self.is_origin_allowed(&request) {
            return self.refuse_origin(&request, &client.peer);
        }
        let (mut parts, body) = request.into_parts();
        if let Some(door) = upgrade {
            link.gathering.end();
            let peer = client.peer.into_owned().upgraded();
            self.metrics.count_connection(Protocol::WebSocket, &peer);
            let guard = link.guard.share(self.handshake);
            return websocket::upgrade(door.clone(), &mut parts, peer, guard).await;
        }
        parts.extensions.insert(client.peer.into_owned());
        if let Some(host) = client.host {
            parts.extensions.insert(host);
        }
        let body = match body.is_end_stream() {
            true => Body::empty(),
            false => {
                let link = link.clone();
                Body::new(body.map_err(move |error| link.broken_body(error)))
            }
        };
        let request = Request::from_parts(parts, body);
        match self.router.clone().call(request).await {
            Ok(response) => for_later(response),
            Err(never) => match never {},
        }
    }

    /// Browsers add `Origin` and scripts cannot forge it, so its absence means
    /// that no web page is behind the request.
    fn is_origin_allowed(&self, request: &Request<Incoming>) -> bool {
        let allowed = &self.options.allowed_origins;
        request
            .headers()
            .get_all(header::ORIGIN)
            .iter()
            .all(|origin| {
                allowed
                    .iter()
                    .any(|one| one == "*" || origin.as_bytes().eq_ignore_ascii_case(one.as_bytes()))
            })
    }

    fn refuse_host(&self, request: &Request<Incoming>, peer: &Peer) -> Response {
        let in_uri = request.uri().authority().map(|one| one.as_str().as_bytes());
        let in_header = request.headers().get(header::HOST);
        let host = in_header.map(HeaderValue::as_bytes).or(in_uri);
        let host = String::from_utf8_lossy(host.unwrap_or_default());
        self.refusals.host(peer, &host);
        self.refused(request).problem(authority::MISDIRECTED)
    }

    fn refuse_origin(&self, request: &Request<Incoming>, peer: &Peer) -> Response {
        let origin = request.headers().get(header::ORIGIN);
        let origin = String::from_utf8_lossy(origin.map_or(b"", HeaderValue::as_bytes));
        self.refusals.origin(peer, &origin);
        self.refused(request).told(WRONG_ORIGIN)
    }

    fn refused<'a, B>(&'a self, request: &'a Request<B>) -> Refused<'a> {
        Refused {
            ids: &self.ids,
            uri: request.uri(),
            headers: request.headers(),
        }
    }
}

/// Says when to come again to whoever is told to.
fn for_later(mut response: Response) -> Response {
    /// Seconds: what is busy or away now seldom is for longer.
    const SOON: HeaderValue = HeaderValue::from_static("1");
    let is_for_later = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&response.status());
    if is_for_later {
        let headers = response.headers_mut();
        headers.entry(header::RETRY_AFTER).or_insert(SOON);
    }
    response
}

const WRONG_ORIGIN: Why = Why {
    status: StatusCode::FORBIDDEN,
    code: "wrong-origin",
    detail: "this Origin is not allowed here",
};

const UPGRADE_REQUIRED: Why = Why {
    status: StatusCode::UPGRADE_REQUIRED,
    code: "tls-required",
    detail: "only TLS is spoken on this port: use https://, or wss:// for BitBake",
};

const TWO_LENGTHS: Why = Why {
    status: StatusCode::BAD_REQUEST,
    code: "two-lengths",
    detail: "a request has Content-Length or Transfer-Encoding, not both",
};

/// Nothing else of the connection is answered.
fn two_lengths(refused: Refused<'_>) -> Response {
    let mut response = refused.told(TWO_LENGTHS);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// HTTP/2 has neither of the headers.
fn upgrade_required(refused: Refused<'_>, version: Version) -> Response {
    let mut response = refused.told(UPGRADE_REQUIRED);
    if version < Version::HTTP_2 {
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("TLS/1.2"));
        headers.insert(
            header::CONNECTION,
            HeaderValue::from_static("upgrade, close"),
        );
    }
    response
}

fn builder(options: &HttpOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let bytes_max = usize::try_from(options.header_bytes_max).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_headers(options.headers_max)
        .max_buf_size(bytes_max.max(8 << 10))
        // A client that has said all it wants may close its side and still be answered.
        .half_close(true);
    // Not `pipeline_flush(true)`; see `Gathering`.
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_max)
        .max_header_list_size(options.header_bytes_max)
        // A peer that has vanished does not keep its place.
        .keep_alive_interval(options.header_timeout)
        .keep_alive_timeout(options.header_timeout);
    builder
}

/// Adds `/healthz`, `/readyz`, `/version` and, if wanted, `/metrics` to `router`, which
/// must not have them yet.
pub(crate) fn with_probes(
    router: Router,
    options: &HttpOptions,
    readiness: Ready,
    metrics: Option<Arc<Metrics>>,
) -> Router {
    let ready = move || async move {
        match readiness.state() {
            Ok(None) => (StatusCode::OK, "ready\n".to_owned()),
            Ok(Some(but)) => (StatusCode::OK, format!("ready\n{but}\n")),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
        }
    };
    let mut router = router
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .layer(DefaultBodyLimit::max(options.body_bytes_max));
    if let Some(metrics) = metrics {
        router = router.route("/metrics", get(move |headers| show(metrics, headers)));
    }
    router
}

/// Which program this is, as JSON.
async fn version() -> Response {
    let text = format!("{{\"name\":\"fingerpost\",\"version\":\"{VERSION}\"}}\n");
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Reads `/proc` and asks every collector, so it stays off the runtime's own
/// threads, and one scrape waits for the other.
async fn show(metrics: Arc<Metrics>, headers: HeaderMap) -> Response {
    let exposition = Exposition::of(&headers);
    static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);
    let _turn = ONE_AT_A_TIME.acquire().await;
    match tokio::task::spawn_blocking(move || exposition.write(metrics.encode())).await {
        Ok(text) => ([(header::CONTENT_TYPE, exposition.media_type())], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
