//! Counts of how large something was, cheap enough for every batch of look-ups.

use std::sync::atomic::{AtomicU64, Ordering};

/// Values up to 2^0, 2^1, ... 2^23, and larger ones.
const BUCKETS: usize = 25;

/// How many values there were between powers of two, and their sum: two
/// additions for each. The unit is the caller's.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What a [`Histogram`] has counted, or several together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramCounts {
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let exponent = u64::BITS - value.saturating_sub(1).leading_zeros();
        let bucket = (exponent as usize).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn counts(&self) -> HistogramCounts {
        let mut counts = HistogramCounts::default();
        self.add_to(&mut counts);
        counts
    }

    /// Adds what was counted so far to `counts`.
    pub fn add_to(&self, counts: &mut HistogramCounts) {
        for (sum, own) in counts.buckets.iter_mut().zip(&self.buckets) {
            *sum += own.load(Ordering::Relaxed);
        }
        counts.sum += self.sum.load(Ordering::Relaxed);
    }
}

impl HistogramCounts {
    /// The sum of all values.
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Upper bounds with how many values there were above the bound before; at last
    /// those above all bounds, with infinity. The bounds are 2^`lowest` to
    /// 2^`highest` (at most 2^23), times `unit`.
    pub fn buckets(&self, lowest: usize, highest: usize, unit: f64) -> Vec<(f64, u64)> {
        let highest = highest.min(BUCKETS - 2);
        let lowest = lowest.min(highest);
        let up_to: u64 = self.buckets[..=lowest].iter().sum();
        let above: u64 = self.buckets[highest + 1..].iter().sum();
        let between = lowest + 1..=highest;
        let between = between.map(|exponent| (exponent, self.buckets[exponent]));
        let mut buckets: Vec<_> = std::iter::once((lowest, up_to))
            .chain(between)
            .map(|(exponent, count)| ((1_u64 << exponent) as f64 * unit, count))
            .collect();
        buckets.push((f64::INFINITY, above));
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_below_the_next_power_of_two() {
        let check = |value, expected: [u64; 4]| {
            let histogram = Histogram::default();
            histogram.observe(value);
            let counts = histogram.counts();
            let found: Vec<_> = counts.buckets(1, 3, 0.5).into_iter().collect();
            let bounds = [1.0, 2.0, 4.0, f64::INFINITY];
            let expected: Vec<_> = bounds.into_iter().zip(expected).collect();
            assert_eq!(found, expected, "{value}");
            assert_eq!((counts.count(), counts.sum()), (1, value));
        };
        check(0, [1, 0, 0, 0]);
        check(1, [1, 0, 0, 0]);
        check(2, [1, 0, 0, 0]);
        check(3, [0, 1, 0, 0]);
        check(4, [0, 1, 0, 0]);
        check(8, [0, 0, 1, 0]);
        check(9, [0, 0, 0, 1]);
        check(u64::MAX, [0, 0, 0, 1]);
    }
}
