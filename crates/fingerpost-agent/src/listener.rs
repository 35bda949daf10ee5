//! Who hears of changes of a namespace, and tells memory at once and the store soon.
//!
//! What is told by half, or not at all since the drive is slow, is told again; until then the
//! store is not asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fingerpost_hashequiv_client::http::DeletionEpoch;
use fingerpost_hashequiv_proto::types::{Task, Taskhash};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::figures::Figures;
use crate::following::Heard;
use crate::knowledge::Knowledge;
use crate::reporting::Spool;
use crate::state::{State, StateError};

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

    /// Whether the store has heard of everything.
    pub(crate) fn is_settled(&self) -> bool {
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

#[cfg(test)]
mod tests;
