//! The JSON door: the commands as resources of HTTP, below `/v1`.
//!
//! What a command takes, needs and answers is in its declaration; a
//! [route](routes) adds a method and a path. Requests are stricter than those of
//! the native protocol, which takes numbers for text and ignores what it does not
//! know: here each such thing is a refusal that names it.

mod arguments;
mod caching;
mod coding;
mod compress;
mod existence;
mod fields;
mod login;
mod lookup;
mod many;
mod openapi;
mod problem;
mod reports;
mod request_id;
mod routes;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::body::HttpBody as _;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, post, put};
use fingerpost_core::{Availability, Call, Encoded, Entry, Failure, Principal, Registry, Reply};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_net::Peer;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use self::existence::Existence;
use self::fields::Fields;
use self::lookup::LookUps;
use self::many::Many;
pub use self::openapi::openapi;
use self::problem::Problem;
use self::reports::Reports;
use self::request_id::RequestIds;
use self::routes::{Route, Verb};
use self::rows::{OfOutput, OfTask, Resource, Siginfo};

/// Limits of the JSON door.
#[derive(Clone, Copy, Debug)]
pub struct JsonOptions {
    /// Bytes of the body of a request that is taken as a whole. 32 MiB, which holds
    /// the longest siginfo.
    pub body_bytes_max: usize,
    /// Bytes of a line of a stream. 8 KiB.
    pub line_bytes_max: usize,
    /// Questions or reports in one JSON array. 100,000.
    pub items_max: usize,
    /// How long a client may take until its next bytes are there. 30 s.
    pub body_stall: Duration,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 << 20,
            line_bytes_max: 8 << 10,
            items_max: 100_000,
            body_stall: Duration::from_secs(30),
        }
    }
}

/// Serves a [`HashEquiv`] as JSON over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct JsonDoor(Arc<Shared>);

struct Shared {
    service: Arc<HashEquiv>,
    options: JsonOptions,
    commands: Registry<HashEquiv>,
    ids: RequestIds,
}

/// Refuses whatever is asked.
fn refuse(
    status: StatusCode,
    code: &'static str,
) -> impl Fn(State<JsonDoor>, HeaderMap) -> std::future::Ready<Response> + Clone {
    move |State(door), headers| {
        let request_id = door.0.ids.of(&headers);
        let mut response = Problem::new(status, code).into_response(&request_id);
        request_id::tell(&request_id, response.headers_mut());
        std::future::ready(response)
    }
}

/// A resource that is read, and stands for no command.
fn resource<R: Resource>() -> MethodRouter<JsonDoor> {
    get(
        |State(door): State<JsonDoor>, params: RawPathParams, request: Request| async move {
            let path = named(&params);
            let run = async |shared: &Arc<Shared>, caller: &Caller, request: Request| {
                R::answer(shared, caller, &path, request).await
            };
            door.0.answer(request, run).await
        },
    )
}

/// The parts of a path that stand for something, by name.
fn named(params: &RawPathParams) -> Vec<(String, String)> {
    let pairs = params.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A resource that is asked by the thousand.
fn many<M: Many>() -> MethodRouter<JsonDoor> {
    post(
        |State(door): State<JsonDoor>, request: Request| async move {
            door.0.answer(request, many::answer::<M>).await
        },
    )
}

/// Who asks, and what their request is called.
#[derive(Clone)]
struct Caller {
    principal: Principal,
    peer: String,
    request_id: String,
}

/// What of a command is asked.
struct Asked<'a> {
    /// Its place.
    command: usize,
    route: &'a Route,
    /// The fields of its answer.
    known: &'a [String],
    path: &'a [(String, String)],
}

impl JsonDoor {
    /// A door to `service`.
    pub fn new(service: Arc<HashEquiv>, options: JsonOptions) -> Self {
        Self(Arc::new(Shared {
            service,
            options,
            commands: fingerpost_hashequiv::commands(),
            ids: RequestIds::default(),
        }))
    }

    /// Everything below `/v1`, and `/openapi.json`. Handlers need a [`Peer`] among a request's
    /// extensions, as [`fingerpost_net::Server`] gives it.
    pub fn router(&self) -> Router {
        let mut router = Router::new();
        for route in routes::ROUTES {
            router = router.route(route.path, self.handler(route));
        }
        // The same for everybody, and made once.
        let description = bytes::Bytes::from(openapi().to_string());
        let describe =
            async move || ([(header::CONTENT_TYPE, JSON)], description.clone()).into_response();
        let nothing = any(refuse(StatusCode::NOT_FOUND, "no-such-path"));
        let wrong_method = refuse(StatusCode::METHOD_NOT_ALLOWED, "method");
        router
            .route(rows::ROWS, resource::<OfOutput>())
            .route(rows::OUTPUTS, resource::<OfTask>())
            .route(rows::SIGINFO, resource::<Siginfo>())
            .route(routes::LOOKUPS, many::<LookUps>())
            .route(routes::EXISTENCE, many::<Existence>())
            .route(routes::REPORTS, many::<Reports>())
            .route("/openapi.json", get(describe))
            .route("/v1", nothing.clone())
            .route("/v1/{*rest}", nothing)
            .method_not_allowed_fallback(wrong_method)
            .layer(axum::middleware::from_fn(compress::layer))
            .with_state(self.clone())
    }

    fn handler(&self, route: &'static Route) -> MethodRouter<Self> {
        let found = self.0.commands.find(route.command, false);
        let (command, _) = found.expect("a test looks at each route");
        let known: Arc<[String]> = routes::answer_fields(&self.0.commands, route).into();
        let handler = move |State(door): State<Self>, params: RawPathParams, request: Request| {
            let known = Arc::clone(&known);
            async move {
                let path = named(&params);
                let run = async |shared: &Arc<Shared>, caller: &Caller, request: Request| {
                    let asked = Asked {
                        command,
                        route,
                        known: &known,
                        path: &path,
                    };
                    shared.call(asked, caller, request).await
                };
                door.0.answer(request, run).await
            }
        };
        match route.verb {
            Verb::Get => get(handler),
            Verb::Post => post(handler),
            Verb::Put => put(handler),
            Verb::Delete => delete(handler),
        }
    }
}

impl std::fmt::Debug for JsonDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonDoor")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Finds out who asks, and tells them of what goes wrong.
    async fn answer(
        self: &Arc<Self>,
        request: Request,
        run: impl AsyncFnOnce(&Arc<Self>, &Caller, Request) -> Result<Response, Problem>,
    ) -> Response {
        let request_id = self.ids.of(request.headers());
        let answered = async {
            let caller = Caller {
                principal: login::principal(&self.service, request.headers()).await?,
                peer: peer(&request),
                request_id: request_id.clone(),
            };
            run(self, &caller, request).await
        };
        let mut response = match answered.await {
            Ok(response) => response,
            Err(problem) => problem.into_response(&request_id),
        };
        request_id::tell(&request_id, response.headers_mut());
        response
    }

    /// A command that there is.
    fn entry(&self, command: &str) -> Result<&Entry<HashEquiv>, Problem> {
        let found = self.commands.find(command, false);
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown-command");
        found.map(|(_, entry)| entry).ok_or_else(unknown)
    }

    /// Whether a command can be asked without a login.
    fn anybody_may(&self, command: &str) -> bool {
        let open = self.service.anonymous();
        let found = self.commands.find(command, false);
        found.is_some_and(|(_, entry)| open.allows(entry.declaration.access.needs))
    }

    async fn call(
        &self,
        asked: Asked<'_>,
        caller: &Caller,
        request: Request,
    ) -> Result<Response, Problem> {
        let Asked {
            command,
            route,
            known,
            path,
        } = asked;
        let entry = &self.commands.entries()[command];
        if entry.declaration.availability == Availability::Writable && self.service.is_read_only() {
            return Err(Problem::new(StatusCode::FORBIDDEN, "read-only"));
        }
        let (parts, body) = request.into_parts();
        let mut query = arguments::parameters(parts.uri.query().unwrap_or_default())?;
        let fields = Fields::take(&mut query, known)?;
        let epoch = self.service.deletion_epoch();
        let body = match route.verb {
            Verb::Get | Verb::Delete => None,
            Verb::Post | Verb::Put => Some(self.json_body(&parts.headers, body).await?),
        };
        let argument = arguments::argument(entry.fields, route, path, query, body.as_deref())?;
        let encoded = self.run(entry, caller, &argument).await?;
        // Clients of this door do not have to know that null says so.
        if &*encoded.bytes == b"null" {
            let problem = Problem::new(StatusCode::NOT_FOUND, route.absent);
            return Err(problem);
        }
        let bytes = fields.of_object(encoded.bytes);
        let mut response = (StatusCode::OK, Body::from(bytes.clone())).into_response();
        let headers = response.headers_mut();
        let media_type = header::HeaderValue::from_static(encoded.media_type);
        headers.insert(header::CONTENT_TYPE, media_type);
        if route.is_looked_up {
            return Ok(caching::conditional(
                &parts.headers,
                response,
                caching::tag(epoch, &bytes),
                self.anybody_may(route.command),
            ));
        }
        headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
        Ok(response)
    }

    /// Runs a command as every door does.
    async fn run(
        &self,
        entry: &Entry<HashEquiv>,
        caller: &Caller,
        argument: &str,
    ) -> Result<Encoded, Problem> {
        let call = Call {
            service: &self.service,
            principal: &caller.principal,
            peer: &caller.peer,
        };
        let started = std::time::Instant::now();
        let called = entry.call(call, argument).await;
        self.service.requests().record(1, started.elapsed());
        let reply = called.map(|called| called.reply);
        match reply {
            Ok(Reply::Object(encoded) | Reply::Encoded(encoded)) => Ok(encoded),
            Ok(Reply::Objects(_) | Reply::Redirect(_)) => {
                let why = Failure::internal("a command of this door answers one object");
                Err(Problem::of(&why, entry.declaration.name, caller))
            }
            Err(failure) => Err(Problem::of(&failure, entry.declaration.name, caller)),
        }
    }

    /// The whole body of a request.
    async fn json_body(&self, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
        demand_media_type(headers, JSON)?;
        let max = self.options.body_bytes_max;
        let too_long = || {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-long")
                .detail(format!("the body is longer than {max} bytes"))
                .limit("body_bytes", max as u64)
        };
        if body.size_hint().lower() > max as u64 {
            return Err(too_long());
        }
        let mut pieces = coding::pieces(headers, body)?;
        let reading = async {
            let mut all = Vec::new();
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                if all.len() + piece.len() > max {
                    return Err(too_long());
                }
                all.extend_from_slice(&piece);
            }
            Ok(all)
        };
        // Of a body that comes at all, all comes within so many stalls.
        let limit = self.options.body_stall * 2;
        let read = timeout(limit, reading).await;
        read.unwrap_or_else(|_| Err(self.too_slow()))
    }

    /// A client that keeps us waiting.
    fn too_slow(&self) -> Problem {
        let seconds = self.options.body_stall.as_secs();
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow")
            .limit("body_stall_seconds", seconds)
    }
}

const JSON: &str = "application/json";

/// Refuses a body of another type: no web page can send one of these without
/// being asked whether it may.
fn demand_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    match media_type(headers) {
        Some(given) if given.eq_ignore_ascii_case(wanted) => Ok(()),
        _ => Err(
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type")
                .detail(format!("the body must be {wanted}")),
        ),
    }
}

/// The type of the body without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    given.split(';').next().map(str::trim)
}

fn peer(request: &Request) -> String {
    let peer = request.extensions().get::<Peer>();
    peer.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
