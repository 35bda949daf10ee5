//! What the tests of the state have in common.

mod agreement;
mod damage;
mod knowing;
mod power;
mod replaying;
mod settling;

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{ManualClock, Timestamp};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Task, Taskhash, Unihash};
use fingerpost_testkit::hash;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::json;
use tempfile::TempDir;

use super::*;

pub(crate) const METHOD: &str = "TestMethod";

/// A state directory and the clock of whoever uses it.
pub(super) struct Host {
    pub(super) directory: TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) options: StateOptions,
}

impl Host {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StateOptions {
            // The machine may be busy.
            patience: Duration::from_secs(60),
            ..StateOptions::new(directory.path().join("state"))
        };
        Self {
            directory,
            clock: Arc::new(ManualClock::new(Timestamp(1_700_000_000_000_000))),
            options,
        }
    }

    pub(super) async fn try_open(&self) -> Result<State, StateError> {
        State::open(self.options.clone(), self.clock.clone()).await
    }

    pub(super) async fn open(&self) -> State {
        self.try_open().await.unwrap()
    }

    /// What the file of this name has.
    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.options.directory.join(name)).unwrap_or_default()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.directory.join(name).exists()
    }
}

/// Keeps the writer from all other work until this is dropped.
pub(crate) fn busy(state: &State) -> std::sync::mpsc::SyncSender<()> {
    let (until, ended) = std::sync::mpsc::sync_channel(0);
    let job = state.db.write(move |_| {
        _ = ended.recv();
        Ok(())
    });
    assert!(job.now_or_never().is_none());
    until
}

pub(crate) fn task(number: u64) -> Task {
    Task::parse(METHOD, &hash(1, number))
}

pub(crate) fn unihash(number: u64) -> Unihash {
    Unihash::parse(&hash(1, number))
}

/// The report of a task that would like to be its own unihash.
pub(super) fn report(number: u64, output: u64) -> LocalReport {
    proposing(number, output, number)
}

pub(super) fn proposing(number: u64, output: u64, proposed: u64) -> LocalReport {
    let (taskhash, outhash, proposed) = (hash(1, number), hash(2, output), hash(1, proposed));
    LocalReport {
        kind: ReportKind::Report,
        namespace: String::new(),
        task: task(number),
        outhash: Some(Outhash::parse(&outhash)),
        proposed: Unihash::parse(&proposed),
        request: json!({
            "method": METHOD, "taskhash": taskhash, "outhash": outhash, "unihash": proposed,
        })
        .to_string(),
        profile: None,
        user: None,
    }
}

pub(super) fn equiv(number: u64, proposed: u64) -> LocalReport {
    let (taskhash, proposed) = (hash(1, number), hash(1, proposed));
    LocalReport {
        kind: ReportKind::ReportEquiv,
        outhash: None,
        proposed: Unihash::parse(&proposed),
        request: json!({"method": METHOD, "taskhash": taskhash, "unihash": proposed}).to_string(),
        ..report(number, 0)
    }
}

/// Settles a report that has to be spooled; gives the unihash.
pub(super) async fn settle(state: &State, report: LocalReport) -> Unihash {
    let answer = state.settle(report, None).await.unwrap();
    assert!(answer.spooled);
    answer.unihash
}

/// What the task is taken for here.
pub(super) fn told(state: &State, number: u64) -> Option<Unihash> {
    state.provisional("", &[task(number)]).remove(0)
}

/// A server in one function, which notes the requests that it took.
pub(super) struct Server<F> {
    answer: F,
    taken: Mutex<Vec<String>>,
}

impl<F> Server<F>
where
    F: Fn(&Spooled) -> Result<Option<Unihash>, NotDelivered> + Sync,
{
    pub(super) fn new(answer: F) -> Self {
        Self {
            answer,
            taken: Mutex::default(),
        }
    }

    pub(super) fn taken(&self) -> Vec<String> {
        self.taken.lock().clone()
    }
}

impl<F> Deliver for Server<F>
where
    F: Fn(&Spooled) -> Result<Option<Unihash>, NotDelivered> + Sync,
{
    async fn deliver(&self, report: &Spooled, _: bool) -> Result<Delivered, NotDelivered> {
        let unihash = (self.answer)(report)?;
        self.taken.lock().push(report.request.clone());
        Ok(Delivered { unihash })
    }
}

/// Brings all reports to `deliver`, or as many as it takes; gives what became of them.
pub(super) async fn replay(state: &State, deliver: &impl Deliver) -> Replayed {
    try_replay(state, deliver).await.unwrap()
}

pub(super) async fn try_replay(
    state: &State,
    deliver: &impl Deliver,
) -> Result<Replayed, StateError> {
    let mut replay = state.replay().await;
    let mut all = Replayed::default();
    while !all.away && !all.done {
        let step = replay.step(deliver).await?;
        all.words.extend(step.words);
        all.delivered += step.delivered;
        all.refused += step.refused;
        all.held += step.held;
        (all.away, all.done) = (step.away, step.done);
    }
    Ok(all)
}

/// Reports that wait.
pub(super) fn waiting(state: &State) -> u64 {
    state.figures().spooled_reports
}

/// Takes everything, and tells each task that it is unihash 7.
pub(super) fn seven(_: &Spooled) -> Result<Option<Unihash>, NotDelivered> {
    Ok(Some(unihash(7)))
}

pub(super) fn away(_: &Spooled) -> Result<Option<Unihash>, NotDelivered> {
    Err(NotDelivered::Away)
}

pub(super) fn refusing(_: &Spooled) -> Result<Option<Unihash>, NotDelivered> {
    Err(NotDelivered::Refused("Permission denied".to_owned()))
}
