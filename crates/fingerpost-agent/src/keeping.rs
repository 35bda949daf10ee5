//! What the server said and is kept on this host: its snapshot with the changes since, and
//! single answers.
//!
//! Both are worth something only as long as the agent hears of what the server deletes, so
//! there is nothing of it where nobody [follows](crate::following) a namespace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fingerpost_core::{Clock as _, SystemClock, Timestamp};
use fingerpost_hashequiv_client::http::DeletionEpoch;
use fingerpost_hashequiv_proto::types::{Task, Taskhash, Unihash};
use fingerpost_signatures::Trust;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::figures::Figures;
use crate::following::{Followed, Found, Heard};
use crate::knowledge::{Knowledge, Whose};
use crate::lookup::{Batch, Word};
use crate::namespaces::Namespaces;
use crate::reporting::Spool;
use crate::shared::Shared;
use crate::state::{State, StateError};

/// Longest wait for what is on disk. A drive that is busy with a build's output answers
/// late, and the server is asked instead.
const FILES_MAX: Duration = Duration::from_millis(300);
/// A drive that answered late is left alone for so long while the server answers.
const LATE_REST: Duration = Duration::from_secs(5);
/// Batches that are looked up in those files at a time. Where a drive hangs no more than these
/// hang with it.
const FILES_READ: usize = 64;
/// Rest after the store could not be told what was deleted.
const RETRY: Duration = Duration::from_secs(5);
/// Deletions that may wait to be told to the store; with more it forgets everything.
const UNTOLD_MAX: usize = 100_000;
/// How often somebody looks whether the agent has ended.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who hears of changes of a namespace, and tells memory at once and the store soon.
pub(crate) struct Listener {
    namespace: String,
    judge: Mutex<Judge>,
    knowledge: Arc<Knowledge>,
    spool: Arc<Spool>,
    untold: Mutex<Untold>,
    told: Notify,
    /// Held by whoever tells the store: there is an order.
    telling: tokio::sync::Mutex<()>,
    /// Whether the store has heard of everything.
    is_settled: AtomicBool,
}

/// By what answers are judged.
#[derive(Clone)]
struct Judge {
    name: String,
    /// Whether the store knows it.
    is_known: bool,
}

/// What the store has not heard yet.
#[derive(Default)]
struct Untold {
    all_gone: bool,
    epoch: Option<DeletionEpoch>,
    deleted: Vec<Task>,
}

impl Untold {
    fn delete(&mut self, task: Task) {
        if self.deleted.len() >= UNTOLD_MAX {
            self.forget_all();
        }
        // What is gone anyway need not be deleted.
        if !self.all_gone {
            self.deleted.push(task);
        }
    }

    fn put_back(&mut self, before: Self) {
        self.epoch = self.epoch.or(before.epoch);
        if before.all_gone {
            self.forget_all();
        }
        for task in before.deleted {
            self.delete(task);
        }
    }

    fn forget_all(&mut self) {
        self.all_gone = true;
        self.deleted = Vec::new();
    }
}

/// What the store is being told. If that fails, or whoever waits for it leaves, it is told again.
struct HalfTold<'a> {
    untold: &'a Mutex<Untold>,
    half: Untold,
}

impl<'a> HalfTold<'a> {
    fn take(untold: &'a Mutex<Untold>) -> Self {
        let half = std::mem::take(&mut *untold.lock());
        Self { untold, half }
    }

    /// The store has heard of all of it.
    fn done(mut self) {
        self.half = Untold::default();
    }
}

impl Drop for HalfTold<'_> {
    fn drop(&mut self) {
        let half = std::mem::take(&mut self.half);
        self.untold.lock().put_back(half);
    }
}

impl Listener {
    pub(crate) fn new(
        namespace: String,
        judge: String,
        knowledge: Arc<Knowledge>,
        spool: Arc<Spool>,
    ) -> Self {
        let told = Notify::new();
        // Until the store knows who judges it is not asked.
        told.notify_one();
        Self {
            namespace,
            judge: Mutex::new(Judge {
                name: judge,
                is_known: false,
            }),
            knowledge,
            spool,
            untold: Mutex::default(),
            told,
            telling: tokio::sync::Mutex::default(),
            is_settled: AtomicBool::new(false),
        }
    }

    /// From now on answers are judged by this: what was judged otherwise is forgotten.
    pub(crate) fn is_judged_by(&self, name: String) {
        *self.judge.lock() = Judge {
            name,
            is_known: false,
        };
        self.note(Untold::forget_all);
    }

    fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::SeqCst)
    }

    fn note(&self, add: impl FnOnce(&mut Untold)) {
        let mut untold = self.untold.lock();
        self.is_settled.store(false, Ordering::SeqCst);
        add(&mut untold);
        drop(untold);
        self.told.notify_one();
    }

    /// Tells the store soon after there is something to tell, until the agent ends.
    pub(crate) async fn settle_all(self: Arc<Self>, agent: Weak<Figures>) {
        loop {
            _ = timeout(LOOK_EVERY, self.told.notified()).await;
            let Some(figures) = agent.upgrade() else {
                return;
            };
            if self.is_settled() {
                continue;
            }
            if let Err(error) = self.tell().await {
                figures.could_not_keep(&error);
                drop(figures);
                sleep(RETRY).await;
            }
        }
    }

    async fn tell(&self) -> Result<(), StateError> {
        let _alone = self.telling.lock().await;
        let Some(state) = self.spool.state() else {
            return Ok(());
        };
        let telling = HalfTold::take(&self.untold);
        self.tell_state(state, &telling.half).await?;
        telling.done();
        let now = self.untold.lock();
        let nothing_left = !now.all_gone && now.epoch.is_none() && now.deleted.is_empty();
        let is_settled = nothing_left && self.judge.lock().is_known;
        self.is_settled.store(is_settled, Ordering::SeqCst);
        Ok(())
    }

    async fn tell_state(&self, state: &State, untold: &Untold) -> Result<(), StateError> {
        let judge = self.judge.lock().clone();
        if !judge.is_known {
            state.judge(&self.namespace, &judge.name).await?;
            let mut now = self.judge.lock();
            now.is_known = now.name == judge.name;
        }
        if untold.all_gone {
            state.forget_all(&self.namespace).await?;
        }
        if let Some(epoch) = untold.epoch.or_else(|| self.knowledge.heard()) {
            let namespace = &self.namespace;
            let deleted = untold.deleted.clone();
            state.set_epoch(namespace, epoch, deleted).await?;
        }
        Ok(())
    }
}

impl Heard for Listener {
    fn moved(&self, epoch: DeletionEpoch) {
        self.knowledge.moved(epoch);
        self.note(|untold| untold.epoch = Some(epoch));
    }

    fn changed(&self, method: &str, taskhash: &[u8; 32], unihash: Option<[u8; 32]>) {
        self.knowledge.forget(method, taskhash);
        if unihash.is_none() {
            let task = Task {
                method: method.into(),
                taskhash: Taskhash::from_bytes(*taskhash),
            };
            self.note(|untold| untold.delete(task));
        }
    }

    fn all_gone(&self) {
        self.knowledge.forget_all();
        self.note(Untold::forget_all);
    }

    async fn settle(&self) -> bool {
        self.tell().await.is_ok() && (self.is_settled() || self.spool.state().is_none())
    }
}

/// What is kept of a namespace.
pub(crate) struct Kept {
    /// Its snapshot with the changes since.
    pub(crate) followed: Followed,
    /// Who hears of changes, for memory and the store.
    pub(crate) listener: Arc<Listener>,
    /// Places of those who read its files.
    reading: Arc<Semaphore>,
    /// When the drive was late last.
    late: Mutex<Option<Instant>>,
}

impl Kept {
    pub(crate) fn new(followed: Followed, listener: Arc<Listener>) -> Self {
        Self {
            followed,
            listener,
            reading: Arc::new(Semaphore::new(FILES_READ)),
            late: Mutex::default(),
        }
    }

    /// Whether the drive was late a moment ago: whoever has a server to ask need not wait for it.
    fn is_late(&self) -> bool {
        self.late
            .lock()
            .is_some_and(|late| late.elapsed() < LATE_REST)
    }

    /// What is read from disk, if it comes in time.
    async fn in_time<T>(&self, reading: impl Future<Output = Option<T>>) -> Option<T> {
        let read = timeout(FILES_MAX, reading).await;
        if read.is_err() {
            *self.late.lock() = Some(Instant::now());
        }
        read.ok().flatten()
    }

    /// What the snapshot and the changes since say. Files are read: not on the runtime's threads.
    async fn in_snapshot(&self, tasks: Vec<Task>) -> Vec<Word> {
        let count = tasks.len();
        let (followed, reading) = (self.followed.clone(), Arc::clone(&self.reading));
        let find = move |task: &Task| match followed
            .lookup(task.method.as_str(), task.taskhash.as_bytes()?)
        {
            Found::Unihash(unihash) => Some(Some(Unihash::from_bytes(unihash))),
            Found::Unknown => Some(None),
            Found::Nothing => None,
        };
        let looking = async move {
            let place = reading.acquire_owned().await.ok()?;
            let look_up = move || {
                let words = tasks.iter().map(find).collect();
                drop(place);
                words
            };
            spawn_blocking(look_up).await.ok()
        };
        let words = self.in_time(looking).await;
        words.unwrap_or_else(|| vec![None; count])
    }
}

impl Shared {
    /// Whether the agent has heard of what the server deleted up to a moment ago.
    pub(crate) fn is_current(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| kept.followed.is_current())
    }

    /// Looks into the snapshot, then at answers of before; at nothing while the drive is late, if
    /// somebody `else_answers`.
    pub(crate) async fn look_at_what_is_kept(&self, batch: &mut Batch, else_answers: bool) {
        let Some(kept) = &self.kept else {
            return;
        };
        if else_answers && kept.is_late() {
            return;
        }
        let judge = self.trust.now();
        let heard = self.knowledge.heard();
        let is_current = kept.followed.is_current();
        // What is known up to here is worth remembering; what may be old is looked at again.
        let of = heard.filter(|_| is_current);
        let asked = batch.open();
        let words = kept.in_snapshot(asked.clone()).await;
        self.take((&judge, of), &asked, &words);
        batch.by.snapshot += batch.say(words);
        if !batch.is_answered() {
            let asked = batch.open();
            // What is heard of, the store has to have heard of too.
            let words = match kept.listener.is_settled() {
                true => self.in_store(kept, &asked, is_current).await,
                false => vec![None; asked.len()],
            };
            self.take((&judge, of), &asked, &words);
            batch.by.store += batch.say(words);
        }
    }

    fn take(
        &self,
        (judge, of): (&Option<Arc<Trust>>, Option<DeletionEpoch>),
        asked: &[Task],
        words: &[Word],
    ) {
        if of.is_some() {
            let pairs = asked.iter().zip(words);
            let answers = pairs.filter_map(|(task, word)| Some((task, word.as_ref()?.as_ref())));
            self.trust.while_judged_by(judge.as_ref(), || {
                self.remember(Whose::EVERYBODYS, of, answers);
            });
        }
    }

    /// The unihash that this host has for a task, old or not, for whom the server is asked as.
    pub(crate) async fn known_here(
        &self,
        whose: Whose,
        method: &str,
        taskhash: &str,
    ) -> Option<Unihash> {
        let remembered = self.remembered(whose, method, taskhash);
        if remembered.is_some() || whose != Whose::EVERYBODYS {
            return remembered;
        }
        let mut batch = Batch::new(vec![Task::parse(method, taskhash)]);
        self.look_at_what_is_kept(&mut batch, false).await;
        batch.words().pop().flatten().flatten()
    }

    /// What the server answered before, and did not delete.
    async fn in_store(&self, kept: &Kept, tasks: &[Task], is_current: bool) -> Vec<Word> {
        let nothing = || vec![None; tasks.len()];
        let Some(state) = self.spool.state() else {
            return nothing();
        };
        let recall = async { state.recall(&self.namespace, tasks.to_vec()).await.ok() };
        let Some(found) = kept.in_time(recall).await else {
            return nothing();
        };
        let (now, offline_max) = (SystemClock.now(), self.knowledge.offline_max());
        let offline = kept.followed.age();
        let is_good = |at: Timestamp| is_current || is_within(offline_max, offline, age(at, now));
        let found = found.into_iter();
        found
            .map(|known| known.filter(|known| is_good(known.at)))
            .map(|known| known.map(|known| Some(known.unihash)))
            .collect()
    }

    /// Keeps what the server said.
    pub(crate) fn keep<'a>(
        &self,
        of: Option<DeletionEpoch>,
        answers: impl IntoIterator<Item = (&'a Task, Option<&'a Unihash>)>,
    ) {
        let (Some(state), Some(of), Some(_)) = (self.spool.state(), of, &self.kept) else {
            return;
        };
        let known = answers
            .into_iter()
            .filter_map(|(task, unihash)| Some((task.clone(), unihash?.clone())));
        state.remember(&self.namespace, of, known);
    }
}

/// Writes what the server said as soon as it is much, so that a build that asks for thousands
/// does not have them wait in memory, until the agent ends. What is less is written when the
/// [state is tended](State::tend).
pub(crate) async fn store(agent: Weak<Namespaces>) {
    while let Some(namespaces) = agent.upgrade() {
        let shared = &namespaces.first;
        let Some(state) = shared.spool.state() else {
            return;
        };
        if timeout(LOOK_EVERY, state.filled()).await.is_ok()
            && let Err(error) = state.store().await
        {
            shared.figures.could_not_keep(&error);
        }
    }
}

/// How old an answer is; `None` if the clock is wrong now, or was then.
fn age(at: Timestamp, now: Timestamp) -> Option<Duration> {
    let age = now.0.saturating_sub(at.0);
    u64::try_from(age).ok().map(Duration::from_micros)
}

/// Whether an answer is good while nobody hears of deletions: since then, or since it was given
/// if that is later or the other is not known.
fn is_within(max: Duration, offline: Option<Duration>, age: Option<Duration>) -> bool {
    let since = [offline, age].into_iter().flatten().min();
    since.is_some_and(|since| since < max)
}

#[cfg(test)]
mod tests;
