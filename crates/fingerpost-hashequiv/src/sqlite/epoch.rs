//! Deletions, and who has to hear of them.
//!
//! Every transaction that deletes raises the namespace's epoch and leaves its
//! process's number. The process that deletes forgets exactly the deleted keys
//! before it answers. The others poll: when another author raised the epoch
//! they forget everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, OptionalExtension as _};

use super::NAMESPACE;
use crate::cache::{CachedTask, UnihashCache};

/// What this process knows of deletions.
pub(super) struct Epoch {
    cache: Arc<UnihashCache>,
    author: i64,
    known: AtomicI64,
}

impl Epoch {
    pub(super) fn new(cache: Arc<UnihashCache>) -> Self {
        Self {
            cache,
            author: random_author(),
            known: AtomicI64::new(0),
        }
    }

    /// This process's number.
    pub(super) const fn author(&self) -> i64 {
        self.author
    }

    /// Sets the epoch at the start, when the cache is empty.
    pub(super) fn start_at(&self, epoch: i64) {
        self.known.store(epoch, Ordering::Release);
    }

    /// The highest epoch that this process has seen.
    pub(super) fn known(&self) -> i64 {
        self.known.load(Ordering::Acquire)
    }

    /// Compares with the database; forgets everything when another process
    /// deleted. What this process deletes is seen to by [`Epoch::raise`].
    pub(super) fn compare(&self, conn: &Connection) -> rusqlite::Result<()> {
        let Some((epoch, author)) = state(conn)? else {
            return Ok(());
        };
        if author != self.author && epoch != self.known.load(Ordering::Acquire) {
            self.cache.forget_all();
            self.known.fetch_max(epoch, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Raises the epoch within the transaction that deletes `tasks`, and sees
    /// to it that they are forgotten once it is committed.
    pub(super) fn raise(
        self: &Arc<Self>,
        tx: &mut fingerpost_db::Tx<'_>,
        tasks: Vec<CachedTask>,
    ) -> rusqlite::Result<()> {
        let before = read(tx.conn())?;
        if before != self.known.load(Ordering::Acquire) {
            // Another process deleted since the last look.
            self.cache.forget_all();
        }
        tx.conn()
            .prepare_cached(
                "UPDATE namespace SET deletion_epoch = ?2, deletion_author = ?3 WHERE id = ?1",
            )?
            .execute((NAMESPACE, before + 1, self.author))?;
        let epoch = Arc::clone(self);
        tx.after_commit(Box::new(move || {
            epoch.cache.forget(&tasks);
            epoch.known.fetch_max(before + 1, Ordering::AcqRel);
        }));
        Ok(())
    }
}

/// Reads the epoch.
pub(super) fn read(conn: &Connection) -> rusqlite::Result<i64> {
    Ok(state(conn)?.map_or(0, |(epoch, _)| epoch))
}

fn state(conn: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    conn.prepare_cached("SELECT deletion_epoch, deletion_author FROM namespace WHERE id = ?1")?
        .query_row([NAMESPACE], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// A number that no other process on the file has, as far as chance goes.
fn random_author() -> i64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish() as i64
}
