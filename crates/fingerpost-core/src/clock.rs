//! Time as an argument.

use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Microseconds since 1970-01-01T00:00:00Z. May be negative in old databases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Days since 1970-01-01, the coarse unit of "last used".
    pub const fn day(self) -> i64 {
        self.0.div_euclid(86_400_000_000)
    }

    /// The moment `micros` microseconds earlier; saturates.
    pub const fn minus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_sub(micros))
    }

    /// ISO 8601 as Python writes it, `2026-11-22T04:41:07.123456+00:00`; the
    /// fraction is missing when it is zero.
    pub fn to_python_iso(self) -> String {
        let Some(moment) = self.date_time() else {
            return self.0.to_string();
        };
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            moment.year(),
            u8::from(moment.month()),
            moment.day(),
            moment.hour(),
            moment.minute(),
            moment.second()
        );
        if moment.microsecond() != 0 {
            text.push_str(&format!(".{:06}", moment.microsecond()));
        }
        text.push_str("+00:00");
        text
    }

    /// Reads what [`Timestamp::to_python_iso`] writes, and nothing else: a text
    /// that would be written in another way is `None`.
    pub fn from_python_iso(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let micros = i64::try_from(moment.unix_timestamp_nanos().div_euclid(1000)).ok()?;
        Some(Self(micros)).filter(|read| read.to_python_iso() == text)
    }

    /// RFC 3339 in UTC, as in logs: `2026-11-22T04:41:07.123456Z`.
    pub fn to_rfc3339(self) -> String {
        self.date_time()
            .and_then(|moment| moment.format(&Rfc3339).ok())
            .unwrap_or_else(|| self.0.to_string())
    }

    fn date_time(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000).ok()
    }
}

/// Where the time of day comes from. Durations use the runtime's own timers.
pub trait Clock: Send + Sync + 'static {
    /// The current moment.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one home of the system clock"
    )]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        }))
    }
}

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `now`.
    pub const fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock on.
    pub fn advance_micros(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_iso_drops_a_zero_fraction() {
        assert_eq!(Timestamp(0).to_python_iso(), "1970-01-01T00:00:00+00:00");
        assert_eq!(
            Timestamp(1).to_python_iso(),
            "1970-01-01T00:00:00.000001+00:00"
        );
    }

    #[test]
    fn days_before_the_epoch_are_negative() {
        assert_eq!(Timestamp(-1).day(), -1);
        assert_eq!(Timestamp(86_400_000_000).day(), 1);
    }
}
