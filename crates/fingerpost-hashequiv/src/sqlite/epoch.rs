//! Deletions, and who has to hear of them.
//!
//! Every transaction that deletes raises the epoch of its namespace, and of those
//! whose reads fall back to it, and leaves its process's number. The process that
//! deletes forgets exactly the deleted keys before it answers. The others poll:
//! when another author raised an epoch they forget everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;

use crate::cache::{CachedTask, MethodId, UnihashCache};
use crate::namespace::{Chain, NamespaceId};

/// A deleted row, for those who remember answers.
pub(super) struct DeletedTask {
    pub(super) method: MethodId,
    pub(super) taskhash: [u8; 32],
}

/// What this process knows of deletions.
pub(super) struct Epoch {
    cache: Arc<UnihashCache>,
    author: i64,
    known: HashMap<NamespaceId, Known>,
}

/// What is known of one namespace.
struct Known {
    epoch: AtomicI64,
    /// It and those whose reads fall back to it.
    readers: Vec<NamespaceId>,
}

impl Epoch {
    /// For the namespaces that begin `chains`. Their epochs are read when the cache
    /// is empty.
    pub(super) fn new(
        conn: &Connection,
        cache: Arc<UnihashCache>,
        chains: &[Chain],
    ) -> rusqlite::Result<Self> {
        let stored = states(conn)?;
        let known = |chain: &Chain| {
            let own = chain.own();
            let reads = chains
                .iter()
                .filter(|other| other.iter().any(|at| at == own));
            let epoch = stored.iter().find(|state| state.namespace == own);
            let known = Known {
                epoch: AtomicI64::new(epoch.map_or(0, |state| state.epoch)),
                readers: reads.map(Chain::own).collect(),
            };
            (own, known)
        };
        Ok(Self {
            cache,
            author: random_author(),
            known: chains.iter().map(known).collect(),
        })
    }

    /// This process's number.
    pub(super) const fn author(&self) -> i64 {
        self.author
    }

    /// Whether this process serves a namespace.
    pub(super) fn serves(&self, at: NamespaceId) -> bool {
        self.known.contains_key(&at)
    }

    /// The epoch of a namespace as this process knows it.
    pub(super) fn of(&self, at: NamespaceId) -> i64 {
        let known = self.known.get(&at);
        known.map_or(0, |known| known.epoch.load(Ordering::Acquire))
    }

    /// Compares with the database; forgets everything when another process
    /// deleted. What this process deletes is seen to by [`Epoch::raise`].
    pub(super) fn compare(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut missed = false;
        let states = states(conn)?;
        for state in &states {
            // Nobody here reads from a namespace that is not known.
            let is_known = self.known.contains_key(&state.namespace);
            missed |=
                is_known && state.author != self.author && state.epoch != self.of(state.namespace);
        }
        if missed {
            self.cache.forget_all();
            for state in &states {
                self.note(state.namespace, state.epoch);
            }
        }
        Ok(())
    }

    /// Raises the epoch within the transaction that deletes `tasks` of a namespace,
    /// and sees to it that they are forgotten once it is committed.
    pub(super) fn raise(
        self: &Arc<Self>,
        tx: &mut fingerpost_db::Tx<'_>,
        at: NamespaceId,
        tasks: &[DeletedTask],
    ) -> rusqlite::Result<()> {
        let Some(known) = self.known.get(&at) else {
            return Ok(());
        };
        let mut raised = Vec::with_capacity(known.readers.len());
        for reader in &known.readers {
            let epoch: i64 = tx
                .conn()
                .prepare_cached(
                    "UPDATE namespace SET deletion_epoch = deletion_epoch + 1, deletion_author = ?2
                      WHERE id = ?1 RETURNING deletion_epoch",
                )?
                .query_row((reader.0, self.author), |row| row.get(0))?;
            if epoch - 1 != self.of(*reader) {
                // Another process deleted since the last look.
                self.cache.forget_all();
            }
            raised.push((*reader, epoch));
        }
        let forgotten = of_readers(&known.readers, tasks);
        let epoch = Arc::clone(self);
        tx.after_commit(Box::new(move || {
            epoch.cache.forget(&forgotten);
            for (reader, raised) in raised {
                epoch.note(reader, raised);
            }
        }));
        Ok(())
    }

    fn note(&self, at: NamespaceId, epoch: i64) {
        if let Some(known) = self.known.get(&at) {
            known.epoch.fetch_max(epoch, Ordering::AcqRel);
        }
    }
}

/// Raises the epoch of every namespace within a transaction that deletes, for a program
/// that serves none: which of them read from which is known to servers only. Whoever
/// serves forgets everything.
pub(crate) fn raise_all(conn: &Connection, author: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE namespace SET deletion_epoch = deletion_epoch + 1, deletion_author = ?1",
    )?
    .execute([author])?;
    Ok(())
}

/// What each of `readers` may remember of the tasks.
fn of_readers(readers: &[NamespaceId], tasks: &[DeletedTask]) -> Vec<CachedTask> {
    let of = |reader: &NamespaceId| {
        let reader = *reader;
        tasks.iter().map(move |task| CachedTask {
            method: task.method.within(reader),
            taskhash: task.taskhash,
        })
    };
    readers.iter().flat_map(of).collect()
}

/// A namespace's epoch in the database.
struct State {
    namespace: NamespaceId,
    epoch: i64,
    author: i64,
}

fn states(conn: &Connection) -> rusqlite::Result<Vec<State>> {
    let mut statement =
        conn.prepare_cached("SELECT id, deletion_epoch, deletion_author FROM namespace")?;
    let states = statement.query_map([], |row| {
        Ok(State {
            namespace: NamespaceId(row.get(0)?),
            epoch: row.get(1)?,
            author: row.get(2)?,
        })
    })?;
    states.collect()
}

/// A number that no other process on the file has, as far as chance goes.
pub(crate) fn random_author() -> i64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish() as i64
}
