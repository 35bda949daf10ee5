//! Reports that fail while others do not: the server closes on them, answers nonsense, or has
//! no answer in time, or something on the way does not let them through.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::state::NotDelivered;

/// A report that fails so often lets others go before, and is tried again each time that all
/// others were.
const FAILURES_MAX: u32 = 5;
/// One in so many of those times.
const SKIPPED: u32 = 16;
/// What failed so often more, while the server took others in between, will never pass.
const BLAMED_MAX: u32 = 3;
/// Reports that are counted so.
const SUSPECTS_MAX: usize = 10_000;

/// By their keys.
#[derive(Default)]
pub(crate) struct Suspects(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// Reports that the server took.
    passed: u64,
    reports: HashMap<[u8; 16], Suspect>,
}

#[derive(Default)]
struct Suspect {
    failures: u32,
    /// How often its turn came since it lets others go before.
    turns: u32,
    /// Of the failures, those to which the server took others meanwhile.
    blamed: u32,
    /// How many it had taken when this one failed last.
    passed: u64,
}

impl Suspect {
    const fn is_one(&self) -> bool {
        self.failures > FAILURES_MAX
    }
}

impl Suspects {
    /// A report failed on which alone it depended. The server may be about to end, or its
    /// database away; one that never passes must not keep the others back, and is given up
    /// once it is clear that it is to blame.
    pub(crate) fn failed(&self, key: [u8; 16], why: &str) -> NotDelivered {
        let mut counted = self.0.lock();
        if counted.reports.len() >= SUSPECTS_MAX {
            counted.reports.clear();
        }
        let passed = counted.passed;
        let suspect = counted.reports.entry(key).or_default();
        suspect.failures += 1;
        suspect.blamed += u32::from(suspect.is_one() && passed > suspect.passed);
        suspect.passed = passed;
        if suspect.blamed >= BLAMED_MAX {
            counted.reports.remove(&key);
            return NotDelivered::Refused(format!("it fails while others do not: {why}"));
        }
        match suspect.is_one() {
            true => NotDelivered::Held,
            false => NotDelivered::Away,
        }
    }

    /// Whether a report is passed over this time. Suspects go `alone` or not at all.
    pub(crate) fn is_skipped(&self, key: [u8; 16], alone: bool) -> bool {
        let mut counted = self.0.lock();
        let suspect = counted.reports.get_mut(&key);
        let Some(suspect) = suspect.filter(|suspect| suspect.is_one()) else {
            return false;
        };
        if !alone {
            return true;
        }
        suspect.turns += 1;
        !suspect.turns.is_multiple_of(SKIPPED)
    }

    /// The server took a report as it came.
    pub(crate) fn passed(&self) {
        self.0.lock().passed += 1;
    }

    /// The server took one that had waited. If that was a suspect, it was not to blame, and
    /// those that failed beside it are none either.
    pub(crate) fn delivered(&self, key: [u8; 16]) {
        let mut counted = self.0.lock();
        counted.passed += 1;
        if counted.reports.remove(&key).is_some_and(|one| one.is_one()) {
            counted.reports.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: [u8; 16] = [1; 16];
    const GOOD: [u8; 16] = [2; 16];

    /// One that has failed often enough.
    fn suspects() -> Suspects {
        let suspects = Suspects::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(suspects.failed(BAD, "500"), NotDelivered::Away);
            assert!(!suspects.is_skipped(BAD, true));
        }
        assert_eq!(suspects.failed(BAD, "500"), NotDelivered::Held);
        suspects
    }

    #[test]
    fn a_report_that_fails_each_time_lets_others_go_before() {
        let suspects = suspects();
        let turns = 0..4 * SKIPPED;
        let tries = turns.filter(|_| !suspects.is_skipped(BAD, true));
        assert_eq!(tries.count(), 4);
        assert!((0..4 * SKIPPED).all(|_| suspects.is_skipped(BAD, false)));
        assert!(!suspects.is_skipped(GOOD, true) && !suspects.is_skipped(GOOD, false));
    }

    #[test]
    fn a_report_that_fails_while_others_pass_is_given_up() {
        let suspects = suspects();
        for _ in 1..BLAMED_MAX {
            suspects.delivered(GOOD);
            suspects.passed();
            assert_eq!(suspects.failed(BAD, "500"), NotDelivered::Held);
        }
        suspects.passed();
        let why = "it fails while others do not: 500".to_owned();
        assert_eq!(suspects.failed(BAD, "500"), NotDelivered::Refused(why));
        assert!(!suspects.is_skipped(BAD, false));
    }

    #[test]
    fn no_report_is_given_up_while_the_server_takes_none() {
        let suspects = suspects();
        for _ in 0..100 {
            assert_eq!(suspects.failed(BAD, "500"), NotDelivered::Held);
        }
        for _ in 0..=FAILURES_MAX {
            suspects.failed(GOOD, "500");
        }
        // It was not their fault.
        suspects.delivered(GOOD);
        assert!(!suspects.is_skipped(BAD, false));
    }
}
