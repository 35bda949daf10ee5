//! What look-ups see, and what the two tasks tell each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fingerpost_net::Seldom;
use fingerpost_snapshot::NAME_BYTES_MAX;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::freshness::Freshness;
use super::standing::Standing;
use super::status::{FollowStatus, SnapshotStatus};
use super::view::{Opened, Says, View};
use super::{FollowOptions, Found};
use crate::state::DeletionEpoch;

/// How old the last whole answer may be for [`Shared::is_current`].
const CURRENT_MAX: Duration = Duration::from_secs(10);
/// And for saying that there is no unihash.
pub(super) const UNKNOWN_MAX: Duration = Duration::from_secs(60);
/// How long a snapshot is not tried again that will not do.
const REFUSED_FOR: Duration = Duration::from_secs(3600);
/// Names of them.
const REFUSED_MAX: usize = 1000;
/// One line of each kind at most this often.
pub(super) const LOG_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Shared {
    pub(super) view: ArcSwapOption<View>,
    pub(super) standing: Standing,
    pub(super) freshness: Freshness,
    fallbacks: AtomicU8,
    position: AtomicU64,
    /// A snapshot on this host that nobody is answered from yet.
    pub(super) pending: Mutex<Option<Arc<Opened>>>,
    /// Snapshots that will not do, and since when.
    refused: Mutex<HashMap<String, Instant>>,
    /// Wakes the follower.
    pub(super) poke: Notify,
    /// Wakes the refresher.
    pub(super) look: Notify,
    pub(super) counts: Counts,
    /// What is wrong with changes and with snapshots.
    troubles: Mutex<[Option<String>; 2]>,
    said: [Seldom; 2],
    /// Whether the last question for changes was answered; nothing before the first one.
    answered: Mutex<Option<bool>>,
    believes_changes: bool,
    max_offline_age: Duration,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) fetched: AtomicU64,
    pub(super) untrusted: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// Which of the two tasks.
#[derive(Clone, Copy)]
pub(super) enum Task {
    Changes,
    Snapshots,
}

/// Whether reads of the namespace look into others as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub(super) enum Fallbacks {
    /// The server did not say yet, or never does.
    NotKnown,
    None,
    Some,
}

impl Shared {
    pub(super) fn new(options: &FollowOptions) -> Self {
        Self {
            view: ArcSwapOption::empty(),
            standing: Standing::default(),
            freshness: Freshness::new(),
            fallbacks: AtomicU8::new(Fallbacks::NotKnown as u8),
            position: AtomicU64::new(u64::MAX),
            pending: Mutex::default(),
            refused: Mutex::default(),
            poke: Notify::new(),
            look: Notify::new(),
            counts: Counts::default(),
            troubles: Mutex::default(),
            said: [Seldom::new(LOG_EVERY), Seldom::new(LOG_EVERY)],
            max_offline_age: options.max_offline_age,
            answered: Mutex::default(),
            believes_changes: options.believes_changes,
        }
    }

    pub(super) fn lookup(&self, method: &str, taskhash: &[u8; 32], now: Instant) -> Found {
        let view = self.view.load();
        let Some(view) = view.as_deref() else {
            return Found::Nothing;
        };
        let age = self.freshness.age(now);
        let Some(age) =
            age.filter(|age| *age <= self.max_offline_age && !self.standing.is_behind())
        else {
            return Found::Nothing;
        };
        match view.find(method, taskhash) {
            Says::Unihash(unihash) => Found::Unihash(unihash),
            Says::Changed(unihash) if self.believes_changes => Found::Unihash(unihash),
            Says::Changed(_) => Found::Nothing,
            // Of what fits into no line of changes it is not told that it came.
            Says::Absent
                if age <= UNKNOWN_MAX && method.len() <= NAME_BYTES_MAX && self.knows_all(view) =>
            {
                Found::Unknown
            }
            Says::Absent => Found::Nothing,
            Says::Damaged => {
                self.poke.notify_one();
                Found::Nothing
            }
        }
    }

    fn knows_all(&self, view: &View) -> bool {
        view.is_exhaustive() && self.fallbacks() == Fallbacks::None
    }

    pub(super) fn is_current(&self, now: Instant) -> bool {
        let age = self.freshness.age(now);
        age.is_some_and(|age| age <= CURRENT_MAX) && !self.standing.is_behind()
    }

    pub(super) fn saw(&self, epoch: DeletionEpoch) {
        if self.standing.see(epoch) {
            self.poke.notify_one();
        }
    }

    /// Nothing is known of deletions any more.
    pub(super) fn stands_nowhere(&self) {
        self.standing.forget();
        self.position.store(u64::MAX, Ordering::Relaxed);
        self.freshness.forget();
    }

    pub(super) fn reached(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    pub(super) fn fallbacks(&self) -> Fallbacks {
        match self.fallbacks.load(Ordering::Acquire) {
            1 => Fallbacks::None,
            2 => Fallbacks::Some,
            _ => Fallbacks::NotKnown,
        }
    }

    pub(super) fn set_fallbacks(&self, fallbacks: Fallbacks) {
        self.fallbacks.store(fallbacks as u8, Ordering::Release);
    }

    /// Takes a snapshot out of those that wait, if it does.
    pub(super) fn no_longer_pending(&self, opened: &Arc<Opened>) {
        let mut pending = self.pending.lock();
        if pending.as_ref().is_some_and(|one| Arc::ptr_eq(one, opened)) {
            *pending = None;
        }
    }

    /// Leaves a snapshot alone for a while; whether that happens for the first time.
    pub(super) fn refuse(&self, name: &str) -> bool {
        let mut refused = self.refused.lock();
        if refused.len() >= REFUSED_MAX {
            refused.clear();
        }
        refused.insert(name.to_owned(), Instant::now()).is_none()
    }

    /// What was refused may be good now.
    pub(super) fn refuse_nothing(&self) {
        self.refused.lock().clear();
    }

    pub(super) fn is_refused(&self, name: &str) -> bool {
        let refused = self.refused.lock();
        let since = refused.get(name);
        since.is_some_and(|since| since.elapsed() < REFUSED_FOR)
    }

    /// Nothing is wrong any more.
    pub(super) fn is_well(&self, task: Task) {
        self.note_answered(task, true);
        self.troubles.lock()[task as usize] = None;
    }

    /// Notes what is wrong; whether that is to be logged.
    pub(super) fn is_in_trouble(&self, task: Task, why: String) -> bool {
        self.note_answered(task, false);
        let before = self.troubles.lock()[task as usize].replace(why.clone());
        before != Some(why) && self.said[task as usize].now().is_some()
    }

    fn note_answered(&self, task: Task, is_answered: bool) {
        if matches!(task, Task::Changes) {
            *self.answered.lock() = Some(is_answered);
        }
    }

    /// Whether the last question for changes was answered, if one was asked.
    pub(super) fn was_answered(&self) -> Option<bool> {
        *self.answered.lock()
    }

    pub(super) fn status(&self, now: Instant) -> FollowStatus {
        let view = self.view.load();
        let view = view.as_deref();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let position = self.position.load(Ordering::Relaxed);
        let troubles = self.troubles.lock().clone();
        FollowStatus {
            snapshot: view.map(|view| {
                let manifest = view.opened.manifest();
                SnapshotStatus {
                    name: view.opened.name.clone(),
                    rows: manifest.rows(),
                    bytes: view.opened.bytes(),
                    created: manifest.created,
                    position: manifest.position,
                }
            }),
            position: (position != u64::MAX).then_some(position),
            epoch: self.standing.epoch(),
            current: self.freshness.age(now),
            changes: view.map_or(0, |view| view.overlay.len()),
            knows_all: view.is_some_and(|view| self.knows_all(view)),
            fetched: count(&self.counts.fetched),
            untrusted: count(&self.counts.untrusted),
            failures: count(&self.counts.failures),
            trouble: troubles.into_iter().flatten().next(),
        }
    }
}
