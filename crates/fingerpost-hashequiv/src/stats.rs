//! The request statistics that `get-stats` shows.

use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::sharded::Sharded;

/// Counts requests and their times since the start or the last reset.
#[derive(Debug, Default)]
pub struct RequestStats(Sharded<Mutex<Totals>>);

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    count: u64,
    total_s: f64,
    max_s: f64,
    squares_s: f64,
}

/// The statistics as `get-stats` answers them; times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RequestTimes {
    /// Requests that have ended.
    pub num: u64,
    /// Sum of their times.
    pub total_time: f64,
    /// The longest.
    pub max_time: f64,
    /// The mean; 0 when there was none.
    pub average: f64,
    /// The standard deviation; 0 when there was none.
    pub stdev: f64,
}

impl RequestStats {
    /// Notes `count` requests that ended now and took `elapsed` together, as a
    /// batch of stream lines does. A count of 0 changes nothing.
    pub fn record(&self, count: u64, elapsed: Duration) {
        if count == 0 {
            return;
        }
        let each = elapsed.as_secs_f64() / count as f64;
        let mut totals = self.0.own().lock();
        totals.count += count;
        totals.total_s += elapsed.as_secs_f64();
        totals.max_s = totals.max_s.max(each);
        totals.squares_s += each * each * count as f64;
    }

    /// The statistics now.
    pub fn snapshot(&self) -> RequestTimes {
        times(self.0.all().map(|part| *part.lock()))
    }

    /// Starts over; returns the statistics before.
    pub fn reset(&self) -> RequestTimes {
        times(self.0.all().map(|part| std::mem::take(&mut *part.lock())))
    }
}

fn times(parts: impl Iterator<Item = Totals>) -> RequestTimes {
    let totals = parts.fold(Totals::default(), |sum, part| Totals {
        count: sum.count + part.count,
        total_s: sum.total_s + part.total_s,
        max_s: sum.max_s.max(part.max_s),
        squares_s: sum.squares_s + part.squares_s,
    });
    let count = totals.count.max(1) as f64;
    let average = totals.total_s / count;
    let variance = (totals.squares_s / count - average * average).max(0.0);
    RequestTimes {
        num: totals.count,
        total_time: totals.total_s,
        max_time: totals.max_s,
        average,
        stdev: variance.sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_returns_what_was_counted() {
        let stats = RequestStats::default();
        stats.record(2, Duration::from_secs(2));
        stats.record(1, Duration::from_secs(4));
        stats.record(0, Duration::from_secs(9));
        let times = stats.reset();
        assert_eq!((times.num, times.total_time, times.max_time), (3, 6.0, 4.0));
        assert_eq!(times.average, 2.0);
        assert!((times.stdev - 2f64.sqrt()).abs() < 1e-9);
        assert_eq!(stats.snapshot().num, 0);
    }
}
