//! When a row was signed and a key was made.

use std::fmt;

use fingerpost_core::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Whole seconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799);

    /// Takes seconds; more than [`UnixTime::MAX`] give `None`.
    pub const fn new(seconds: u64) -> Option<Self> {
        if seconds > Self::MAX.0 {
            return None;
        }
        Some(Self(seconds))
    }

    /// The second that `moment` is in; the nearest one if it is out of range.
    pub fn of(moment: Timestamp) -> Self {
        let seconds = moment.0.div_euclid(1_000_000);
        Self(u64::try_from(seconds).unwrap_or(0)).min(Self::MAX)
    }

    /// The seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Reads decimal digits without leading zeros, at most 12 of them.
    pub fn parse_decimal(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = text.len() > 1 && text.starts_with('0');
        if !digits || leading_zero || text.len() > 12 {
            return None;
        }
        text.parse().ok().and_then(Self::new)
    }

    /// Reads `2026-11-22T04:41:07Z` and nothing else: UTC, whole seconds.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let time = u64::try_from(moment.unix_timestamp()).ok()?;
        Self::new(time).filter(|time| time.to_string() == text)
    }
}

/// As [`UnixTime::parse_rfc3339`] reads it.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Below the year 10,000 neither is out of range.
        let micros = i64::try_from(self.0).map_or(i64::MAX, |seconds| seconds * 1_000_000);
        f.write_str(&Timestamp(micros).to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_have_one_text() {
        let check = |seconds, text: &str| {
            let time = UnixTime::new(seconds).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(UnixTime::parse_rfc3339(text), Some(time));
            assert_eq!(UnixTime::parse_decimal(&seconds.to_string()), Some(time));
        };
        check(0, "1970-01-01T00:00:00Z");
        check(1_795_000_000, "2026-11-18T11:06:40Z");
        check(UnixTime::MAX.0, "9999-12-31T23:59:59Z");
    }

    #[test]
    fn other_texts_are_no_time() {
        for wrong in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            "1 ",
            "253402300800",
            "9999999999999",
        ] {
            assert_eq!(UnixTime::parse_decimal(wrong), None, "{wrong:?}");
        }
        for wrong in [
            "",
            "2026-11-18",
            "2026-11-18t11:06:40Z",
            "2026-11-18T11:06:40.5Z",
            "2026-11-18T12:06:40+01:00",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(UnixTime::parse_rfc3339(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_moment_is_in_a_second() {
        assert_eq!(UnixTime::of(Timestamp(1_999_999)).seconds(), 1);
        assert_eq!(UnixTime::of(Timestamp(-1)).seconds(), 0);
        assert_eq!(UnixTime::of(Timestamp(i64::MAX)), UnixTime::MAX);
    }
}
