//! What builds were told while the server was away, in memory.
//!
//! A copy of the table `provisional`, brought up to date after each commit: look-ups
//! ask no database, and nothing at all as long as the server has seen every report.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use fingerpost_hashequiv_proto::types::{Method, Task, Taskhash, Unihash};
use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};

use super::spool::Tally;

type Map<K, V> = HashMap<K, V, RandomState>;

type Namespaces = Map<String, Map<Method, Map<Taskhash, Unihash>>>;

/// The answers by namespace, method and taskhash. Bounded as the spool is.
#[derive(Default)]
pub(super) struct Index {
    answers: RwLock<Namespaces>,
    /// How many there are, for those who need not look then.
    count: AtomicUsize,
    tally: Mutex<Tally>,
}

/// A change of one answer.
pub(super) enum Change {
    /// It is this one now.
    Put(String, Task, Unihash),
    /// There is none any more.
    Remove(String, Task),
}

impl Index {
    /// The answers of some tasks, in order.
    pub(super) fn find(&self, namespace: &str, tasks: &[Task]) -> Vec<Option<Unihash>> {
        let mut found = vec![None; tasks.len()];
        if self.len() == 0 {
            return found;
        }
        let answers = self.answers.read();
        if let Some(methods) = answers.get(namespace) {
            for (task, found) in tasks.iter().zip(&mut found) {
                let of_method = methods.get(&task.method);
                *found = of_method.and_then(|tasks| tasks.get(&task.taskhash).cloned());
            }
        }
        found
    }

    /// Whether the task has an answer.
    pub(super) fn has(&self, namespace: &str, task: &Task) -> bool {
        self.len() > 0
            && self
                .answers
                .read()
                .get(namespace)
                .and_then(|methods| methods.get(&task.method))
                .is_some_and(|tasks| tasks.contains_key(&task.taskhash))
    }

    /// How many answers there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How full the spool is.
    pub(super) fn tally(&self) -> Tally {
        *self.tally.lock()
    }

    /// Follows a commit.
    pub(super) fn apply(&self, changes: impl IntoIterator<Item = Change>, tally: Tally) {
        let mut answers = self.answers.write();
        for change in changes {
            match change {
                Change::Put(namespace, task, unihash) => {
                    let methods = answers.entry(namespace).or_default();
                    let tasks = methods.entry(task.method).or_default();
                    if tasks.insert(task.taskhash, unihash).is_none() {
                        self.count.fetch_add(1, Ordering::Release);
                    }
                }
                Change::Remove(namespace, task) => {
                    let Some(methods) = answers.get_mut(&namespace) else {
                        continue;
                    };
                    let Some(tasks) = methods.get_mut(&task.method) else {
                        continue;
                    };
                    if tasks.remove(&task.taskhash).is_some() {
                        self.count.fetch_sub(1, Ordering::Release);
                    }
                    // Whoever reports may name any method.
                    if tasks.is_empty() {
                        methods.remove(&task.method);
                    }
                    if methods.is_empty() {
                        answers.remove(&namespace);
                    }
                }
            }
        }
        *self.tally.lock() = tally;
    }
}
