//! What a run counted.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// Counts of one thread, or of all when merged.
#[derive(Debug)]
pub(super) struct Tally {
    /// Nanoseconds, three digits.
    latency: Histogram<u64>,
    /// Answers in the measured time, wrong ones included.
    pub(super) answers: u64,
    /// Answers that are not what the key's number says.
    pub(super) wrong: u64,
    /// Connections that ended before the run did.
    pub(super) broken: u64,
    /// The first thing that went wrong, for the reader.
    pub(super) problem: Option<String>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3)
            .expect("the bounds are in order and three digits are allowed");
        Self {
            latency,
            answers: 0,
            wrong: 0,
            broken: 0,
            problem: None,
        }
    }

    pub(super) fn answered(&mut self, latency: Duration) {
        self.answers += 1;
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos);
    }

    /// Counts a wrong answer and keeps the first one's start.
    pub(super) fn wrong(&mut self, expected: &dyn std::fmt::Debug, input: &[u8]) {
        self.wrong += 1;
        self.problem.get_or_insert_with(|| {
            let start = String::from_utf8_lossy(&input[..input.len().min(100)]).into_owned();
            format!("expected {expected:?}, got {start:?}")
        });
    }

    pub(super) fn broken(&mut self, why: String) {
        self.broken += 1;
        self.problem.get_or_insert(why);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.latency
            .add(&other.latency)
            .expect("both have the same bounds");
        self.answers += other.answers;
        self.wrong += other.wrong;
        self.broken += other.broken;
        self.problem = self.problem.take().or(other.problem);
    }

    /// The latency that this share of the answers did not exceed, in
    /// microseconds.
    pub(super) fn quantile_us(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64 / 1000.0
    }

    /// The longest latency, in microseconds.
    pub(super) fn max_us(&self) -> f64 {
        self.latency.max() as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_tallies_add_up() {
        let (mut all, mut other) = (Tally::new(), Tally::new());
        all.answered(Duration::from_micros(10));
        other.answered(Duration::from_micros(1000));
        other.wrong(&"x", b"y");
        all.merge(other);
        assert_eq!((all.answers, all.wrong, all.broken), (2, 1, 0));
        assert!((all.quantile_us(0.5) - 10.0).abs() < 0.1);
        assert!((all.max_us() - 1000.0).abs() < 2.0);
        assert_eq!(all.problem.as_deref(), Some("expected \"x\", got \"y\""));
    }
}
