//! The server's own content endpoint: entries over HTTP for whoever holds a
//! signed URL, such as clients that were redirected here, and a cache or a
//! delivery network before us.
//!
//! Entries never change, so that an answer may be kept for as long as its URL
//! is good. Nothing here writes a URL or a whole name into a log.

mod body;
mod conditions;
mod metrics;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::response::Builder;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use fingerpost_core::{Cacher, CacherError, Clock, EntryName};
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::body::{Patience, Sending, streaming};
use self::conditions::{EntityTag, Part, asked_part};
use self::metrics::Metrics;
use self::refusal::Refusal;
use crate::{Opened, UrlSigner};

/// Rules and limits of the endpoint.
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    /// What all entries are. `application/mercurial-cbor`.
    pub media_type: HeaderValue,
    /// The most answers at once; others wait. 1024.
    pub answers_max: usize,
    /// How long a request may wait for others, how long the store may then take
    /// to find an entry, and once more until the first bytes are there. 10 s.
    pub look_up_time: Duration,
    /// How long the next 256 KiB of an answer may take, whether the client does
    /// not take them or the store does not give them. Who is slower would hold a
    /// place for hours. 30 s.
    pub stall: Duration,
    /// How long a client may take for one answer. 4 h.
    pub answer_time: Duration,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            media_type: HeaderValue::from_static("application/mercurial-cbor"),
            answers_max: 1024,
            look_up_time: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            answer_time: Duration::from_secs(4 * 3600),
        }
    }
}

/// Serves the entries of a store under [`UrlSigner::PATH`].
#[derive(Clone)]
pub struct ContentEndpoint(Arc<Endpoint>);

struct Endpoint {
    store: Arc<dyn Cacher>,
    signer: UrlSigner,
    clock: Arc<dyn Clock>,
    options: EndpointOptions,
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl ContentEndpoint {
    /// Serves what `store` has to those with a URL that `signer` signed.
    pub fn new(
        store: Arc<dyn Cacher>,
        signer: UrlSigner,
        clock: Arc<dyn Clock>,
        options: EndpointOptions,
    ) -> Self {
        let places = options.answers_max.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Endpoint {
            store,
            signer,
            clock,
            options,
            places: Arc::new(Semaphore::new(places)),
            metrics: Arc::default(),
        }))
    }

    /// A router for everything below [`UrlSigner::PATH`], and nothing else.
    pub fn router(&self) -> Router {
        Router::new()
            .route(UrlSigner::PATH, any(serve))
            .route(&format!("{}{{*rest}}", UrlSigner::PATH), any(serve))
            .with_state(self.clone())
    }

    /// Registers `content_requests` by status, `content_sent_bytes`, and
    /// `content_broken` by why. The registry's prefix comes before.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }
}

impl std::fmt::Debug for ContentEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentEndpoint")
            .field("store", &self.0.store.name())
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

async fn serve(State(endpoint): State<ContentEndpoint>, request: Request) -> Response {
    let endpoint = endpoint.0;
    let (parts, _) = request.into_parts();
    let mut response = match endpoint.answer(&parts).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    let nosniff = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    endpoint.metrics.count_request(response.status().as_u16());
    response
}

impl Endpoint {
    async fn answer(&self, parts: &Parts) -> Result<Response, Refusal> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        // As it came: a path with escapes is another spelling.
        let segment = parts.uri.path().strip_prefix(UrlSigner::PATH);
        let query = parts.uri.query().unwrap_or_default();
        let opened = self
            .signer
            .check(segment.unwrap_or_default(), query, self.clock.now())
            .map_err(|_| Refusal::Forbidden)?;
        let place = self.place().await?;
        let name = opened.name;
        let finding = self.store.look_up(&name);
        let content = self.in_time(&name, finding).await?;
        let tag = EntityTag::new(&opened);
        let answer = head(&opened, &tag);
        if tag.is_none_match(&parts.headers) {
            return done(answer.status(StatusCode::NOT_MODIFIED), Body::empty());
        }
        let len = content.len();
        let part = match parts.method {
            Method::GET => asked_part(&parts.headers, &tag, len),
            // Ranges are for GET alone (RFC 9110, 14.2).
            _ => Part::Whole,
        };
        let (answer, range) = match part {
            Part::Whole => (answer.status(StatusCode::OK), 0..len),
            Part::Unsatisfiable => return Err(Refusal::Unsatisfiable { len }),
            Part::Range(range) => {
                let (first, last) = (range.start, range.end - 1);
                let answer = answer
                    .status(StatusCode::PARTIAL_CONTENT)
                    .header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{len}"));
                (answer, range)
            }
        };
        let answer = answer
            .header(header::CONTENT_TYPE, &self.options.media_type)
            .header(header::CONTENT_LENGTH, range.end - range.start);
        if parts.method == Method::HEAD || range.is_empty() {
            return done(answer, Body::empty());
        }
        // What cannot be read from the start is an answer of its own, not the
        // end of a connection.
        let mut sending = Sending::new(content, range, place);
        let first = sending.first();
        let reading = async { Ok(Some(first.await?)) };
        let first = self.in_time(&name, reading).await?;
        sending.begin_with(first);
        let patience = Patience {
            stall: self.options.stall,
            answer: self.options.answer_time,
        };
        let metrics = Arc::clone(&self.metrics);
        done(answer, streaming(name, sending, patience, metrics))
    }

    /// A place among the answers at once. It is worth a wait, because stock
    /// clients abort when they are sent away.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let waiting = Arc::clone(&self.places).acquire_owned();
        match timeout(self.options.look_up_time, waiting).await {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(Refusal::Unavailable),
        }
    }

    /// What the store gives within its time. What is damaged or late is not
    /// there; a store that fails may work a moment later.
    async fn in_time<T>(
        &self,
        name: &EntryName,
        asking: impl Future<Output = Result<Option<T>, CacherError>>,
    ) -> Result<T, Refusal> {
        let error = match timeout(self.options.look_up_time, asking).await {
            Err(_) => CacherError::TimedOut(self.options.look_up_time),
            Ok(Ok(Some(found))) => return Ok(found),
            Ok(Ok(None)) => return Err(Refusal::NotFound),
            Ok(Err(error)) => error,
        };
        // At this level, since tiers count and tell what fails in them.
        tracing::debug!(entry = ?name, %error, "the store of content failed");
        match error {
            CacherError::TimedOut(_) | CacherError::Damaged(_) => Err(Refusal::NotFound),
            _ => Err(Refusal::Unavailable),
        }
    }
}

/// The headers of every answer that is not a refusal.
fn head(opened: &Opened, tag: &EntityTag) -> Builder {
    let seconds = opened.seconds_left;
    let kept = format!("public, max-age={seconds}, immutable");
    let answer = Response::builder()
        .header(header::ETAG, tag.as_str())
        .header(header::CACHE_CONTROL, kept)
        .header(header::ACCEPT_RANGES, "bytes");
    match opened.coding {
        Some(coding) => answer.header(header::CONTENT_ENCODING, coding.name()),
        None => answer,
    }
}

fn done(answer: Builder, body: Body) -> Result<Response, Refusal> {
    let response = answer.body(body);
    response.map_err(|error| {
        tracing::error!(%error, "the headers of an entry cannot be written");
        Refusal::Unavailable
    })
}
