//! The JSON door: the commands as resources of HTTP, below `/v1`.
//!
//! What a command takes, needs and answers is in its declaration; a
//! [route](routes) adds a method and a path. Requests are stricter than those of
//! the native protocol, which takes numbers for text and ignores what it does not
//! know: here each such thing is a refusal that names it.

mod arguments;
mod body;
mod bounded;
mod caching;
mod call;
mod changes;
mod coding;
mod compress;
mod docs;
mod epoch;
mod existence;
mod fields;
mod fuzz;
mod login;
mod lookup;
mod many;
mod metrics;
mod openapi;
mod outcome;
mod problem;
mod remembered;
mod reports;
mod routes;
mod rows;
mod signed;
mod snapshots;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, post, put};
use fingerpost_core::{Entry, Failure, Origin, Permission, Principal, Registry as Commands};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_net::audit::Ended;
use fingerpost_net::{
    Asker, ForwardedHost, Guards, Peer, RequestIds, Seldom, Shutdown, request_id,
};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use self::body::{JSON, media_type};
use self::call::Asked;
use self::existence::Existence;
pub(crate) use self::fuzz::fuzz_json_body;
use self::lookup::LookUps;
use self::many::Many;
use self::metrics::{Metrics, Running};
pub use self::openapi::openapi;
use self::problem::Problem;
use self::reports::Reports;
use self::routes::{LOOK_UP, Route, Verb};
use self::rows::{OfOutput, OfTask, Resource, Siginfo};
use self::signed::{Signatures, SignedLookUps, SignedReports};
use crate::budget::Budget;
use crate::door::NativeDoor;
use crate::guards::{self, LOGIN, Told};
use crate::options::DoorOptions;
use crate::placement::{PATH_PREFIX, Place, Placement};
use crate::snapshots::SnapshotShelf;

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
    placement: Placement,
    options: JsonOptions,
    commands: Commands<HashEquiv>,
    ids: RequestIds,
    /// The place of the command that is asked most.
    looked_up: usize,
    metrics: Arc<Metrics>,
    guards: Guards,
    failed_logins: Seldom,
    /// Who waits for a change.
    waiting: Semaphore,
    /// Who reads changes from the database.
    reading: Semaphore,
    /// What bodies that are not answered may take together.
    budget: OnceLock<Arc<Budget>>,
    snapshots: OnceLock<SnapshotShelf>,
    shutdown: OnceLock<Shutdown>,
}

/// Refuses whatever is asked.
fn refuse(
    status: StatusCode,
    code: &'static str,
) -> impl Fn(State<JsonDoor>, Method, HeaderMap) -> std::future::Ready<Response> + Clone {
    move |State(door), method, headers| {
        Running::begin(&door.0.metrics, metrics::NONE, &method).answered(status);
        let request_id = door.0.ids.of(&headers);
        let mut response = Problem::new(status, code).into_response(&request_id);
        request_id::tell(&request_id, response.headers_mut());
        std::future::ready(response)
    }
}

/// A resource that is read, and stands for no command.
fn resource<R: Resource>() -> MethodRouter<JsonDoor> {
    get(
        |State(door): State<JsonDoor>, params: Params, request: Request| async move {
            let path = named(params);
            let run = async |shared: &Arc<Shared>, caller: &Caller, request: Request| {
                R::answer(shared, caller, &path?, request).await
            };
            let subject = Subject {
                name: R::NAME,
                tells_epoch: R::TELLS_EPOCH,
            };
            door.0.answer(subject, request, run).await
        },
    )
}

/// A resource where callers say no namespace, and where they do.
fn in_every_namespace(
    router: Router<JsonDoor>,
    path: &str,
    handler: MethodRouter<JsonDoor>,
) -> Router<JsonDoor> {
    let named = format!("{PATH_PREFIX}{{{NAMESPACE}}}{path}");
    router.route(path, handler.clone()).route(&named, handler)
}

/// What stands in a path for the namespace.
const NAMESPACE: &str = "namespace";

/// The parts of a path that stand for something, by name, but for the namespace.
fn named(params: Params) -> Result<Vec<(String, String)>, Problem> {
    let params = params.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-path").detail(rejection.body_text())
    })?;
    let pairs = params.iter().filter(|(name, _)| *name != NAMESPACE);
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// The parts of a path, if they are UTF-8.
type Params = Result<RawPathParams, RawPathParamsRejection>;

/// A resource that is asked by the thousand.
fn many<M: Many>() -> MethodRouter<JsonDoor> {
    post(
        |State(door): State<JsonDoor>, request: Request| async move {
            let subject = Subject {
                name: M::COMMAND,
                tells_epoch: true,
            };
            door.0.answer(subject, request, many::answer::<M>).await
        },
    )
}

/// What a request is about.
#[derive(Clone, Copy)]
struct Subject {
    /// What it is called where requests are counted.
    name: &'static str,
    /// Whether its answer may be another one when something is deleted.
    tells_epoch: bool,
}

/// Who asks, and what their request is called.
#[derive(Clone)]
struct Caller {
    /// The namespace that they work in.
    place: Place,
    principal: Principal,
    host: Origin,
    /// What the audit log is told.
    told: Told,
    /// Counts the request when the last one has dropped it.
    running: Arc<Running>,
}

impl Caller {
    /// Who asks, for limits.
    fn asker(&self) -> Asker<'_> {
        Asker {
            host: self.host,
            user: self.principal.name(),
        }
    }

    /// The service in the caller's namespace.
    fn service(&self) -> &Arc<HashEquiv> {
        &self.place.service
    }

    fn request_id(&self) -> &str {
        &self.told.request_id
    }

    /// Whether a command can be asked here without a login.
    fn anybody_may(&self, entry: &Entry<HashEquiv>) -> bool {
        let open = self.service().anonymous();
        open.allows(entry.declaration.access.needs)
    }
}

impl JsonDoor {
    /// A door to the namespaces of `placement` with the default limits and no audit
    /// log.
    pub fn new(placement: impl Into<Placement>, options: JsonOptions) -> Self {
        Self::guarded(placement, options, Guards::default())
    }

    /// A door to the namespaces of `placement` behind `guards`, which other doors
    /// may share.
    pub fn guarded(placement: impl Into<Placement>, options: JsonOptions, guards: Guards) -> Self {
        let commands = fingerpost_hashequiv::commands();
        let looked_up = commands.find(LOOK_UP, false);
        let (looked_up, _) = looked_up.expect("a test looks at each route");
        let placement = placement.into();
        Self(Arc::new(Shared {
            metrics: Arc::new(Metrics::new(placement.set())),
            placement,
            options,
            commands,
            looked_up,
            ids: RequestIds::default(),
            guards,
            failed_logins: Seldom::new(LOG_EVERY),
            waiting: Semaphore::new(changes::WAITING_MAX),
            reading: Semaphore::new(changes::READING_MAX),
            budget: OnceLock::new(),
            snapshots: OnceLock::new(),
            shutdown: OnceLock::new(),
        }))
    }

    /// Lets the bodies of requests share the memory that the connections of `door` may
    /// have buffered, at all of its clones. The first door stays; without one, and once a
    /// body was taken, they have as much for themselves.
    #[must_use]
    pub fn buffering_with(self, door: &NativeDoor) -> Self {
        let _ = self.0.budget.set(door.budget());
        self
    }

    /// Serves these snapshots, with all of its clones. The first ones stay.
    #[must_use]
    pub fn serving_snapshots(self, snapshots: SnapshotShelf) -> Self {
        let _ = self.0.snapshots.set(snapshots);
        self
    }

    /// Lets whoever waits go, at all of its clones, as soon as this shutdown begins. The
    /// first one stays.
    #[must_use]
    pub fn stopping_with(self, shutdown: Shutdown) -> Self {
        let _ = self.0.shutdown.set(shutdown);
        self
    }

    /// Adds the door's counters to `registry`, whose prefix is `fingerpost`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }

    /// Everything below `/v1` and `/ns/{namespace}/v1`, and `/openapi.json`. Handlers need a [`Peer`] among a request's
    /// extensions, as [`fingerpost_net::Server`] gives it.
    pub fn router(&self) -> Router {
        let nothing = any(refuse(StatusCode::NOT_FOUND, "no-such-path"));
        let mut router = Router::new();
        for route in routes::ROUTES {
            router = in_every_namespace(router, route.path, self.handler(route));
        }
        for (path, handler) in [
            (rows::ROWS, resource::<OfOutput>()),
            (rows::OUTPUTS, resource::<OfTask>()),
            (rows::SIGINFO, resource::<Siginfo>()),
            (changes::CHANGES, resource::<changes::OfNamespace>()),
            (snapshots::SNAPSHOTS, resource::<snapshots::List>()),
            (snapshots::SNAPSHOT, resource::<snapshots::One>()),
            (snapshots::MANIFEST, resource::<snapshots::ManifestOf>()),
            (snapshots::SIGNATURE, resource::<snapshots::SignatureOf>()),
            (snapshots::SHARD, resource::<snapshots::ShardOf>()),
            (routes::LOOKUPS, many::<LookUps>()),
            (routes::EXISTENCE, many::<Existence>()),
            (routes::REPORTS, many::<Reports>()),
            (routes::SIGNED_LOOKUPS, many::<SignedLookUps>()),
            (routes::SIGNED_REPORTS, many::<SignedReports>()),
            (routes::SIGNATURES, many::<Signatures>()),
            ("/v1", nothing.clone()),
            ("/v1/{*rest}", nothing),
        ] {
            router = in_every_namespace(router, path, handler);
        }
        // The same for everybody, and made once.
        let document = openapi();
        let description = bytes::Bytes::from(document.to_string());
        let describe =
            async move || ([(header::CONTENT_TYPE, JSON)], description.clone()).into_response();
        let wrong_method = refuse(StatusCode::METHOD_NOT_ALLOWED, "method");
        router
            .route("/openapi.json", get(describe))
            .merge(docs::router(&document))
            .method_not_allowed_fallback(wrong_method)
            .layer(axum::middleware::from_fn(compress::layer))
            .with_state(self.clone())
    }

    fn handler(&self, route: &'static Route) -> MethodRouter<Self> {
        let found = self.0.commands.find(route.command, false);
        let (command, _) = found.expect("a test looks at each route");
        let known: Arc<[String]> = routes::answer_fields(&self.0.commands, route).into();
        let subject = Subject {
            name: route.command,
            tells_epoch: route.tells_epoch(&self.0.commands.entries()[command]),
        };
        let handler = move |State(door): State<Self>, params: Params, request: Request| {
            let known = Arc::clone(&known);
            async move {
                let path = named(params);
                let run = async |shared: &Arc<Shared>, caller: &Caller, request: Request| {
                    let path = path?;
                    let asked = Asked {
                        command,
                        route,
                        known: &known,
                        path: &path,
                    };
                    shared.call(asked, caller, request).await
                };
                door.0.answer(subject, request, run).await
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
        subject: Subject,
        request: Request,
        run: impl AsyncFnOnce(&Arc<Self>, &Caller, Request) -> Result<Response, Problem>,
    ) -> Response {
        let request_id = self.ids.of(request.headers());
        let running = Running::begin(&self.metrics, subject.name, request.method());
        let running = Arc::new(running);
        let from = request.extensions().get::<Peer>();
        let from = from.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let mut epoch = None;
        let answered = async {
            let place = self.place(&request)?;
            let peer = request.extensions().get::<Peer>();
            let shown = (request.headers(), peer);
            let mut told = Told {
                door: "json",
                request_id: request_id.clone(),
                peer: from.clone(),
                user: None,
                credential: None,
                namespace: place.service.namespace().to_owned(),
            };
            let entered = self.principal(place, shown, &told).await;
            let (place, principal) = entered.inspect_err(|_| running.within(&told.namespace))?;
            told.user = principal.name().map(str::to_owned);
            told.credential = principal.credential().cloned();
            if told.namespace != place.service.namespace() {
                told.namespace = place.service.namespace().to_owned();
            }
            running.within(&told.namespace);
            let caller = Caller {
                place,
                principal,
                host: host(peer),
                told,
                running: Arc::clone(&running),
            };
            // Nobody else is told how much goes on here.
            let is_told = subject.tells_epoch && caller.principal.allows(&[Permission::Read]);
            epoch = is_told.then(|| caller.service().epoch_in_history());
            run(self, &caller, request).await
        };
        let mut response = match answered.await {
            Ok(response) => {
                running.answered(response.status());
                response
            }
            Err(problem) => {
                running.failed(&problem);
                self.note(&problem, &request_id, &from);
                problem.into_response(&request_id)
            }
        };
        if let Some(epoch) = epoch {
            epoch::tell(&epoch, response.headers_mut());
        }
        request_id::tell(&request_id, response.headers_mut());
        response
    }

    /// Logs what an answer told, so that who complains can be found by its
    /// request id.
    fn note(&self, problem: &Problem, request_id: &str, peer: &str) {
        if !problem.is_wrong_login() {
            let code = problem.code();
            return tracing::debug!(request_id, peer, code, "Answered a problem: {code}");
        }
        if let Some(held_back) = self.failed_logins.now() {
            tracing::info!(request_id, peer, held_back, "A login failed");
        }
    }

    /// Waits for the server to begin to stop.
    async fn stopping(&self) {
        match self.shutdown.get() {
            Some(shutdown) => shutdown.started().await,
            None => std::future::pending().await,
        }
    }

    fn budget(&self) -> &Arc<Budget> {
        let own = || Arc::new(Budget::new(DoorOptions::default().buffered_bytes_total));
        self.budget.get_or_init(own)
    }

    fn shelf(&self) -> Option<&SnapshotShelf> {
        self.snapshots.get()
    }

    /// A command that there is.
    fn entry(&self, command: &str) -> Result<&Entry<HashEquiv>, Problem> {
        let found = self.commands.find(command, false);
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown-command");
        found.map(|(_, entry)| entry).ok_or_else(unknown)
    }

    /// The namespace that a request is for before anybody logged in.
    fn place(&self, request: &Request) -> Result<Place, Problem> {
        let forwarded = request.extensions().get::<ForwardedHost>();
        let own = || fingerpost_net::host_of(request);
        let host = forwarded.map_or_else(own, |host| Some(&host.0));
        let peer = request.extensions().get::<Peer>();
        let listener = peer.and_then(|peer| peer.listener_name.as_deref());
        let place = self
            .placement
            .of_request(request.uri().path(), host, listener);
        place.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no-such-namespace"))
    }

    /// Who asks. Logins that are denied are told.
    async fn principal(
        &self,
        place: Place,
        (headers, peer): (&HeaderMap, Option<&Peer>),
        told: &Told,
    ) -> Result<(Place, Principal), Problem> {
        let found = login::principal(&self.placement, place, headers, peer).await;
        if let Err(problem) = &found
            && let Some((_, entry)) = self.commands.find(LOGIN, false)
        {
            let failure = Failure::refused(problem.code(), "");
            let argument = match self.guards.audit.is_on() {
                true => login::argument(headers),
                false => String::new(),
            };
            let (ended, tell) = (Ended::Failed(&failure), || told.clone());
            guards::tell(&self.guards, entry, &argument, ended, tell).await;
        }
        found
    }
}

fn host(peer: Option<&Peer>) -> Origin {
    peer.map_or(Origin::Unknown, Peer::host)
}

/// Failed logins are logged at most so often.
const LOG_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
