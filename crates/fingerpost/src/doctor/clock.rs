//! This host's clock against the server's, as far as that tells its own.

use fingerpost_core::Timestamp;

use super::report::Finding;

pub(super) const ID: &str = "clock";

/// Differences up to these are nothing, or no more than a warning. Tokens of CI systems
/// live for minutes, and certificates begin at a second.
const FINE_SECONDS: u64 = 60;
const ODD_SECONDS: u64 = 5 * 60;

/// Compares the two.
pub(super) fn compare(server: Timestamp, here: Timestamp) -> Finding {
    let ahead = (here.0.saturating_sub(server.0)) / 1_000_000;
    let (seconds, side) = (
        ahead.unsigned_abs(),
        if ahead < 0 { "behind" } else { "ahead of" },
    );
    let says = format!(
        "this host's clock is {} {side} the server's, and certificates and tokens go by it: set the \
         one that is wrong (chrony, systemd-timesyncd)",
        span(seconds)
    );
    match seconds {
        seconds if seconds <= FINE_SECONDS => {
            Finding::ok(ID, format!("{seconds} s from the server's"))
        }
        seconds if seconds <= ODD_SECONDS => Finding::warning(ID, says),
        _ => Finding::problem(ID, says),
    }
}

/// A time as people say it.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn a_minute_is_nothing_and_five_are_too_much() {
        let state = |here: i64| compare(Timestamp(0), Timestamp(here * 1_000_000)).state;
        for (seconds, expected) in [
            (0, State::Ok),
            (60, State::Ok),
            (-61, State::Warning),
            (300, State::Warning),
            (301, State::Problem),
            (-86_400, State::Problem),
        ] {
            assert_eq!(state(seconds), expected, "{seconds}");
        }
        let behind = compare(Timestamp(600_000_000), Timestamp(0)).says;
        assert!(
            behind.starts_with("this host's clock is 10 min behind"),
            "{behind}"
        );
    }
}
