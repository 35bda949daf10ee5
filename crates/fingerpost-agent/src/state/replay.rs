//! Telling the server what it missed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fingerpost_hashequiv_proto::types::{Task, Unihash};
use futures_util::future::join_all;
use tokio::sync::MutexGuard;

use super::dead_letters::DeadLetter;
use super::error;
use super::spool::{self, Gone, Spooled};
use super::{State, StateError};

/// Reports that are on their way together at most.
const TOGETHER_MAX: usize = 32;

/// Who brings a report to the server. Every wait in there has to end.
pub trait Deliver: Sync {
    /// Brings a report, which may be there already: a crash between the server's
    /// answer and the removal brings it again. Unless it is `alone`, others are on their
    /// way, and what happens to a connection need not be about this one.
    fn deliver(
        &self,
        report: &Spooled,
        alone: bool,
    ) -> impl Future<Output = Result<Delivered, NotDelivered>> + Send;
}

/// The server took a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// What it answered; `report-equiv` may be answered with nothing.
    pub unihash: Option<Unihash>,
}

/// The server did not take a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotDelivered {
    /// It cannot be reached, or does not answer. This report is the next one again.
    Away,
    /// This report has to wait, others need not: the login of who reported is not at
    /// hand, for example. Later ones of its task wait with it.
    Held,
    /// It refuses this report, with these words.
    Refused(String),
}

/// The server's word on a task of which a build was told something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where the task belongs.
    pub namespace: String,
    /// The task.
    pub task: Task,
    /// What the server says of it.
    pub unihash: Unihash,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// What the server said, in the order of the reports. It counts from now on.
    pub words: Vec<Word>,
    /// Reports that it took.
    pub delivered: u64,
    /// Reports that it refused, which are dead letters now.
    pub refused: u64,
    /// Reports that are held.
    pub held: u64,
    /// Whether it is away: try later.
    pub away: bool,
    /// Whether this replay is through with all reports.
    pub done: bool,
}

/// One pass over the reports, oldest first. There is one at a time.
pub struct Replay<'a> {
    state: &'a State,
    /// The last report that it is through with.
    after: i64,
    /// Tasks of which a report is held.
    held: HashSet<(String, Task)>,
    /// Reports that may be on their way together.
    width: usize,
    _alone: MutexGuard<'a, ()>,
}

impl State {
    /// Begins to tell the server what it missed. Waits while somebody else is at it.
    pub async fn replay(&self) -> Replay<'_> {
        Replay {
            state: self,
            after: 0,
            held: HashSet::new(),
            width: 1,
            _alone: self.replaying.lock().await,
        }
    }
}

impl Replay<'_> {
    /// Brings the next reports to the server, a bounded part of them, so that a crash
    /// brings no more than that again. Those whose order decides nothing go together: one
    /// at first, more as long as all goes well. Call it until it is done, or the server away.
    ///
    /// # Errors
    ///
    /// Nothing is removed then, and what was delivered will be so again.
    pub async fn step(&mut self, deliver: &impl Deliver) -> Result<Replayed, StateError> {
        let mut batch = Batch::default();
        let (state, after) = (self.state, self.after);
        if state.index.tally().reports > 0 {
            let reports = state.read(move |conn| spool::next(conn, after)).await?;
            self.deliver(reports, deliver, &mut batch).await;
        }
        let mut replayed = batch.replayed;
        replayed.refused = batch.dead.len() as u64;
        state.bury(batch.gone, batch.dead).await?;
        state
            .counters
            .delivered
            .fetch_add(replayed.delivered, Ordering::Relaxed);
        replayed.done = !replayed.away && batch.last.is_none();
        self.after = batch.last.unwrap_or(self.after);
        if replayed.away || replayed.done {
            let left_over = replayed.away || !self.held.is_empty();
            state.left_over.store(left_over, Ordering::Relaxed);
        }
        Ok(replayed)
    }

    async fn deliver(
        &mut self,
        mut reports: Vec<Spooled>,
        deliver: &impl Deliver,
        batch: &mut Batch,
    ) {
        while !reports.is_empty() && !batch.replayed.away {
            let rest = reports.split_off(together(&reports, self.width));
            let is_alone = reports.len() == 1;
            let held = &self.held;
            let on_their_way = reports.iter().map(|report| async move {
                match held.contains(&(report.namespace.clone(), report.task.clone())) {
                    true => Err(NotDelivered::Held),
                    false => deliver.deliver(report, is_alone).await,
                }
            });
            let outcomes = join_all(on_their_way).await;
            // After those that are held the next one goes alone still: it may be one that the
            // server never answers.
            if outcomes.iter().any(Result::is_ok) {
                self.width = (self.width * 2).min(TOGETHER_MAX);
            }
            for (report, outcome) in reports.into_iter().zip(outcomes) {
                self.note(report, outcome, batch);
            }
            reports = rest;
        }
    }

    fn note(
        &mut self,
        report: Spooled,
        outcome: Result<Delivered, NotDelivered>,
        batch: &mut Batch,
    ) {
        let id = report.id;
        match outcome {
            Ok(delivered) => batch.delivered(report, delivered.unihash),
            Err(NotDelivered::Refused(why)) => {
                batch.gone.push(Gone::new(&report, None));
                batch.dead.push(DeadLetter { report, why });
            }
            Err(NotDelivered::Held) => {
                self.held.insert((report.namespace, report.task));
                batch.replayed.held += 1;
            }
            Err(NotDelivered::Away) => batch.replayed.away = true,
        }
        // The next replay begins with the first that is left.
        if !batch.replayed.away {
            batch.last = Some(id);
        }
    }
}

/// How many of the first reports may be on their way together. The order of those of one
/// task decides, and of those with one output, whose first one has the unihash.
fn together(reports: &[Spooled], most: usize) -> usize {
    let (mut tasks, mut outputs) = (HashSet::new(), HashSet::new());
    let mut count = 0;
    for report in reports.iter().take(most) {
        let (namespace, task) = (&report.namespace, &report.task);
        let output = report.outhash.as_ref();
        let output = output.map(|outhash| (namespace, &task.method, outhash));
        let is_of_its_own =
            tasks.insert((namespace, task)) && output.is_none_or(|output| outputs.insert(output));
        if !is_of_its_own {
            break;
        }
        count += 1;
    }
    count
}

/// What happened to the reports of a step.
#[derive(Default)]
struct Batch {
    replayed: Replayed,
    gone: Vec<Gone>,
    dead: Vec<DeadLetter>,
    /// The last one that something happened to.
    last: Option<i64>,
}

impl Batch {
    fn delivered(&mut self, report: Spooled, unihash: Option<Unihash>) {
        self.gone.push(Gone::new(&report, unihash.clone()));
        self.replayed.words.extend(unihash.map(|unihash| Word {
            namespace: report.namespace,
            task: report.task,
            unihash,
        }));
        self.replayed.delivered += 1;
    }
}

impl State {
    /// Gives up reports that have waited for [`spool_age_max`], when the last replay left
    /// some over: after a long rest the server is asked first. Returns how many.
    ///
    /// [`spool_age_max`]: super::StateOptions::spool_age_max
    pub async fn expire(&self) -> Result<u64, StateError> {
        // Whoever replays finds out whether the server wants them.
        let Ok(_alone) = self.replaying.try_lock() else {
            return Ok(0);
        };
        if !self.left_over.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let age_max = i64::try_from(self.options.spool_age_max.as_micros()).unwrap_or(i64::MAX);
        let before = self.clock.now().minus_micros(age_max);
        let mut expired = 0;
        while self.index.tally().oldest.is_some_and(|at| at < before) {
            let batch = self.read(|conn| spool::next(conn, 0)).await?;
            let old = batch.into_iter().take_while(|report| report.at < before);
            let dead: Vec<_> = old
                .map(|report| DeadLetter {
                    report,
                    why: "the server could not be told for too long".to_owned(),
                })
                .collect();
            let gone = dead.iter().map(|letter| Gone::new(&letter.report, None));
            let (gone, count) = (gone.collect(), dead.len() as u64);
            self.bury(gone, dead).await?;
            expired += count;
        }
        Ok(expired)
    }

    /// Removes reports. Those that are dead are written down before.
    async fn bury(&self, gone: Vec<Gone>, dead: Vec<DeadLetter>) -> Result<(), StateError> {
        if gone.is_empty() {
            return Ok(());
        }
        let count = dead.len() as u64;
        if count > 0 {
            self.write_letters(dead).await?;
        }
        let index = Arc::clone(&self.index);
        self.write(move |tx| spool::remove(tx, &index, &gone))
            .await?;
        self.counters.dead.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    async fn write_letters(&self, dead: Vec<DeadLetter>) -> Result<(), StateError> {
        let (letters, now) = (Arc::clone(&self.dead_letters), self.clock.now());
        let count = dead.len();
        let writing = tokio::task::spawn_blocking(move || letters.append(&dead, now));
        let written = tokio::time::timeout(self.options.patience, writing).await;
        let path = self.dead_letters.path();
        written
            .map_err(|_| StateError::Slow)?
            .map_err(|_| StateError::Closed)?
            .map_err(error::io(path))?;
        tracing::warn!(
            reports = count,
            file = %path.display(),
            "reports that the server does not have are in the file of dead letters"
        );
        Ok(())
    }
}
