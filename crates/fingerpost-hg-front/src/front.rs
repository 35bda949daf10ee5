//! The door: from a request to its answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fingerpost_accounts::{Login, Logins};
use fingerpost_core::{Clock, Permission, PermissionSet, Registry};
use fingerpost_hg::site::{Catalogue, Decision, Found, Operation, RepositoryEntry};
use fingerpost_hg::{Mercurial, RepositoryView};
use fingerpost_hg_proto::FRAMING_MEDIA_TYPE;
use fingerpost_net::{Guards, percent_decoded};

use crate::answer::{self, Handshakes};
use crate::answers::AnswerCache;
use crate::caller::follower;
use crate::guards::{self, Came};
use crate::lanes::Lanes;
use crate::login::login;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::route::{API_ROOT, Route, list_of_apis, route};

/// Rules and limits of the door.
#[derive(Clone, Debug)]
pub struct FrontOptions {
    /// The most bytes of a request's body. 16 MiB.
    pub body_bytes_max: usize,
    /// How long a request's body may take to arrive. 60 s.
    pub body_time: Duration,
    /// The most long answers at once, and as many short ones. 64.
    pub answers_max: usize,
    /// How long a request may wait for a place among others, and for its turn while
    /// nobody else gets one. 30 s.
    pub wait: Duration,
    /// How long a client may take for one answer. 4 h.
    pub answer_time: Duration,
    /// How long a client may take for one piece of it, 260 KiB at most. 120 s.
    pub piece_time: Duration,
    /// The level of `zstd-8mb`, 1 to 19; `zlib` has one of 6 to 9. 1, which is
    /// 1.6 times as fast as 3 on program sources and leaves an eighth more.
    pub compression_level: i32,
    /// Where clients without v2 find the repositories, for the sentence that
    /// they are told.
    pub fallback_url: Option<String>,
    /// Clients are redirected only while so many long answers are under way, the
    /// one in question among them. 0: always.
    pub redirected_from: usize,
}

impl Default for FrontOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            body_time: Duration::from_secs(60),
            answers_max: 64,
            wait: Duration::from_secs(30),
            answer_time: Duration::from_secs(4 * 3600),
            piece_time: Duration::from_secs(120),
            compression_level: 1,
            fallback_url: None,
            redirected_from: 0,
        }
    }
}

/// The door of the repositories of a site.
#[derive(Clone)]
pub struct HgFront(Arc<Door>);

pub(crate) struct Door {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) mercurial: Arc<Mercurial>,
    pub(crate) logins: Option<Logins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: FrontOptions,
    pub(crate) commands: Arc<Registry<RepositoryView>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) lanes: Lanes,
    handshakes: Handshakes,
    pub(crate) cache: Option<AnswerCache>,
    pub(crate) guards: Guards,
}

impl HgFront {
    /// A door to the repositories of `catalogue`. Without `logins` nobody
    /// can log in, and only what everybody may read is served.
    pub fn new(
        catalogue: Arc<Catalogue>,
        mercurial: Arc<Mercurial>,
        logins: Option<Logins>,
        clock: Arc<dyn Clock>,
        options: FrontOptions,
    ) -> Self {
        let commands = fingerpost_hg::commands();
        Self(Arc::new(Door {
            metrics: Arc::new(Metrics::new(&commands)),
            commands: Arc::new(commands),
            lanes: Lanes::new(options.answers_max, options.wait),
            handshakes: Handshakes::default(),
            cache: None,
            guards: Guards::default(),
            catalogue,
            mercurial,
            logins,
            clock,
            options,
        }))
    }

    /// Remembers answers from now on.
    #[must_use]
    pub fn remembering(mut self, cache: AnswerCache) -> Self {
        if let Some(door) = Arc::get_mut(&mut self.0) {
            door.cache = Some(cache);
        }
        self
    }

    /// Stands behind `guards` from now on, which other doors may share.
    #[must_use]
    pub fn guarded(mut self, guards: Guards) -> Self {
        if let Some(door) = Arc::get_mut(&mut self.0) {
            door.guards = guards;
        }
        self
    }

    /// A router that answers every path.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    /// Puts the door's counters on a registry.
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.0.metrics.register(registry);
        if let Some(cache) = &self.0.cache {
            cache.register_metrics(registry);
        }
    }
}

async fn serve(State(front): State<HgFront>, request: Request<Body>) -> Response {
    let door = front.0;
    let (parts, body) = request.into_parts();
    let mut came = Came::of(&parts);
    match door.answer(&mut came, parts, body).await {
        Ok(response) => response,
        Err(refusal) => {
            guards::denied(&door.guards, &came, &refusal).await;
            door.metrics.count_refusal(refusal.status.as_u16());
            refusal.into_response()
        }
    }
}

/// A repository that was found, and who asks.
pub(crate) struct Asking {
    pub(crate) repository: Arc<RepositoryEntry>,
    pub(crate) login: Option<Login>,
    pub(crate) parts: Parts,
}

impl Asking {
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Whether the rules of the repository let the caller do this.
    pub(crate) fn may(&self, operation: Operation) -> Result<(), Refusal> {
        let access = &self.repository.settings().access;
        let user = self.login.as_ref().map(Login::name);
        match access.decide(user, operation) {
            Decision::Allowed if operation == Operation::Push && !self.may_write() => {
                Err(Refusal::not_authorized(operation, false))
            }
            Decision::Allowed => Ok(()),
            Decision::NeedsLogin(operation) => Err(Refusal::not_authorized(operation, true)),
            Decision::Denied(operation) => Err(Refusal::not_authorized(operation, false)),
        }
    }
}

/// What lets somebody who acts for a user write.
const WRITERS: PermissionSet = PermissionSet::of(&[Permission::Report]);

impl Asking {
    /// Whether the caller's login lets them change anything. Rules of repositories
    /// name users; a token that acts for one and may not report is for reading.
    fn may_write(&self) -> bool {
        match &self.login {
            Some(Login::Acting(grant)) => grant.permissions.covers(WRITERS),
            Some(Login::User { .. }) | None => true,
        }
    }
}

impl Door {
    async fn answer(
        self: &Arc<Self>,
        came: &mut Came,
        parts: Parts,
        body: Body,
    ) -> Result<Response, Refusal> {
        let path = percent_decoded(parts.uri.path()).ok_or_else(Refusal::nothing_here)?;
        let login = login(&parts, self.logins.as_ref()).await?;
        came.login.clone_from(&login);
        let asks_v1 = command_of_v1(&parts).is_some();
        let Some((repository, rest)) = self.find(path.clone(), asks_v1).await? else {
            return match parts.method == Method::GET && !asks_v1 {
                true => self.index(path, login).await,
                false => Err(Refusal::nothing_here()),
            };
        };
        let asking = Asking {
            repository,
            login,
            parts,
        };
        asking.may(Operation::Read)?;
        match route(&rest)? {
            Route::Repository => self.repository(&asking).await,
            Route::Apis => Ok(answer::text(list_of_apis())),
            Route::ApiRoot => Ok(answer::text(API_ROOT)),
            Route::Command(path) => {
                let path = (path.writes, path.command.to_owned());
                self.command(&asking, body, path).await
            }
            Route::Nothing if asks_v1 => Err(self.other_client()),
            Route::Nothing => Err(Refusal::nothing_here()),
        }
    }

    /// The repository that a path begins with, and the rest of the path; `None`
    /// if there is none.
    async fn find(
        self: &Arc<Self>,
        path: String,
        asks_v1: bool,
    ) -> Result<Option<(Arc<RepositoryEntry>, String)>, Refusal> {
        let finding =
            self.blocking(
                move |door| match door.catalogue.find(&path, door.clock.now()) {
                    Found::Repository { repository, rest } => {
                        Ok(Some((repository, rest.to_owned())))
                    }
                    Found::NotFound => Ok(None),
                    Found::Refused(refusal) => {
                        let (repository, why) = (refusal.id().as_str(), refusal.sentence());
                        tracing::warn!(repository, "{repository} is not served: {why}");
                        Err(not_served(refusal.public(), asks_v1))
                    }
                    Found::Unavailable(bad) => {
                        tracing::error!("no repository is served: {bad}");
                        Err(not_served(
                            "the server's configuration is broken".to_owned(),
                            asks_v1,
                        ))
                    }
                },
            );
        finding.await?
    }

    /// Does something that waits for the disk.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let door = Arc::clone(self);
        let working = tokio::task::spawn_blocking(move || work(&door));
        working.await.map_err(|_| Refusal::server_error())
    }

    /// The repository's own URL: the handshake, or a person.
    async fn repository(self: &Arc<Self>, asking: &Asking) -> Result<Response, Refusal> {
        match command_of_v1(&asking.parts) {
            None => Ok(answer::text(self.about(asking))),
            Some("capabilities")
                if answer::upgrade(asking.headers()).is_some_and(|upgrade| upgrade.wants_v2()) =>
            {
                self.handshake(asking).await
            }
            Some(_) => Err(self.other_client()),
        }
    }

    async fn handshake(self: &Arc<Self>, asking: &Asking) -> Result<Response, Refusal> {
        let place = self.lanes.enter(true).await?;
        let repository = Arc::clone(&asking.repository);
        let redirecting = self.cache.as_ref().and_then(|it| it.redirecting.as_ref());
        let client = follower(&asking.parts);
        let targets = redirecting.map(|it| it.targets.advertised(&client));
        let answering = self.blocking(move |door| {
            // Held here: who hangs up does not end the work.
            let _place = place;
            let targets = targets.unwrap_or_default();
            door.view(&repository, true)
                .map(|view| door.handshakes.answer(&view, targets))
        });
        answering.await?
    }

    /// What a browser is shown of a repository.
    fn about(&self, asking: &Asking) -> String {
        let settings = asking.repository.settings();
        let name = settings
            .name
            .as_deref()
            .unwrap_or_else(|| asking.repository.id().as_str());
        let description = settings.description.as_deref().unwrap_or_default();
        format!(
            "{name}\n{description}\n\nThis is a Mercurial repository; clone this URL. {}",
            capitalised(&answer::sentence_for_others(
                self.options.fallback_url.as_deref()
            ))
        )
    }

    fn other_client(&self) -> Refusal {
        self.metrics.count_other_client();
        let fallback = self.options.fallback_url.as_deref();
        Refusal::v1(answer::sentence_for_others(fallback))
    }

    /// The repository as it is now. Blocks while it reads.
    pub(crate) fn view(
        &self,
        repository: &Arc<RepositoryEntry>,
        asks_v1: bool,
    ) -> Result<Arc<RepositoryView>, Refusal> {
        self.mercurial.view(repository).map_err(|error| {
            let id = repository.id();
            tracing::error!(repository = id.as_str(), %error, "{id} cannot be read: {error}");
            not_served(format!("{id} cannot be read: {error}"), asks_v1)
        })
    }

    /// A command, or several: see [`crate::request`].
    async fn command(
        self: &Arc<Self>,
        asking: &Asking,
        body: Body,
        (writes, command): (bool, String),
    ) -> Result<Response, Refusal> {
        if asking.parts.method != Method::POST {
            return Err(Refusal::needs_post());
        }
        let operation = if writes {
            Operation::Push
        } else {
            Operation::Pull
        };
        if writes && asking.repository.settings().access.push_needs_tls() {
            // There is no TLS here, and what is in front of us cannot vouch for it.
            // Said before a password is asked for, which would come in clear text.
            return Err(Refusal::ssl_required());
        }
        asking.may(operation)?;
        let url = self.url_command(&command, writes)?;
        if !answer::has_exactly(asking.headers(), header::ACCEPT, FRAMING_MEDIA_TYPE) {
            return Err(Refusal::not_acceptable());
        }
        if !answer::has_exactly(asking.headers(), header::CONTENT_TYPE, FRAMING_MEDIA_TYPE) {
            return Err(Refusal::unsupported_media_type());
        }
        self.run(asking, body, url).await
    }
}

/// The value of `cmd` in the query: a request of protocol v1.
fn command_of_v1(parts: &Parts) -> Option<&str> {
    let pairs = parts.uri.query()?.split('&');
    pairs.filter_map(|pair| pair.strip_prefix("cmd=")).next()
}

/// A repository or a site that cannot be served. Clients of Mercurial show
/// the sentence only if it comes as an answer of v1.
fn not_served(sentence: String, asks_v1: bool) -> Refusal {
    match asks_v1 {
        true => Refusal::v1(sentence + "\n"),
        false => Refusal::text(StatusCode::SERVICE_UNAVAILABLE, sentence + "\n"),
    }
}

fn capitalised(sentence: &str) -> String {
    let (first, rest) = sentence.split_at(1);
    first.to_uppercase() + rest
}
