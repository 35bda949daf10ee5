//! Reports: to the server if it answers, else answered here and brought to it later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fingerpost_hashequiv_client::AskError;
use fingerpost_hashequiv_client::http::Said;
use fingerpost_hashequiv_proto::client::{UnihashRow, read_answer};
use fingerpost_hashequiv_proto::types::{Outhash, Task, Taskhash, Unihash};
use fingerpost_signatures::Trust;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::knowledge::Whose;
use crate::namespaces::Namespaces;
use crate::profiles::Profile;
use crate::server::{Server, namespace_of};
use crate::shared::Shared;
use crate::state::{
    Deliver, Delivered, LocalReport, NotDelivered, ReportKind, Spooled, State, StateError, Word,
};
use crate::suspects::Suspects;

/// How often the state is tended, and how long the first and the longest pause are before
/// a server that was away is tried again.
const TEND_EVERY: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What decides about a report. Everything else in it is for the server.
#[derive(Deserialize)]
pub(crate) struct Reported {
    pub(crate) method: String,
    pub(crate) taskhash: String,
    #[serde(default)]
    pub(crate) outhash: Option<String>,
    pub(crate) unihash: String,
}

/// What is kept for the server, and who is woken when there is something.
pub(crate) struct Spool {
    /// None: the directory cannot be used, and nothing is kept.
    state: Option<State>,
    added: Notify,
    /// Reports that fail.
    suspects: Suspects,
    /// Whether the last report was not answered by the server. The replay finds out when
    /// it answers again, so that no build waits for that.
    is_away: AtomicBool,
    /// When the drive did not answer.
    stalled: Mutex<Option<Instant>>,
}

/// A drive that did not answer is left alone for so long.
const STALLED: Duration = Duration::from_secs(30);

impl Spool {
    pub(crate) fn new(state: Option<State>) -> Self {
        Self {
            state,
            added: Notify::new(),
            suspects: Suspects::default(),
            is_away: AtomicBool::new(false),
            stalled: Mutex::default(),
        }
    }

    fn is_stalled(&self) -> bool {
        self.stalled.lock().is_some_and(|at| at.elapsed() < STALLED)
    }

    /// Why a report was not delivered. `is_own`: with the agent's own login; `alone`: no other
    /// one was on its way.
    fn not_delivered(
        &self,
        error: AskError,
        key: [u8; 16],
        is_own: bool,
        alone: bool,
    ) -> NotDelivered {
        match error {
            AskError::Told(why) => NotDelivered::Refused(why),
            // Other users' logins may be good, and this one's next one.
            AskError::Login(_) if !is_own => NotDelivered::Held,
            AskError::Login(_) => NotDelivered::Away,
            AskError::Closed | AskError::Senseless(_) | AskError::Silent(_) if alone => {
                self.suspects.failed(key, &error.to_string())
            }
            AskError::Closed | AskError::Senseless(_) | AskError::Silent(_) => NotDelivered::Away,
        }
    }

    pub(crate) const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// What builds were told of tasks whose reports the server has not seen, in order;
    /// nothing at all when there are none.
    pub(crate) fn provisional(
        &self,
        namespace: &str,
        tasks: &[Task],
    ) -> Option<Vec<Option<Unihash>>> {
        let state = self.state.as_ref().filter(|state| state.is_provisional())?;
        Some(state.provisional(namespace, tasks))
    }
}

/// A report of a build.
pub(crate) struct Reporting<'a> {
    pub(crate) kind: ReportKind,
    pub(crate) reported: &'a Reported,
    /// The unihash that it would like, which is valid.
    pub(crate) proposed: Unihash,
    /// The argument of the command, as it has to be forwarded.
    pub(crate) argument: &'a str,
    /// The profile of the build.
    pub(crate) profile: &'a Profile,
    /// Whom it goes to.
    pub(crate) server: &'a Arc<Server>,
    /// The account that it is reported as, if it is not the agent's.
    pub(crate) user: Option<String>,
}

impl Shared {
    /// The JSON of what a build is told of its report.
    pub(crate) async fn report(
        self: &Arc<Self>,
        reporting: Reporting<'_>,
    ) -> Result<String, AskError> {
        let (kind, reported) = (reporting.kind, reporting.reported);
        let task = Task::parse(&reported.method, &reported.taskhash);
        let spool = self.spool.state();
        let scope = reporting.server.scope(&self.namespace);
        // The order of the reports of a task is kept. And a report that the server did not
        // answer is brought to it before another one may wait for it.
        let comes_after = spool.is_some_and(|state| {
            self.spool.is_away.load(Ordering::Relaxed)
                || reporting.server.waits_for_login()
                || state.has_spooled(&scope, &task)
        });
        let mut is_away = false;
        if !comes_after {
            let (judge, signs) = (self.trust.now(), reporting.profile.signs);
            let told = self.tell(reporting.server, kind, reporting.argument, signs);
            match told.await {
                Ok(said) if self.hear_of(&reporting, judge.as_ref(), &said) => {
                    self.figures.reports.fetch_add(1, Ordering::Relaxed);
                    self.spool.suspects.passed();
                    return Ok(said.value);
                }
                Ok(_) => {
                    let odd = AskError::senseless("the answer is none to the report");
                    self.figures.gave_up(kind.as_str(), &odd);
                    is_away = true;
                }
                Err(told @ AskError::Told(_)) => return Err(told),
                // Nobody was to be let in.
                Err(AskError::Login(why)) if !reporting.server.shows_login() => {
                    return Err(AskError::Told(why));
                }
                Err(error) => {
                    self.figures.gave_up(kind.as_str(), &error);
                    // The login of one user says nothing of the others'.
                    is_away = self.asks_as_itself() || !matches!(error, AskError::Login(_));
                }
            }
        }
        let unihash = self.settle(&reporting, task, is_away).await;
        let row = serde_json::json!({
            "taskhash": reported.taskhash,
            "method": reported.method,
            "unihash": unihash.to_text(),
        });
        Ok(row.to_string())
    }

    /// Takes the server's answer to a report, if it is one: what is not would end a build, or
    /// give a task the unihash of another.
    fn hear_of(
        &self,
        reporting: &Reporting<'_>,
        judge: Option<&Arc<Trust>>,
        said: &Said<String>,
    ) -> bool {
        let (kind, reported) = (reporting.kind, reporting.reported);
        let row = match read_answer::<Option<UnihashRow>>(&said.value) {
            Ok(Some(row)) => row,
            Ok(None) => return kind == ReportKind::ReportEquiv,
            Err(_) => return false,
        };
        let is_of_it = row.method.as_str() == reported.method
            && row.taskhash == Taskhash::parse(&reported.taskhash)
            && row.unihash.is_valid();
        if is_of_it {
            let task = Task::parse(&reported.method, &reported.taskhash);
            let server = reporting.server;
            server.learn(said.epoch, self.knowledge.heard());
            let told = [(&task, Some(&row.unihash))];
            self.trust.while_judged_by(judge, || {
                self.remember(server.whose(), said.epoch, told);
            });
        }
        is_of_it
    }

    /// Answers in the server's place, by what this host knows. What cannot be kept for the
    /// server is answered with what the report proposes. `is_away`: the server was asked, and
    /// others need not try.
    async fn settle(&self, reporting: &Reporting<'_>, task: Task, is_away: bool) -> Unihash {
        let proposed = || reporting.proposed.clone();
        let Some(state) = self.spool.state().filter(|_| !self.spool.is_stalled()) else {
            self.figures.unspooled.fetch_add(1, Ordering::Relaxed);
            return proposed();
        };
        let reported = reporting.reported;
        let server = reporting.server;
        let known = self.known_here(server.whose(), &reported.method, &reported.taskhash);
        let known = known.await;
        let report = LocalReport {
            kind: reporting.kind,
            namespace: server.scope(&self.namespace).into_owned(),
            task,
            outhash: reported.outhash.as_deref().map(Outhash::parse),
            proposed: proposed(),
            request: reporting.argument.to_owned(),
            profile: Some(reporting.profile.name.clone()),
            user: reporting.user.clone(),
        };
        match state.settle(report, known).await {
            Ok(answer) => {
                if !answer.spooled {
                    self.figures.unspooled.fetch_add(1, Ordering::Relaxed);
                }
                if is_away {
                    self.spool.is_away.store(true, Ordering::Relaxed);
                }
                self.spool.added.notify_one();
                answer.unihash
            }
            Err(error) => {
                if matches!(error, StateError::Slow) {
                    *self.spool.stalled.lock() = Some(Instant::now());
                }
                self.figures.could_not_spool(&error);
                proposed()
            }
        }
    }

    /// The server's word on a task that this host answered before.
    fn hear(&self, word: &Word) {
        let told = [(&word.task, Some(&word.unihash))];
        self.remember(Whose::EVERYBODYS, None, told);
    }
}

impl Deliver for Namespaces {
    async fn deliver(&self, report: &Spooled, alone: bool) -> Result<Delivered, NotDelivered> {
        let spool = &self.first.spool;
        // One that may take the connection with it goes alone, or lets others go before.
        if spool.suspects.is_skipped(report.key, alone) {
            return Err(NotDelivered::Held);
        }
        // One whose namespace is not asked any more waits until it is, or is too old.
        let (namespace, _) = namespace_of(&report.namespace);
        let shared = self.find(namespace).ok_or(NotDelivered::Held)?;
        let profile = report.profile.as_deref().unwrap_or_default();
        let signs = self.profiles.signs(profile);
        // The token of who reported is in no file: it waits until that user logs in again.
        let server = shared.server_of(report.user.as_deref());
        let server = server.ok_or(NotDelivered::Held)?;
        let is_own = shared.asks_as_itself();
        if server.standing().is_resting(Instant::now()) {
            return Err(match is_own {
                true => NotDelivered::Away,
                false => NotDelivered::Held,
            });
        }
        let was_up = server.takes_reports();
        let told = shared
            .tell(&server, report.kind, &report.request, signs)
            .await;
        let row = told.and_then(|said| {
            read_answer::<Option<UnihashRow>>(&said.value)
                .map_err(|error| AskError::senseless(error.to_string()))
        });
        match row {
            Ok(row) => {
                spool.suspects.delivered(report.key);
                let unihash = row.map(|row| row.unihash);
                Ok(Delivered { unihash })
            }
            Err(error) => {
                // Of one that was not sent, or came to a server that is away, nothing is known.
                let alone = alone && was_up && server.answers();
                Err(spool.not_delivered(error, report.key, is_own, alone))
            }
        }
    }
}

/// Brings to the server what it missed, and tends the state, until the agent ends.
pub(crate) async fn replay(agent: Weak<Namespaces>) {
    let mut pause = PAUSE_MIN;
    loop {
        let Some(namespaces) = agent.upgrade() else {
            return;
        };
        let shared = Arc::clone(&namespaces.first);
        let Some(state) = shared.spool.state() else {
            return;
        };
        match replay_all(&namespaces, state).await {
            // Those that are held are not tried all the time.
            Ok(true) => {
                shared.spool.is_away.store(false, Ordering::Relaxed);
                pause = match state.figures().spooled_reports {
                    0 => PAUSE_MIN,
                    _ => PAUSE_MAX,
                };
            }
            // Nobody is asked while it is known to be away: it is looked at soon again.
            Ok(false) if !shared.server.takes_reports() => pause = 2 * PAUSE_MIN,
            Ok(false) => pause = (pause * 2).min(PAUSE_MAX),
            Err(error) => {
                shared.figures.could_not_spool(&error);
                pause = PAUSE_MAX;
            }
        }
        if let Err(error) = state.tend().await {
            shared.figures.could_not_spool(&error);
        }
        let is_empty = state.figures().spooled_reports == 0;
        if is_empty {
            // Who adds wakes us; otherwise the state is tended now and then.
            _ = timeout(TEND_EVERY, shared.spool.added.notified()).await;
        }
        drop((shared, namespaces));
        sleep(pause).await;
    }
}

/// Whether everything was brought to it that can be.
async fn replay_all(namespaces: &Namespaces, state: &State) -> Result<bool, StateError> {
    let mut replay = state.replay().await;
    loop {
        let replayed = replay.step(namespaces).await?;
        for word in &replayed.words {
            // What one user is told is asked for again.
            let (namespace, is_everybodys) = namespace_of(&word.namespace);
            let shared = namespaces.find(namespace).filter(|_| is_everybodys);
            if let Some(shared) = shared {
                shared.hear(word);
            }
        }
        if replayed.away || replayed.done {
            return Ok(!replayed.away);
        }
        // It answers again: what builds report from now on need not wait behind all others.
        if replayed.delivered > 0 {
            namespaces
                .first
                .spool
                .is_away
                .store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_outlives_what_is_wrong_with_others() {
        let check = |error: AskError, is_own, alone, expect| {
            let spool = Spool::new(None);
            let mut outcome = None;
            for _ in 0..10 {
                outcome = Some(spool.not_delivered(error.clone(), [1; 16], is_own, alone));
            }
            assert_eq!(outcome, Some(expect), "{error}");
        };
        let refused = || AskError::Login("Unauthorized".to_owned());
        check(refused(), true, true, NotDelivered::Away);
        check(refused(), false, true, NotDelivered::Held);
        let why = || "Invalid unihash".to_owned();
        let told = NotDelivered::Refused(why());
        check(AskError::Told(why()), true, true, told);
        for error in [AskError::Closed, AskError::late(), AskError::senseless("x")] {
            check(error.clone(), true, true, NotDelivered::Held);
            // Of several that were on their way any may be the bad one.
            check(error, true, false, NotDelivered::Away);
        }
    }
}
