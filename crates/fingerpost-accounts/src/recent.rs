//! What was found right a moment ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_core::{Clock, Timestamp};
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

/// A short and bounded memory of credentials that were right. Keys are digests
/// under a salt of the process: what leaks out of memory cannot be compared with
/// anything.
pub(crate) struct Recent<V> {
    entries: Cache<[u8; 32], (V, Timestamp)>,
    keep_micros: i64,
    salt: [u8; 32],
    /// Part of every key: what was looked up before everything was forgotten, and
    /// is kept after it, is never found.
    generation: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl<V: Clone> Recent<V> {
    /// Keeps `entries` at most, each for `keep`; with zero nothing is kept.
    pub(crate) fn new(
        entries: usize,
        keep: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, getrandom::Error> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        Ok(Self {
            entries: Cache::new(entries),
            keep_micros: micros(keep),
            salt,
            generation: AtomicU64::new(0),
            clock,
        })
    }

    /// The key of these texts, whatever is in them, until everything is forgotten.
    /// Make it before you look at what the value depends on.
    pub(crate) fn key(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(self.salt);
        hasher.update(self.generation.load(Ordering::Acquire).to_le_bytes());
        for part in parts {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    pub(crate) fn get(&self, key: &[u8; 32]) -> Option<V> {
        let (value, kept) = self.entries.get(key)?;
        let age = self.clock.now().0.saturating_sub(kept.0);
        // A clock that was set back makes the entry's age unknown.
        (0..self.keep_micros).contains(&age).then_some(value)
    }

    pub(crate) fn keep(&self, key: [u8; 32], value: V) {
        if self.keep_micros > 0 {
            self.entries.insert(key, (value, self.clock.now()));
        }
    }

    pub(crate) fn forget(&self, key: &[u8; 32]) {
        self.entries.remove(key);
    }

    pub(crate) fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.entries.clear();
    }
}

/// A duration in the unit of [`Timestamp`]; saturates.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use fingerpost_core::ManualClock;

    use super::*;

    #[test]
    fn entries_end_and_are_bounded() {
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
        let recent = Recent::new(8, Duration::from_secs(2), clock.clone()).unwrap();
        let key = recent.key(&[b"a", b"b"]);
        assert_ne!(key, recent.key(&[b"ab", b""]));
        recent.keep(key, 1);
        assert_eq!(recent.get(&key), Some(1));
        clock.advance_micros(2_000_000);
        assert_eq!(recent.get(&key), None);
        clock.advance_micros(-2_500_000);
        assert_eq!(recent.get(&key), None, "the clock was set back");
        clock.advance_micros(500_000);
        recent.keep(key, 1);
        recent.forget(&key);
        assert_eq!(recent.get(&key), None);
        for number in 0..100_u8 {
            recent.keep([number; 32], 1);
        }
        assert!(recent.entries.len() <= 8);
        recent.forget_all();
        assert_eq!(recent.entries.len(), 0);
    }

    #[test]
    fn what_was_looked_up_before_everything_was_forgotten_is_not_kept() {
        let clock = Arc::new(ManualClock::default());
        let recent = Recent::new(8, Duration::from_secs(2), clock).unwrap();
        let before = recent.key(&[b"a"]);
        recent.forget_all();
        recent.keep(before, 1);
        assert_eq!(recent.get(&recent.key(&[b"a"])), None);
    }

    #[test]
    fn nothing_is_kept_for_no_time() {
        let clock = Arc::new(ManualClock::default());
        let recent = Recent::new(8, Duration::ZERO, clock).unwrap();
        recent.keep([0; 32], 1);
        assert_eq!(recent.get(&[0; 32]), None);
        assert_eq!(recent.entries.len(), 0);
    }
}
