//! What the agent counts, and what it says of it in the log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_hashequiv_client::{AskError, ClientError};
use fingerpost_net::Seldom;

use crate::lookup::AnsweredBy;
use crate::readers::Readers;
use crate::state::StateError;

/// One line of each kind at most this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Counters since the start. All of them only grow.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Requests that are no lines of a stream.
    pub(crate) requests: AtomicU64,
    /// Tasks that builds looked up.
    pub(crate) lookups: AtomicU64,
    /// Of them, those that nobody else was asked for.
    pub(crate) answered_locally: AtomicU64,
    /// Tasks that the server was asked for.
    pub(crate) asked: AtomicU64,
    /// Tasks that were answered without the server's word, since it was silent.
    pub(crate) given_up: AtomicU64,
    /// Reports that the server took.
    pub(crate) reports: AtomicU64,
    /// Reports and single requests that were answered without its word.
    pub(crate) silent: AtomicU64,
    /// Reports that the server will not hear of, because they could not be kept.
    pub(crate) unspooled: AtomicU64,
    /// What it refused, and a build was not told.
    pub(crate) refused: AtomicU64,
    /// Logins that succeeded without its word.
    pub(crate) logins: AtomicU64,
    /// Its answers to look-ups, of one or many tasks, and the microseconds that they took.
    waits: AtomicU64,
    waited_micros: AtomicU64,
    /// Waits for such answers that builds were spared.
    waits_spared: AtomicU64,
    /// Look-ups that the snapshot answered, and those that the answers on disk did.
    pub(crate) by_snapshot: AtomicU64,
    pub(crate) by_store: AtomicU64,
    /// Answers of the server that nobody signed who is believed.
    pub(crate) disbelieved: AtomicU64,
    /// Signatures of this host that the server took.
    pub(crate) signed: AtomicU64,
    /// Whether a key ring is another file and cannot be read.
    pub(crate) rings_failed: AtomicBool,
    log_disbelieved: Seldom,
    /// Builds that may only read.
    pub(crate) readers: Readers,
    log_silent: Seldom,
    log_refused: Seldom,
    log_login: Seldom,
    log_spool: Seldom,
}

impl Default for Figures {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            requests: zero(),
            lookups: zero(),
            answered_locally: zero(),
            asked: zero(),
            given_up: zero(),
            reports: zero(),
            silent: zero(),
            unspooled: zero(),
            refused: zero(),
            logins: zero(),
            waits: zero(),
            waited_micros: zero(),
            waits_spared: zero(),
            by_snapshot: zero(),
            by_store: zero(),
            disbelieved: zero(),
            signed: zero(),
            rings_failed: AtomicBool::new(false),
            log_disbelieved: Seldom::new(LOG_EVERY),
            readers: Readers::default(),
            log_silent: Seldom::new(LOG_EVERY),
            log_refused: Seldom::new(LOG_EVERY),
            log_login: Seldom::new(LOG_EVERY),
            log_spool: Seldom::new(LOG_EVERY),
        }
    }
}

impl Figures {
    /// Tasks were looked up, and of them so many were known.
    #[inline]
    pub(crate) fn lookups(&self, tasks: u64, hits: u64) {
        self.lookups.fetch_add(tasks, Ordering::Relaxed);
        self.answered_locally.fetch_add(hits, Ordering::Relaxed);
    }

    /// Of tasks that a build looked up and memory did not know, this is who answered them.
    pub(crate) fn answered(&self, by: &AnsweredBy) {
        let here = by.reports + by.snapshot + by.store;
        self.by_snapshot.fetch_add(by.snapshot, Ordering::Relaxed);
        self.by_store.fetch_add(by.store, Ordering::Relaxed);
        self.answered_locally.fetch_add(here, Ordering::Relaxed);
    }

    /// The server answered look-ups after so long.
    pub(crate) fn waited(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.waited_micros.fetch_add(micros, Ordering::Relaxed);
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// How long such an answer takes, if there was one.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let micros = self.waited_micros.load(Ordering::Relaxed);
        let mean = micros.checked_div(self.waits.load(Ordering::Relaxed))?;
        Some(Duration::from_micros(mean))
    }

    /// A build did not have to wait for one.
    pub(crate) fn spared(&self) {
        self.waits_spared.fetch_add(1, Ordering::Relaxed);
    }

    /// Seconds that builds did not wait, if it is known how long they would have.
    pub(crate) fn seconds_saved(&self) -> Option<f64> {
        let spared = self.waits_spared.load(Ordering::Relaxed);
        Some(self.wait()?.as_secs_f64() * spared as f64)
    }

    /// An answer is not believed, for a reason of the signatures.
    pub(crate) fn disbelieved(&self, why: &str) {
        self.disbelieved.fetch_add(1, Ordering::Relaxed);
        if let Some(held_back) = self.log_disbelieved.now() {
            tracing::warn!(held_back, why, "an answer of the server is not believed");
        }
    }

    /// The server took a signature of this host.
    pub(crate) fn signed(&self) {
        self.signed.fetch_add(1, Ordering::Relaxed);
    }

    /// The server did not answer for so many tasks.
    pub(crate) fn gave_tasks_up(&self, tasks: usize, error: &AskError) {
        self.given_up.fetch_add(tasks as u64, Ordering::Relaxed);
        self.say("look-ups", error);
    }

    /// The server did not answer a request, and the build goes on without.
    pub(crate) fn gave_up(&self, command: &str, error: &AskError) {
        let counter = match error {
            AskError::Told(_) => &self.refused,
            AskError::Closed
            | AskError::Silent(_)
            | AskError::Senseless(_)
            | AskError::Login(_) => &self.silent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.say(command, error);
    }

    fn say(&self, what: &str, error: &AskError) {
        match error {
            AskError::Told(why) => {
                if let Some(held_back) = self.log_refused.now() {
                    tracing::warn!(held_back, "the server refused {what}: {why}");
                }
            }
            AskError::Closed
            | AskError::Silent(_)
            | AskError::Senseless(_)
            | AskError::Login(_) => {
                if let Some(held_back) = self.log_silent.now() {
                    tracing::warn!(
                        held_back,
                        "builds go on without the server: {what}: {error}"
                    );
                }
            }
        }
    }

    /// The state failed, and a build goes on without.
    pub(crate) fn could_not_spool(&self, error: &StateError) {
        self.unspooled.fetch_add(1, Ordering::Relaxed);
        if let Some(held_back) = self.log_spool.now() {
            tracing::warn!(held_back, "reports cannot be kept for the server: {error}");
        }
    }

    /// What is kept of the server's answers could not be brought up to date.
    pub(crate) fn could_not_keep(&self, error: &StateError) {
        if let Some(held_back) = self.log_spool.now() {
            tracing::warn!(held_back, "the server's answers cannot be kept: {error}");
        }
    }

    /// A login was answered without the server's consent.
    pub(crate) fn login_gave_up(&self, error: &ClientError) {
        self.logins.fetch_add(1, Ordering::Relaxed);
        if let Some(held_back) = self.log_login.now() {
            tracing::warn!(held_back, %error, "a build logs in without the server's word");
        }
    }
}
