//! What all sessions of a namespace share.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fingerpost_core::SystemClock;
use fingerpost_hashequiv_client::Credentials;
use fingerpost_hashequiv_client::http::HttpSetupError;
use fingerpost_hashequiv_proto::types::{Task, Unihash, decode_hex};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::AgentOptions;
use crate::believing::Believed;
use crate::figures::Figures;
use crate::following::Followed;
use crate::keeping::Kept;
use crate::knowledge::{Knowledge, Known, Whose};
use crate::listener::Listener;
use crate::logins::{Logins, Outcome};
use crate::reporting::Spool;
use crate::server::{AsUsers, HttpSource, Server};

/// How often the memory is told the time.
const TICK: Duration = Duration::from_millis(500);

/// Tasks that wait to be asked for behind the back of builds, and that are asked together.
const BEHIND_MAX: usize = 20_000;
const BEHIND_BATCH: usize = 2_000;

/// A task that nobody waits for, and who is asked.
type Behind = (Arc<Server>, Task);

/// What is the same in every namespace.
pub(crate) struct Common {
    pub(crate) figures: Arc<Figures>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) logins: Arc<Logins>,
}

/// A namespace of the server, as all its sessions see it.
pub(crate) struct Shared {
    /// Its name, by which its answers and reports are kept; empty: the one that the server puts
    /// the agent into.
    pub(crate) namespace: String,
    pub(crate) knowledge: Arc<Knowledge>,
    pub(crate) server: Arc<Server>,
    /// The server for builds that log in; None: all is asked as the agent.
    as_users: Option<AsUsers>,
    /// Whose answers are believed, and who signs reports; None: nobody looks at signatures.
    pub(crate) trust: Believed,
    /// What is kept of it on this host; None: it cannot be followed.
    pub(crate) kept: Option<Kept>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) strict_auth: bool,
    pub(crate) logins: Arc<Logins>,
    /// What is asked behind the back of builds.
    behind: mpsc::Sender<Behind>,
}

impl Shared {
    /// Prepares to ask in a namespace, or in that which the server chooses, and begins to
    /// follow it.
    pub(crate) async fn start(
        options: &AgentOptions,
        common: &Common,
        namespace: Option<&str>,
    ) -> Result<Arc<Self>, HttpSetupError> {
        let server = Arc::new(Server::start(options, namespace)?);
        let knowledge = Arc::new(Knowledge::new(
            options.memory_bytes,
            options.max_offline_age,
        ));
        let name = namespace.or_else(|| options.namespace());
        let name = name.unwrap_or_default().to_owned();
        let mut kept = None;
        if let Some(client) = server.http() {
            let heard = Arc::new(Listener::new(
                name.clone(),
                options.judge(namespace),
                Arc::clone(&knowledge),
                Arc::clone(&common.spool),
            ));
            tokio::spawn(Arc::clone(&heard).settle_all(Arc::downgrade(&common.figures)));
            let source = HttpSource(client.clone());
            let follow = options.follow(namespace);
            let clock = Arc::new(SystemClock);
            let followed = Followed::start(source, Arc::clone(&heard), follow, clock).await;
            kept = Some(Kept::new(followed, heard));
        }
        let (behind, wanted) = mpsc::channel(BEHIND_MAX);
        let trust = options.trust_within(namespace);
        let shared = Arc::new(Self {
            namespace: name,
            knowledge,
            server,
            as_users: AsUsers::new(options, namespace),
            trust: Believed::new(trust),
            kept,
            figures: Arc::clone(&common.figures),
            spool: Arc::clone(&common.spool),
            strict_auth: options.strict_auth,
            logins: Arc::clone(&common.logins),
            behind,
        });
        tokio::spawn(ask_what_is_wanted(Arc::downgrade(&shared), wanted));
        tokio::spawn(tick(Arc::downgrade(&shared)));
        Ok(shared)
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
        let is_up = self.server.answers() && self.server.takes_reports();
        let answers = is_up && self.server.takes_logins();
        self.logins.log_in(options, username, token, answers).await
    }

    /// Asks for a task that nobody waits for. What is too much is not asked.
    pub(crate) fn ask_behind(&self, server: &Arc<Server>, tasks: Vec<Task>) {
        for task in tasks {
            _ = self.behind.try_send((Arc::clone(server), task));
        }
    }

    /// The server as a user sees it, if it is asked as one.
    pub(crate) fn as_user(&self, login: &Credentials) -> Option<Arc<Server>> {
        self.as_users.as_ref()?.server(login)
    }

    /// Whether all is asked as the agent, whoever a build logs in as.
    pub(crate) const fn asks_as_itself(&self) -> bool {
        self.as_users.is_none()
    }

    /// Whom a report of an account goes to; None while its token is not known.
    pub(crate) fn server_of(&self, account: Option<&str>) -> Option<Arc<Server>> {
        let (Some(account), Some(_)) = (account, &self.as_users) else {
            return Some(Arc::clone(&self.server));
        };
        self.as_user(&self.logins.credentials(account)?)
    }

    /// The unihash that memory has for a task, old or not.
    pub(crate) fn remembered(&self, whose: Whose, method: &str, taskhash: &str) -> Option<Unihash> {
        let taskhash = decode_hex(taskhash.as_bytes())?;
        let method = self.knowledge.method(method)?;
        let known = self.knowledge.get(whose, method, &taskhash);
        match known {
            Known::Fresh(unihash) => unihash.map(Unihash::from_bytes),
            Known::Old(unihash) => Some(Unihash::from_bytes(unihash)),
            Known::Nothing => None,
        }
    }
}

/// Tells the memory the time, until the agent ends.
async fn tick(agent: Weak<Shared>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = agent.upgrade() else {
            return;
        };
        shared.knowledge.tick(shared.is_current());
        shared.server.try_again();
    }
}

/// Asks together for what nobody waits for, until the agent ends.
async fn ask_what_is_wanted(agent: Weak<Shared>, mut wanted: mpsc::Receiver<Behind>) {
    let mut tasks = Vec::new();
    while wanted.recv_many(&mut tasks, BEHIND_BATCH).await > 0 {
        let Some(shared) = agent.upgrade() else {
            return;
        };
        while let Some((server, _)) = tasks.first() {
            let server = Arc::clone(server);
            let (of_it, others) = tasks
                .drain(..)
                .partition(|(other, _): &Behind| Arc::ptr_eq(other, &server));
            tasks = others;
            let of_it: Vec<Behind> = of_it;
            let asked = of_it.into_iter().map(|(_, task)| task).collect();
            shared.ask(&server, asked).await;
        }
    }
}
