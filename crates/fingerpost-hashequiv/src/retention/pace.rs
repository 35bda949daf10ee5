//! How fast rows go: clients go before.

use std::time::Duration;

/// Longest rest between two batches, so that it is never long to a stop.
const REST_MAX: Duration = Duration::from_millis(500);
/// Shortest one.
const REST_MIN: Duration = Duration::from_millis(1);
/// A batch that was answered later than this waited for others, or for the disk.
const SLOW: Duration = Duration::from_millis(30);
/// With more jobs than this in front of the database others are waiting.
const CROWD: u64 = 8;

/// Rests between batches: as long as a batch takes while nobody else works, and twice
/// as long after each one that met others.
#[derive(Debug)]
pub(super) struct Pace {
    rest: Duration,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { rest: REST_MIN }
    }

    /// How long to rest after a batch that was answered after `took`, with `waiting`
    /// jobs in front of the database.
    pub(super) fn rest(&mut self, took: Duration, waiting: u64) -> Duration {
        self.rest = match took > SLOW || waiting > CROWD {
            true => self.rest.saturating_mul(2).max(took),
            false => (self.rest / 2).max(took),
        };
        self.rest = self.rest.clamp(REST_MIN, REST_MAX);
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_under_load_and_shrink_after_it() {
        let mut pace = Pace::new();
        let batch = Duration::from_millis(4);
        assert_eq!(pace.rest(batch, 0), batch);
        let crowded: Vec<_> = (0..10).map(|_| pace.rest(batch, 20)).collect();
        assert!(crowded.is_sorted());
        assert_eq!(crowded.last(), Some(&REST_MAX));
        let calm: Vec<_> = (0..10).map(|_| pace.rest(batch, 0)).collect();
        assert!(calm.is_sorted_by(|a, b| a >= b));
        assert_eq!(calm.last(), Some(&batch));
        assert_eq!(
            pace.rest(Duration::from_millis(100), 0),
            Duration::from_millis(100)
        );
        assert_eq!(pace.rest(Duration::from_secs(9), 0), REST_MAX);
    }
}
