//! How fast rows go: clients go before.

use std::time::Duration;

/// Longest rest between two batches, so that it is never long to a stop.
const REST_MAX: Duration = Duration::from_millis(500);
/// Shortest one.
const REST_MIN: Duration = Duration::from_millis(1);
/// A batch that was answered later than this was too large, or waited for others or for
/// the disk. Whoever writes meanwhile waits for it.
const SLOW: Duration = Duration::from_millis(30);
/// With more jobs than this in front of the database others are waiting.
const CROWD: u64 = 8;
/// Rows of the first batch.
const ROWS_FIRST: usize = 200;
/// Rows that one batch deletes at least.
const ROWS_MIN: usize = 50;
/// And at most.
const ROWS_MAX: usize = 1000;

/// Batches that take less than [`SLOW`], and rests between them: an eighth of a batch while
/// nobody else works, and twice as long after each one that met others.
#[derive(Debug)]
pub(super) struct Pace {
    rest: Duration,
    rows: usize,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            rest: REST_MIN,
            rows: ROWS_FIRST,
        }
    }

    /// Rows of the next batch.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// How long to rest after a batch of so many rows that was answered after `took`,
    /// with `waiting` jobs in front of the database.
    pub(super) fn after_batch(&mut self, rows: usize, took: Duration, waiting: u64) -> Duration {
        if took > SLOW {
            self.rows = (rows.min(self.rows) / 2).max(ROWS_MIN);
        } else if took < SLOW / 2 && rows == self.rows {
            self.rows = (self.rows * 2).min(ROWS_MAX);
        }
        self.after_write(took, waiting)
    }

    /// The same after another small write.
    pub(super) fn after_write(&mut self, took: Duration, waiting: u64) -> Duration {
        self.rest = match took > SLOW || waiting > CROWD {
            true => self.rest.saturating_mul(2).max(took),
            false => (self.rest / 2).max(took / 8),
        };
        self.rest = self.rest.clamp(REST_MIN, REST_MAX);
        self.rest
    }

    /// How long to rest after rows were read, which keeps nobody from writing: not at
    /// all, unless others wait.
    pub(super) fn after_read(&self, took: Duration, waiting: u64) -> Duration {
        match took > SLOW || waiting > CROWD {
            true => self.rest.max(took).min(REST_MAX),
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_under_load_and_shrink_after_it() {
        let mut pace = Pace::new();
        let batch = Duration::from_millis(16);
        let rest = batch / 8;
        let mut after = |waiting| pace.after_batch(100, batch, waiting);
        assert_eq!(after(0), rest);
        let crowded: Vec<_> = (0..10).map(|_| after(20)).collect();
        assert!(crowded.is_sorted());
        assert_eq!(crowded.last(), Some(&REST_MAX));
        let calm: Vec<_> = (0..10).map(|_| after(0)).collect();
        assert!(calm.is_sorted_by(|a, b| a >= b));
        assert_eq!(calm.last(), Some(&rest));
        assert_eq!(pace.after_batch(100, Duration::from_secs(9), 0), REST_MAX);
    }

    #[test]
    fn batches_are_as_large_as_their_time_allows() {
        let mut pace = Pace::new();
        let mut after = |took| {
            let rows = pace.rows();
            pace.after_batch(rows, Duration::from_millis(took), 0);
            pace.rows()
        };
        let quick: Vec<_> = (0..4).map(|_| after(1)).collect();
        assert_eq!(quick, [400, 800, ROWS_MAX, ROWS_MAX]);
        assert_eq!(after(20), ROWS_MAX);
        let slow: Vec<_> = (0..6).map(|_| after(40)).collect();
        assert_eq!(slow, [500, 250, 125, 62, ROWS_MIN, ROWS_MIN]);
        // The rest of a page says little about a whole batch.
        pace.after_batch(10, Duration::from_millis(1), 0);
        assert_eq!(pace.rows(), ROWS_MIN);
    }

    #[test]
    fn who_reads_rests_only_for_others() {
        let pace = Pace::new();
        let quick = Duration::from_millis(2);
        assert_eq!(pace.after_read(quick, 0), Duration::ZERO);
        assert_eq!(pace.after_read(quick, 20), quick);
        assert_eq!(pace.after_read(SLOW * 2, 0), SLOW * 2);
        assert_eq!(pace.after_read(Duration::from_secs(9), 0), REST_MAX);
    }
}
