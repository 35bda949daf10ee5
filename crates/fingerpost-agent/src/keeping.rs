//! What the server said and is kept on this host: its snapshot with the changes since, and
//! single answers.
//!
//! Both are worth something only as long as the agent hears of what the server deletes, so
//! there is nothing of it where nobody [follows](crate::following) a namespace.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fingerpost_core::{Clock as _, SystemClock, Timestamp};
use fingerpost_hashequiv_client::http::DeletionEpoch;
use fingerpost_hashequiv_proto::types::{Task, Unihash};
use fingerpost_signatures::Trust;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::following::{Followed, Found};
use crate::knowledge::Whose;
use crate::listener::Listener;
use crate::lookup::{Batch, Word};
use crate::namespaces::Namespaces;
use crate::shared::Shared;

/// Longest wait for what is on disk. A drive that is busy with a build's output answers
/// late, and the server is asked instead.
const FILES_MAX: Duration = Duration::from_millis(300);
/// A drive that answered late is left alone for so long while the server answers.
const LATE_REST: Duration = Duration::from_secs(5);
/// Batches that are looked up in those files at a time. Where a drive hangs no more than these
/// hang with it.
const FILES_READ: usize = 64;
/// Rest after the drive did not take what was to be kept.
const RETRY: Duration = Duration::from_secs(5);
/// How often somebody looks whether the agent has ended.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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
/// [state is tended](crate::state::State::tend).
pub(crate) async fn store(agent: Weak<Namespaces>) {
    let filled = |agent: Arc<Namespaces>| Some(agent.first.spool.state()?.filled());
    let Some(filled) = agent.upgrade().and_then(filled) else {
        return;
    };
    loop {
        let is_filled = timeout(LOOK_EVERY, filled.notified()).await.is_ok();
        let Some(namespaces) = agent.upgrade() else {
            return;
        };
        let shared = &namespaces.first;
        let Some(state) = shared.spool.state().filter(|_| is_filled) else {
            continue;
        };
        if let Err(error) = state.store().await {
            shared.figures.could_not_keep(&error);
            drop(namespaces);
            sleep(RETRY).await;
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
