//! When a run is due.

use fingerpost_core::Timestamp;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// When runs are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Only when somebody asks.
    #[default]
    Off,
    /// So many hours after the last one began.
    EveryHours(u64),
    /// At this hour of each day, UTC; 0 to 23.
    DailyAt(u64),
}

impl Schedule {
    /// When the next run is due, after one that was finished and began at `last`; when
    /// there was none, for who watches since `since`. May be in the past: a run that
    /// was missed is made up for.
    pub fn next(self, last: Option<Timestamp>, since: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Off => None,
            Self::EveryHours(hours) => {
                let hours = i64::try_from(hours).unwrap_or(i64::MAX);
                let term = hours.saturating_mul(HOUR);
                Some(last.map_or(since, |last| Timestamp(last.0.saturating_add(term))))
            }
            Self::DailyAt(hour) => {
                let after = last.unwrap_or(since);
                let hour = i64::try_from(hour).unwrap_or(0).clamp(0, 23) * HOUR;
                let today = Timestamp(after.day() * DAY + hour);
                Some(match today > after {
                    true => today,
                    false => Timestamp(today.0.saturating_add(DAY)),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64, hour: i64) -> Timestamp {
        Timestamp(day * DAY + hour * HOUR)
    }

    #[test]
    fn runs_are_due_by_the_hour() {
        let check = |schedule: Schedule, last, since, wanted| {
            assert_eq!(schedule.next(last, since), wanted);
        };
        check(Schedule::Off, None, at(5, 0), None);
        let every = Schedule::EveryHours(12);
        check(every, None, at(5, 0), Some(at(5, 0)));
        check(every, Some(at(4, 3)), at(5, 0), Some(at(4, 15)));
        let daily = Schedule::DailyAt(3);
        check(daily, None, at(5, 1), Some(at(5, 3)));
        check(daily, None, at(5, 4), Some(at(6, 3)));
        check(daily, Some(at(5, 3)), at(9, 0), Some(at(6, 3)));
        check(daily, Some(at(5, 2)), at(9, 0), Some(at(5, 3)));
    }
}
