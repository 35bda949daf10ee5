//! Traces for OpenTelemetry: spans of HTTP requests, and of what other crates make
//! with the target [`SPANS`], go to a collector.

use std::borrow::Cow;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http;
use axum::middleware::{self, Next};
use axum::response::Response;
use bytes::Bytes;
use fingerpost_core::SPANS;
use fingerpost_net::{Peer, Seldom};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Instrument as _;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Layer as _;

use crate::config::Traces as Config;
use crate::log::Spans;

/// What sends spans to the collector, in batches on a thread of its own. What finds
/// no place in its queue is dropped.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send what goes through the layer, if a collector is configured. Its
    /// connections live on the runtime of `handle`.
    pub(crate) fn start(config: &Config, handle: &Handle) -> anyhow::Result<Option<(Self, Spans)>> {
        if config.endpoint.is_empty() {
            return Ok(None);
        }
        let endpoint = config.endpoint.trim_end_matches('/');
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new(handle)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(SEND_MAX)
            .build()
            .context("cannot send traces to traces.endpoint")?;
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ))
            .build();
        let ratio = Sampler::TraceIdRatioBased(1.0 / config.one_in as f64);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource)
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("fingerpost"))
            .with_location(false)
            .with_threads(false)
            .with_filter(Targets::new().with_target(SPANS, LevelFilter::INFO));
        Ok(Some((Self(provider), Box::new(layer))))
    }

    /// Sends what is left, for an instant at most. The runtime must still run.
    pub(crate) fn finish(self) {
        // What a collector does not take now is lost, which harms nobody.
        let _ = self.0.shutdown_with_timeout(FINISH_MAX);
    }
}

/// Puts a span around each request. It ends with the head of the answer.
pub(crate) fn around(router: Router) -> Router {
    router.layer(middleware::from_fn(in_span))
}

async fn in_span(request: Request, next: Next) -> Response {
    let method = request.method().as_str();
    let route = request.extensions().get::<MatchedPath>();
    // The paths of repositories are no routes. Names of answers, which are not
    // for everybody, are in paths that are.
    let path: Cow<'_, str> = match route {
        Some(route) => route.as_str().into(),
        None => request.uri().path().chars().take(PATH_MAX).collect(),
    };
    let peer = request.extensions().get::<Peer>();
    let span = tracing::info_span!(
        target: SPANS,
        "request",
        otel.name = format!("{method} {path}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route.map(MatchedPath::as_str),
        http.response.status_code = Empty,
        peer = peer.map(tracing::field::display),
        request_id = Empty,
    );
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
    // Without the layer, as in a test, nobody misses it.
    let _ = span.set_parent(parent);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let request_id = response.headers().get("x-request-id");
    if let Some(request_id) = request_id.and_then(|id| id.to_str().ok()) {
        span.record("request_id", request_id);
    }
    response
}

/// Sends on the server's runtime what the exporter's thread waits for.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    handle: Handle,
    failed: Seldom,
}

impl Sender {
    fn new(handle: &Handle) -> anyhow::Result<Self> {
        // Another part of the process may have chosen it already: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SEND_MAX)
            .build();
        Ok(Self {
            client: client.context("cannot make a client for traces.endpoint")?,
            handle: handle.clone(),
            failed: Seldom::new(LOG_EVERY),
        })
    }

    fn note(&self, why: &dyn std::fmt::Display) {
        if let Some(held_back) = self.failed.now() {
            tracing::warn!(held_back, "traces cannot be sent: {why}");
        }
    }

    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        let sending = self.handle.spawn(async move {
            let response = client.execute(request).await?;
            // What it says beyond the status is of no use to us, and may be long.
            Ok::<_, reqwest::Error>(response.status())
        });
        let status = sending.await??;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = status;
        if !status.is_success() {
            self.note(&status);
        }
        Ok(response)
    }
}

type Sending<'a> =
    Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Sender {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: http::Request<Bytes>,
    ) -> Sending<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let sent = self.send(request).await;
            if let Err(error) = &sent {
                self.note(error);
            }
            sent
        })
    }
}

const SEND_MAX: Duration = Duration::from_secs(2);
/// Operators are promised that the server is gone within five seconds.
const FINISH_MAX: Duration = Duration::from_millis(150);
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Characters of a repository's path in a span's name.
const PATH_MAX: usize = 128;
