//! When tasks were used last.
//!
//! A look-up that the database answers reads the day of the last use with the row; when
//! that is not today the task is noted here, and a background job writes what was noted.
//! So it costs one write for each task and day, however often it is asked for.
//!
//! A look-up that memory answers notes nothing and counts nothing. Instead no entry of the
//! cache lives longer than [`LIFE_HOURS_MAX`], so that what is in use comes by the database
//! once a day. The day that is noted is the one before the true last use at the worst.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_core::Failure;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::service::HashEquiv;

/// Tasks that wait at most, in memory of some 5 MB; further ones are noted at their
/// next look-up in the database.
const WAITING_MAX: usize = 262_144;
/// With so many they are written at once.
const MANY: usize = WAITING_MAX / 8;
/// An entry of the cache that was put there so many hours ago is looked up again.
pub const LIFE_HOURS_MAX: u16 = 23;
/// How often what was noted is written.
pub const STORE_EVERY: Duration = Duration::from_secs(60);

/// Tasks by number whose use is to be written.
#[derive(Debug, Default)]
pub struct Uses {
    waiting: Mutex<HashSet<i64>>,
    dropped: AtomicU64,
    many: Notify,
}

impl Uses {
    /// Notes tasks; never waits.
    pub(crate) fn note(&self, tasks: &[i64]) {
        if tasks.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for task in tasks {
            if waiting.len() >= WAITING_MAX && !waiting.contains(task) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            waiting.insert(*task);
        }
        if waiting.len() >= MANY {
            self.many.notify_one();
        }
    }

    /// Takes everything that waits, in the order of tasks: neighbours share pages.
    pub(crate) fn take(&self) -> Vec<i64> {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        let mut tasks: Vec<i64> = waiting.into_iter().collect();
        tasks.sort_unstable();
        tasks
    }

    /// Tasks that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Uses that there was no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl HashEquiv {
    /// Writes the uses that look-ups noted; returns how many. Tells the cache the hour.
    pub async fn store_uses(&self) -> Result<u64, Failure> {
        let now = self.now();
        self.cache.set_hour(now);
        match self.is_read_only() {
            true => Ok(0),
            false => Ok(self.store.store_uses(now).await?),
        }
    }

    /// Waits until uses should be written, [`STORE_EVERY`] at most.
    pub async fn wait_for_uses(&self) {
        let many = self.store.uses().many.notified();
        // Either will do.
        let _ = tokio::time::timeout(STORE_EVERY, many).await;
    }

    /// What waits to be written.
    pub fn uses(&self) -> &Uses {
        self.store.uses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_waits_once_and_there_is_a_bound() {
        let uses = Uses::default();
        uses.note(&[3, 1, 3]);
        uses.note(&[1]);
        assert_eq!(uses.take(), [1, 3]);
        assert_eq!(uses.waiting(), 0);
        let many: Vec<i64> = (0..300_000).collect();
        uses.note(&many);
        uses.note(&[5]);
        assert_eq!(uses.waiting(), WAITING_MAX);
        assert_eq!(uses.dropped(), 300_000 - WAITING_MAX as u64);
    }
}
