//! Deletions, and who has to hear of them.
//!
//! Every transaction that deletes raises the epoch of its namespace, and of those whose
//! reads fall back to it, and writes down what it deleted. The instance that deletes
//! forgets the deleted keys before it answers. The others poll: where an epoch was raised
//! they forget exactly what was written down since they looked last.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fingerpost_db::postgres::{PostgresError, Row, Session, Value};

use super::methods::{column, number};
use crate::cache::{CachedTask, MethodId, UnihashCache};
use crate::namespace::{Chain, NamespaceId};

/// Deletions that one poll reads; where there are more, everything is forgotten.
const DELETIONS_MAX: i64 = 20_000;

/// A deleted row, for those who remember answers.
#[derive(Clone, Debug)]
pub(super) struct DeletedTask {
    pub(super) method: MethodId,
    pub(super) taskhash: [u8; 32],
}

/// What this instance knows of deletions.
pub(super) struct Epoch {
    cache: Arc<UnihashCache>,
    known: HashMap<NamespaceId, Known>,
}

/// What is known of one namespace.
struct Known {
    epoch: AtomicI64,
    /// What was deleted up to this position is forgotten.
    position: AtomicI64,
    /// It and those whose reads fall back to it.
    readers: Vec<NamespaceId>,
}

/// A namespace as the database has it.
struct State {
    namespace: NamespaceId,
    epoch: i64,
    position: i64,
    floor: i64,
}

impl Epoch {
    /// For the namespaces that begin `chains`. To be made while the cache is empty.
    pub(super) async fn read(
        session: &Session,
        cache: Arc<UnihashCache>,
        chains: &[Chain],
    ) -> Result<Self, PostgresError> {
        let stored = states(session).await?;
        let known = |chain: &Chain| {
            let own = chain.own();
            let reads = chains
                .iter()
                .filter(|other| other.iter().any(|at| at == own));
            let state = stored.iter().find(|state| state.namespace == own);
            let known = Known {
                epoch: AtomicI64::new(state.map_or(0, |state| state.epoch)),
                position: AtomicI64::new(state.map_or(0, |state| state.position)),
                readers: reads.map(Chain::own).collect(),
            };
            (own, known)
        };
        let known = chains.iter().map(known).collect();
        Ok(Self { cache, known })
    }

    /// Whether this instance serves a namespace.
    pub(super) fn serves(&self, at: NamespaceId) -> bool {
        self.known.contains_key(&at)
    }

    /// The epoch of a namespace as this instance knows it.
    pub(super) fn of(&self, at: NamespaceId) -> i64 {
        let known = self.known.get(&at);
        known.map_or(0, |known| known.epoch.load(Ordering::Acquire))
    }

    /// Every namespace with its epoch as this instance knows it.
    pub(super) fn all(&self) -> impl Iterator<Item = (NamespaceId, i64)> {
        let known = self.known.iter();
        known.map(|(at, known)| (*at, known.epoch.load(Ordering::Acquire)))
    }

    /// A namespace and those whose reads fall back to it, in the order of their
    /// numbers: the rows that a deletion locks.
    pub(super) fn readers(&self, at: NamespaceId) -> Vec<NamespaceId> {
        let known = self.known.get(&at);
        let mut readers = known.map_or_else(|| vec![at], |known| known.readers.clone());
        readers.sort_unstable();
        readers
    }

    /// Forgets what was deleted since the last time, by whomever.
    pub(super) async fn compare(&self, session: &Session) -> Result<(), PostgresError> {
        let mut forgotten = Vec::new();
        for state in states(session).await? {
            // Nobody here reads from a namespace that is not known.
            let Some(known) = self.known.get(&state.namespace) else {
                continue;
            };
            if state.epoch == known.epoch.load(Ordering::Acquire) {
                continue;
            }
            let from = known.position.load(Ordering::Acquire);
            match deleted(session, state.namespace, from, state.floor).await? {
                Some(tasks) => self.forget(state.namespace, &tasks),
                None => self.cache.forget_all(),
            }
            forgotten.push((known, state));
        }
        // What went raised the epochs of all who read it, but is told of in its own
        // namespace: none of them is known before all of it is forgotten.
        for (known, state) in forgotten {
            known.position.fetch_max(state.position, Ordering::AcqRel);
            known.epoch.fetch_max(state.epoch, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Forgets what this instance deleted in a namespace. Call it when the deletion is
    /// committed, or may be.
    pub(super) fn forget(&self, at: NamespaceId, tasks: &[DeletedTask]) {
        if tasks.is_empty() {
            return;
        }
        let readers = self.readers(at);
        let of = |reader: &NamespaceId| {
            let reader = *reader;
            tasks.iter().map(move |task| CachedTask {
                method: task.method.within(reader),
                taskhash: task.taskhash,
            })
        };
        let tasks: Vec<CachedTask> = readers.iter().flat_map(of).collect();
        self.cache.forget(&tasks);
    }

    /// Notes what this instance raised.
    pub(super) fn note(&self, raised: &[Raised]) {
        for raised in raised {
            let Some(known) = self.known.get(&raised.namespace) else {
                continue;
            };
            let (before, now) = (raised.epoch - 1, raised.epoch);
            let (done, seen) = (Ordering::AcqRel, Ordering::Acquire);
            // Where others raised it in between the poll sees to both.
            if known
                .epoch
                .compare_exchange(before, now, done, seen)
                .is_ok()
            {
                known.position.fetch_max(raised.position, done);
            }
        }
    }
}

/// An epoch that was raised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raised {
    pub(super) namespace: NamespaceId,
    pub(super) epoch: i64,
    /// Where the namespace's sequence is then.
    pub(super) position: i64,
}

async fn states(session: &Session) -> Result<Vec<State>, PostgresError> {
    let sql = "SELECT id, deletion_epoch, sequence, changes_floor FROM namespace";
    let rows = session.query(sql, &[]).await?;
    let state = |row: &Row| State {
        namespace: NamespaceId(number(row.get(0))),
        epoch: row.get(1),
        position: row.get(2),
        floor: row.get(3),
    };
    Ok(rows.iter().map(state).collect())
}

/// What was deleted after a position; `None` if that is too much, or not known.
async fn deleted(
    session: &Session,
    at: NamespaceId,
    position: i64,
    floor: i64,
) -> Result<Option<Vec<DeletedTask>>, PostgresError> {
    if position < floor {
        return Ok(None);
    }
    let sql = "SELECT method, taskhash FROM deletion
                WHERE namespace = $1 AND sequence > $2 AND method IS NOT NULL
                ORDER BY sequence LIMIT $3";
    let values: &[&dyn Value] = &[&column(at.0), &position, &(DELETIONS_MAX + 1)];
    let rows = session.query(sql, values).await?;
    if rows.len() as i64 > DELETIONS_MAX {
        return Ok(None);
    }
    let task = |row: &Row| {
        Some(DeletedTask {
            method: MethodId(number(row.get(0))),
            taskhash: row.get::<_, &[u8]>(1).try_into().ok()?,
        })
    };
    Ok(Some(rows.iter().filter_map(task).collect()))
}
