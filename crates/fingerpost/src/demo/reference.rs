//! How long the reference client alone would have waited. This is computed of what is
//! documented of it, and nothing that was measured here.

use std::time::Duration;

use super::builder::THREADS;
use super::phases::{AWAY, Event};

/// How long it waits for each line or message.
const RECEIVE: Duration = Duration::from_secs(30);
/// How often it tries, without a pause.
const TRIES: u32 = 4;
/// The same for a batch of look-ups: entering the stream is tried again within each try.
const BATCH_TRIES: u32 = TRIES * TRIES;
/// Round trips of a report: it connects, then asks.
const REPORT_TRIPS: u32 = 2;
/// Of a batch on a connection that is open: it enters the stream, then sends all lines.
const BATCH_TRIPS: u32 = 2;

/// What a build would have waited for each batch of look-ups and for each report.
pub(super) fn waits(event: Event) -> String {
    match event {
        Event::None | Event::Restart | Event::Resume | Event::Return => {
            "as the server answers".to_owned()
        }
        Event::Kill => "refused at once, no reuse".to_owned(),
        Event::Stall => format!(
            "{}/batch, {}/report",
            words(RECEIVE * BATCH_TRIES),
            words(RECEIVE * TRIES)
        ),
        Event::Move => format!(
            "{}/batch, {}/report",
            words(2 * AWAY * BATCH_TRIPS),
            words(2 * AWAY * REPORT_TRIPS)
        ),
    }
}

/// What a build of so many batches and reports would wait altogether for a server that
/// stays stalled. Each look-up and report begins the same wait again, and batches come one
/// after the other.
pub(super) fn whole_build(batches: u64, reports: u64) -> Duration {
    let times = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let rounds = reports.div_ceil(THREADS as u64);
    let batches = (RECEIVE * BATCH_TRIES).saturating_mul(times(batches));
    batches.saturating_add((RECEIVE * TRIES).saturating_mul(times(rounds)))
}

/// What these figures are made of.
pub(super) fn basis() -> String {
    format!(
        "{} s for each answer, {TRIES} tries of a report, {BATCH_TRIES} of a batch",
        RECEIVE.as_secs()
    )
}

/// A time for people, coarser the longer it is.
pub(super) fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hung_server_costs_what_is_documented() {
        assert_eq!(waits(Event::Stall), "8 min/batch, 2 min/report");
        assert_eq!(waits(Event::Move), "100 ms/batch, 100 ms/report");
    }

    #[test]
    fn a_whole_build_waits_for_batches_and_for_rounds_of_reports() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(whole_build(0, 0), Duration::ZERO);
        assert_eq!(whole_build(2, 9), minutes(2 * 8 + 2 * 2));
        assert_eq!(words(whole_build(5, 160)), "1 h 20 min");
        whole_build(u64::MAX, u64::MAX);
    }

    #[test]
    fn times_are_said_coarsely() {
        let check = |millis, text: &str| assert_eq!(words(Duration::from_millis(millis)), text);
        check(9, "9 ms");
        check(2010, "2.0 s");
        check(61_000, "1 min 1 s");
        check(480_000, "8 min");
    }
}
