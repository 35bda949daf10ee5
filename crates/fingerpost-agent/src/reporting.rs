//! Reports: to the server if it answers, else answered here and brought to it later.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fingerpost_hashequiv_client::AskError;
use fingerpost_hashequiv_proto::client::{Request, UnihashRow, read_answer};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::Shared;
use crate::state::{
    Deliver, Delivered, LocalReport, NotDelivered, ReportKind, Spooled, State, StateError, Task,
    Word,
};

/// All reports are of the one namespace that the server puts the agent's login into.
pub(crate) const NAMESPACE: &str = "";
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
    /// How often the server closed the connection on a report.
    closings: Mutex<HashMap<[u8; 16], u32>>,
    /// Whether the last report was not answered by the server. The replay finds out when
    /// it answers again, so that no build waits for that.
    is_away: AtomicBool,
    /// When the drive did not answer.
    stalled: Mutex<Option<Instant>>,
}

/// A drive that did not answer is left alone for so long.
const STALLED: Duration = Duration::from_secs(30);

/// A report on which the server closes so often lets others go before, and is tried again
/// each time that all others were.
const CLOSINGS_MAX: u32 = 5;
/// One in so many of those times.
const SKIPPED: u32 = 16;
/// Reports that are counted so.
const CLOSINGS_COUNTED: usize = 10_000;

impl Spool {
    pub(crate) fn new(state: Option<State>) -> Self {
        Self {
            state,
            added: Notify::new(),
            closings: Mutex::default(),
            is_away: AtomicBool::new(false),
            stalled: Mutex::default(),
        }
    }

    fn is_stalled(&self) -> bool {
        self.stalled.lock().is_some_and(|at| at.elapsed() < STALLED)
    }

    /// The server closed the connection on a report. It may be about to end, or its
    /// database away; a report that it never answers must not keep the others back.
    fn closed(&self, key: [u8; 16]) -> NotDelivered {
        let mut closings = self.closings.lock();
        if closings.len() >= CLOSINGS_COUNTED {
            closings.clear();
        }
        let count = closings.entry(key).or_default();
        *count += 1;
        match *count > CLOSINGS_MAX {
            true => NotDelivered::Held,
            false => NotDelivered::Away,
        }
    }

    /// Whether a report is passed over this time.
    fn is_skipped(&self, key: [u8; 16]) -> bool {
        let mut closings = self.closings.lock();
        let Some(count) = closings
            .get_mut(&key)
            .filter(|count| **count > CLOSINGS_MAX)
        else {
            return false;
        };
        *count += 1;
        !count.is_multiple_of(SKIPPED)
    }

    pub(crate) const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// What builds were told of tasks whose reports the server has not seen, in order;
    /// nothing at all when there are none.
    pub(crate) fn provisional(
        &self,
        tasks: &[crate::server::Task],
    ) -> Option<Vec<Option<Unihash>>> {
        let state = self.state.as_ref().filter(|state| state.is_provisional())?;
        let tasks: Vec<Task> = tasks
            .iter()
            .map(|task| task_of(&task.method, &task.taskhash))
            .collect();
        Some(state.provisional(NAMESPACE, &tasks))
    }
}

pub(crate) fn task_of(method: &str, taskhash: &str) -> Task {
    Task {
        method: Method::new(method),
        taskhash: Taskhash::parse(taskhash),
    }
}

impl Shared {
    /// The JSON of what a build is told of its report.
    pub(crate) async fn report(
        &self,
        kind: ReportKind,
        reported: &Reported,
        proposed: Unihash,
        argument: &str,
    ) -> Result<String, AskError> {
        let task = task_of(&reported.method, &reported.taskhash);
        let spool = self.spool.state();
        // The order of the reports of a task is kept. And a report that the server did not
        // answer is brought to it before another one may wait for it.
        let comes_after = spool.is_some_and(|state| {
            self.spool.is_away.load(Ordering::Relaxed) || state.has_spooled(NAMESPACE, &task)
        });
        if !comes_after {
            let request = Request::verbatim(kind.as_str(), argument);
            match self.server.report(request).await {
                Ok(json) if self.hear_of(kind, reported, &json) => {
                    self.figures.reports.fetch_add(1, Ordering::Relaxed);
                    return Ok(json);
                }
                Ok(_) => {
                    let odd = AskError::senseless("the answer is none to the report");
                    self.figures.gave_up(kind.as_str(), &odd);
                }
                Err(told @ AskError::Told(_)) => return Err(told),
                Err(silent) => self.figures.gave_up(kind.as_str(), &silent),
            }
        }
        let unihash = self.settle(kind, reported, task, proposed, argument).await;
        let row = serde_json::json!({
            "taskhash": reported.taskhash,
            "method": reported.method,
            "unihash": unihash.to_text(),
        });
        Ok(row.to_string())
    }

    /// Takes the server's answer to a report, if it is one: what is not would end a build, or
    /// give a task the unihash of another.
    fn hear_of(&self, kind: ReportKind, reported: &Reported, json: &str) -> bool {
        let row = match read_answer::<Option<UnihashRow>>(json) {
            Ok(Some(row)) => row,
            Ok(None) => return kind == ReportKind::ReportEquiv,
            Err(_) => return false,
        };
        let is_of_it = row.method.as_str() == reported.method
            && row.taskhash == Taskhash::parse(&reported.taskhash)
            && row.unihash.is_valid();
        if is_of_it {
            let task = crate::server::Task {
                method: reported.method.clone(),
                taskhash: reported.taskhash.clone(),
            };
            self.remember(&task, Some(&row.unihash));
        }
        is_of_it
    }

    /// Answers in the server's place. What cannot be kept for it is answered with what the
    /// report proposes.
    async fn settle(
        &self,
        kind: ReportKind,
        reported: &Reported,
        task: Task,
        proposed: Unihash,
        argument: &str,
    ) -> Unihash {
        let Some(state) = self.spool.state().filter(|_| !self.spool.is_stalled()) else {
            self.figures.unspooled.fetch_add(1, Ordering::Relaxed);
            return proposed;
        };
        let known = self.remembered(&reported.method, &reported.taskhash);
        let report = LocalReport {
            kind,
            namespace: NAMESPACE.to_owned(),
            task,
            outhash: reported.outhash.as_deref().map(Outhash::parse),
            proposed: proposed.clone(),
            request: argument.to_owned(),
            user: None,
        };
        match state.settle(report, known).await {
            Ok(answer) => {
                if !answer.spooled {
                    self.figures.unspooled.fetch_add(1, Ordering::Relaxed);
                }
                self.spool.is_away.store(true, Ordering::Relaxed);
                self.spool.added.notify_one();
                answer.unihash
            }
            Err(error) => {
                if matches!(error, StateError::Slow) {
                    *self.spool.stalled.lock() = Some(Instant::now());
                }
                self.figures.could_not_spool(&error);
                proposed
            }
        }
    }

    /// The server's word on a task that this host answered before.
    fn hear(&self, word: Word) {
        let text = word.task.taskhash.to_text();
        let task = crate::server::Task {
            method: word.task.method.as_str().to_owned(),
            taskhash: text,
        };
        self.remember(&task, Some(&word.unihash));
    }
}

impl Deliver for Shared {
    async fn deliver(&self, report: &Spooled) -> Result<Delivered, NotDelivered> {
        if self.spool.is_skipped(report.key) {
            return Err(NotDelivered::Held);
        }
        let request = Request::<Box<RawValue>>::verbatim(report.kind.as_str(), &report.request);
        match self.server.report(request).await {
            Ok(json) => {
                self.spool.closings.lock().remove(&report.key);
                let row = read_answer::<Option<UnihashRow>>(&json);
                let row = row.map_err(|_| NotDelivered::Away)?;
                let unihash = row.map(|row| row.unihash);
                Ok(Delivered { unihash })
            }
            Err(AskError::Told(why)) => Err(NotDelivered::Refused(why)),
            Err(AskError::Closed) => Err(self.spool.closed(report.key)),
            Err(AskError::Silent(_)) => Err(NotDelivered::Away),
        }
    }
}

/// Brings to the server what it missed, and tends the state, until the agent ends.
pub(crate) async fn replay(agent: Weak<Shared>) {
    let mut pause = PAUSE_MIN;
    loop {
        let Some(shared) = agent.upgrade() else {
            return;
        };
        let Some(state) = shared.spool.state() else {
            return;
        };
        match replay_all(&shared, state).await {
            // Those that are held are not tried all the time.
            Ok(true) => {
                shared.spool.is_away.store(false, Ordering::Relaxed);
                pause = match state.figures().spooled_reports {
                    0 => PAUSE_MIN,
                    _ => PAUSE_MAX,
                };
            }
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
        drop(shared);
        sleep(pause).await;
    }
}

/// Whether everything was brought to it that can be.
async fn replay_all(shared: &Arc<Shared>, state: &State) -> Result<bool, StateError> {
    let mut replay = state.replay().await;
    loop {
        let replayed = replay.step(&**shared).await?;
        for word in replayed.words {
            shared.hear(word);
        }
        if replayed.away || replayed.done {
            return Ok(!replayed.away);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_is_never_answered_lets_others_go_before() {
        let spool = Spool::new(None);
        let (bad, good) = ([1; 16], [2; 16]);
        for _ in 0..CLOSINGS_MAX {
            assert_eq!(spool.closed(bad), NotDelivered::Away);
            assert!(!spool.is_skipped(bad));
        }
        assert_eq!(spool.closed(bad), NotDelivered::Held);
        let tries = (0..4 * SKIPPED).filter(|_| !spool.is_skipped(bad)).count();
        assert_eq!(tries, 4);
        assert!(!spool.is_skipped(good));
        assert_eq!(spool.closed(good), NotDelivered::Away);
    }
}
