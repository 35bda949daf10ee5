//! How the answers of commands came to be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// What was counted of one command's answers, since the start. Bytes are those of
/// the form in which an answer is remembered.
#[derive(Debug, Default)]
pub struct Counts {
    /// Found in the store.
    pub hits: AtomicU64,
    /// Not found, and begun.
    pub misses: AtomicU64,
    /// Not found, and being made already.
    pub coalesced: AtomicU64,
    /// The store could not be asked.
    pub look_ups_failed: AtomicU64,
    /// Put into the store.
    pub stored: AtomicU64,
    /// Refused by the store, or failed on the way.
    pub stores_failed: AtomicU64,
    /// Redirected.
    pub redirected: AtomicU64,
    /// Bytes that were sent here, found or just made.
    pub inline_bytes: AtomicU64,
    /// Bytes of answers that were redirected, without a coding.
    pub redirected_bytes: AtomicU64,
    made_bytes: AtomicU64,
    made_micros: AtomicU64,
    saved_micros: AtomicU64,
}

impl Counts {
    /// Counts one more.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer that was made.
    pub(crate) fn count_made(&self, bytes: u64, made_in: Duration) {
        self.made_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.made_micros
            .fetch_add(micros(made_in), Ordering::Relaxed);
    }

    /// What it would take to make so many bytes, going by those that were made
    /// since the start; nothing if none were.
    pub fn work(&self, bytes: u64) -> Duration {
        let made = self.made_bytes.load(Ordering::Relaxed);
        let micros = self.made_micros.load(Ordering::Relaxed);
        let work = u128::from(micros) * u128::from(bytes) / u128::from(made.max(1));
        Duration::from_micros(u64::try_from(work).unwrap_or(u64::MAX))
    }

    /// Counts work that was not done again.
    pub fn count_saved(&self, work: Duration) {
        self.saved_micros.fetch_add(micros(work), Ordering::Relaxed);
    }

    /// Counts an answer that was redirected, of so many bytes without a coding.
    pub fn count_redirected(&self, bytes: u64, work: Duration) {
        Self::count(&self.redirected);
        self.redirected_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.count_saved(work);
    }

    /// Counts bytes that were sent here.
    pub fn count_inline(&self, bytes: u64) {
        self.inline_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Work that was not done again, as [`Counts::work`] guesses it.
    pub fn saved(&self) -> Duration {
        Duration::from_micros(self.saved_micros.load(Ordering::Relaxed))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Counts by command.
#[derive(Debug, Default)]
pub(crate) struct AllCounts(Mutex<BTreeMap<&'static str, Arc<Counts>>>);

impl AllCounts {
    pub(crate) fn of(&self, command: &'static str) -> Arc<Counts> {
        Arc::clone(self.0.lock().entry(command).or_default())
    }

    pub(crate) fn all(&self) -> Vec<(&'static str, Arc<Counts>)> {
        let counts = self.0.lock();
        counts
            .iter()
            .map(|(command, counts)| (*command, Arc::clone(counts)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_guessed_from_what_was_made() {
        let counts = Counts::default();
        assert_eq!(counts.work(1000), Duration::ZERO);
        counts.count_made(1000, Duration::from_millis(3));
        counts.count_made(3000, Duration::from_millis(1));
        assert_eq!(counts.work(2000), Duration::from_millis(2));
        counts.count_redirected(9000, counts.work(2000));
        counts.count_saved(Duration::from_millis(1));
        assert_eq!(counts.saved(), Duration::from_millis(3));
        assert_eq!(counts.redirected_bytes.load(Ordering::Relaxed), 9000);
    }
}
