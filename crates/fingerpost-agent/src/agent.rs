//! The agent: builds on one side, the server on the other.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocket;
use axum::http::header;
use axum::routing::get;
use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv_client::link::{ByteLink, ServerSocket};
use fingerpost_hashequiv_proto::types::{Unihash, decode_hex};
use fingerpost_net::{
    ConnectionGuard, LineDoor, Listener, Metrics, Peer, Server as Net, ServerOptions, Shutdown,
    close_websocket, linger,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::commands::Caller;
use crate::figures::Figures;
use crate::knowledge::{Knowledge, Known};
use crate::logins::{Logins, Outcome};
use crate::profiles::Profiles;
use crate::reporting::{self, Spool};
use crate::server::{Server, Task};
use crate::session::Session;
use crate::state::{State, StateError, StateOptions};
use crate::{AgentOptions, BreakerState, Counts, HitRatios, ServerStatus, SpoolStatus, Status};

/// The name of listeners that have metrics and probes alone.
pub(crate) const METRICS: &str = "metrics";

/// How often the memory is told the time.
const TICK: Duration = Duration::from_millis(500);

/// Tasks that wait to be asked for behind the back of builds, and that are asked together.
const BEHIND_MAX: usize = 20_000;
const BEHIND_BATCH: usize = 2_000;

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) knowledge: Knowledge,
    pub(crate) server: Server,
    pub(crate) figures: Figures,
    pub(crate) spool: Spool,
    pub(crate) strict_auth: bool,
    pub(crate) logins: Logins,
    profiles: Profiles,
    /// What is asked behind the back of builds.
    behind: mpsc::Sender<Task>,
    started: Instant,
}

impl Shared {
    /// What the server says of tasks, in order: `None` where it is silent.
    pub(crate) async fn ask(&self, tasks: Vec<Task>) -> Vec<Option<Option<Unihash>>> {
        let Some(local) = self.spool.provisional(&tasks) else {
            return self.ask_server(tasks).await;
        };
        // What this host said of a task holds until the server has heard of it.
        let mut unknown = Vec::with_capacity(tasks.len());
        for (task, local) in tasks.into_iter().zip(&local) {
            if local.is_none() {
                unknown.push(task);
            }
        }
        let mut said = match unknown.is_empty() {
            true => Vec::new(),
            false => self.ask_server(unknown).await,
        }
        .into_iter();
        let answer = |local: Option<Unihash>| match local {
            Some(local) => Some(Some(local)),
            None => said.next().flatten(),
        };
        local.into_iter().map(answer).collect()
    }

    async fn ask_server(&self, tasks: Vec<Task>) -> Vec<Option<Option<Unihash>>> {
        let tasks: Arc<[Task]> = tasks.into();
        self.figures
            .asked
            .fetch_add(tasks.len() as u64, Ordering::Relaxed);
        match self.server.unihashes(Arc::clone(&tasks)).await {
            Ok(said) => {
                for (task, said) in tasks.iter().zip(&said) {
                    self.remember(task, said.as_ref());
                }
                said.into_iter().map(Some).collect()
            }
            Err(error) => {
                self.figures.gave_tasks_up(tasks.len(), &error);
                vec![None; tasks.len()]
            }
        }
    }

    /// Logs a build in.
    pub(crate) async fn log_in(&self, username: &str, token: &str) -> Outcome {
        if let Some(own) = self.server.own_login()
            && own.username == username
        {
            // The server would slow the agent's own login down for every wrong try.
            return match own.token == token {
                true => Outcome::In(self.logins.last(username, token), None),
                false => Outcome::Refused("Unable to authenticate".to_owned()),
            };
        }
        let options = self.server.options_for_one();
        let answers = self.server.answers() && self.server.takes_reports();
        self.logins.log_in(options, username, token, answers).await
    }

    /// Asks for a task that nobody waits for. What is too much is not asked.
    pub(crate) fn ask_behind(&self, tasks: Vec<Task>) {
        for task in tasks {
            _ = self.behind.try_send(task);
        }
    }

    /// The unihash that memory has for a task, old or not.
    pub(crate) fn remembered(&self, method: &str, taskhash: &str) -> Option<Unihash> {
        let taskhash = decode_hex(taskhash.as_bytes())?;
        let known = self
            .knowledge
            .get(self.knowledge.method(method)?, &taskhash);
        match known {
            Known::Fresh(unihash) => unihash.map(Unihash::from_bytes),
            Known::Old(unihash) => Some(Unihash::from_bytes(unihash)),
            Known::Nothing => None,
        }
    }

    pub(crate) fn remember(&self, task: &Task, said: Option<&Unihash>) {
        let bytes = said.map(Unihash::as_bytes);
        // Hashes of another length are asked for each time.
        if let Some(taskhash) = decode_hex(task.taskhash.as_bytes())
            && bytes.is_none_or(|bytes| bytes.is_some())
        {
            self.knowledge
                .put(&task.method, &taskhash, bytes.flatten().copied());
        }
    }

    /// Whether unihashes exist; not as far as a silent server says.
    pub(crate) async fn exist(&self, unihashes: Vec<String>) -> Vec<bool> {
        let count = unihashes.len();
        match self.server.exist(unihashes).await {
            Ok(known) => known,
            Err(error) => {
                self.figures.gave_up("exists-stream", &error);
                vec![false; count]
            }
        }
    }

    fn status(&self) -> Status {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let figures = &self.figures;
        let (lookups, local) = (count(&figures.lookups), count(&figures.answered_locally));
        let state = self.spool.state().map(State::figures).unwrap_or_default();
        Status {
            uptime_seconds: self.started.elapsed().as_secs(),
            server: self.server_status(),
            breaker: match self.server.answers() {
                true => BreakerState::Closed,
                false => BreakerState::Open,
            },
            lookups,
            answered_locally: local,
            hit_ratios: HitRatios {
                memory: (lookups > 0).then(|| local as f64 / lookups as f64),
            },
            spool: SpoolStatus {
                count: state.spooled_reports,
                bytes: state.spooled_bytes,
                oldest_seconds: state.spooled_age.map(|age| age.as_secs()),
            },
            dead_letters: state.dead_total,
            misses_given_up: count(&figures.given_up),
            remembered: self.knowledge.len() as u64,
            counts: Counts {
                requests: count(&figures.requests),
                asked: count(&figures.asked),
                reports: count(&figures.reports),
                delivered: state.delivered_total,
                silent: count(&figures.silent),
                unspooled: count(&figures.unspooled),
                refused: count(&figures.refused),
                logins: count(&figures.logins),
                not_passed_on: count(&figures.readers.reports),
            },
            ..Status::new()
        }
    }

    fn server_status(&self) -> ServerStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let asked = count(&self.figures.asked) + count(&self.figures.requests);
        let trouble = self.server.trouble();
        let since = |since: Instant| {
            let micros = i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX);
            SystemClock.now().minus_micros(micros).to_rfc3339()
        };
        ServerStatus {
            address: self.server.address().to_string(),
            up: (asked > 0 || trouble.is_some()).then_some(self.server.answers()),
            takes_reports: self.server.takes_reports(),
            since: trouble.as_ref().map(|trouble| since(trouble.since)),
            why: trouble.map(|trouble| trouble.why),
        }
    }
}

/// An agent. Clones are the same one.
#[derive(Clone)]
pub struct Agent(Arc<Shared>);

impl Agent {
    /// Prepares to serve. The server is asked when a build asks. To be called within a
    /// runtime.
    ///
    /// # Errors
    ///
    /// When another agent uses its state. Without any state it goes on, and keeps no
    /// reports for the server.
    pub async fn start(options: &AgentOptions) -> Result<Self, StateError> {
        let state = open(options).await?;
        let (behind, wanted) = mpsc::channel(BEHIND_MAX);
        let shared = Arc::new(Shared {
            behind,
            knowledge: Knowledge::new(options.memory_bytes),
            server: Server::start(options),
            figures: Figures::default(),
            spool: Spool::new(state),
            strict_auth: options.strict_auth,
            logins: Logins::default(),
            profiles: options.profiles.clone(),
            started: Instant::now(),
        });
        tokio::spawn(ask_what_is_wanted(Arc::downgrade(&shared), wanted));
        tokio::spawn(reporting::replay(Arc::downgrade(&shared)));
        let ticking = Arc::downgrade(&shared);
        tokio::spawn(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(shared) = ticking.upgrade() else {
                    return;
                };
                shared.knowledge.tick();
            }
        });
        Ok(Self(shared))
    }

    /// Serves builds, and metrics and probes on listeners that are called `metrics`, until
    /// the shutdown begins; then what is asked already is answered.
    ///
    /// # Errors
    ///
    /// Fails at once if a listener cannot be taken into the runtime.
    pub async fn serve(self, listeners: Vec<Listener>, shutdown: Shutdown) -> io::Result<()> {
        let (shared, state_of) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let status = get(move || async move {
            let json = serde_json::to_string(&shared.status()).expect("numbers and words");
            ([(header::CONTENT_TYPE, "application/json")], json)
        });
        let router = Router::new().route("/agent/status", status);
        let metrics = Arc::new(Metrics::default());
        metrics.register(|registry| crate::metrics::register(registry, &state_of));
        let mut net = Net::new(self, ServerOptions::default(), metrics, shutdown).router(router);
        for listener in listeners {
            net = match listener.name() {
                Some(METRICS) => net.listen_probes(listener),
                _ => net.listen(listener),
            };
        }
        let served = net.run().await.map(drop);
        if let Some(state) = state_of.spool.state() {
            state.close().await;
        }
        served
    }
}

impl Agent {
    fn caller(&self, peer: &Peer) -> Caller {
        Caller::new(peer.address, self.0.profiles.of(peer))
    }
}

/// The state; none where the directory cannot be used.
async fn open(options: &AgentOptions) -> Result<Option<State>, StateError> {
    let mut state = StateOptions::new(&options.state);
    state.spool_bytes_max = options.spool_bytes_max;
    match State::open(state, Arc::new(SystemClock)).await {
        Ok(state) => Ok(Some(state)),
        Err(error @ StateError::InUse { .. }) => Err(error),
        Err(error) => {
            let why = &error as &dyn std::error::Error;
            tracing::warn!(error = why, "reports are not kept for the server");
            Ok(None)
        }
    }
}

/// Asks together for what nobody waits for, until the agent ends.
async fn ask_what_is_wanted(agent: Weak<Shared>, mut wanted: mpsc::Receiver<Task>) {
    let mut tasks = Vec::new();
    while wanted.recv_many(&mut tasks, BEHIND_BATCH).await > 0 {
        let Some(shared) = agent.upgrade() else {
            return;
        };
        shared.ask(std::mem::take(&mut tasks)).await;
    }
}

impl LineDoor for Agent {
    async fn serve<IO>(&self, io: IO, first: Vec<u8>, peer: Peer, guard: ConnectionGuard)
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let caller = self.caller(&peer);
        let session = Session::new(Arc::clone(&self.0), caller, &guard, ByteLink(io), &first);
        drop(first);
        let (link, is_there) = session.run().await;
        if is_there {
            linger(link.0).await;
        }
    }

    async fn serve_websocket(
        &self,
        socket: WebSocket,
        _path: String,
        peer: Peer,
        guard: ConnectionGuard,
    ) {
        let link = ServerSocket::new(socket);
        let caller = self.caller(&peer);
        let session = Session::new(Arc::clone(&self.0), caller, &guard, link, &[]);
        let (link, _) = session.run().await;
        close_websocket(link.socket, link.error.as_ref(), &guard).await;
    }
}
