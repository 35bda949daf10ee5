//! Progress of long work: a bar with rate and time left on a terminal, plain
//! lines elsewhere, nothing at all for what is done within two seconds.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Reports how far a piece of work has come, on standard error.
///
/// Shared by reference between threads. [`Progress::set`] costs one lock, so
/// callers that handle more than some 100,000 items a second call it for batches.
pub(crate) struct Progress {
    what: String,
    unit: &'static str,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    done: u64,
    total: Option<u64>,
    said: Option<Instant>,
    shown: Shown,
}

enum Shown {
    /// On a terminal; drawn only once [`PATIENCE`] is over.
    Bar(ProgressBar),
    /// Elsewhere: one line every [`LINE_EVERY`].
    Lines,
}

impl Progress {
    /// Starts work called `what` ("Importing mappings"), counted in `unit`
    /// ("rows"), `total` of them when that is known.
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, total: Option<u64>) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            Shown::Bar(ProgressBar::with_draw_target(
                total,
                ProgressDrawTarget::hidden(),
            ))
        } else {
            Shown::Lines
        };
        Self {
            what: what.into(),
            unit,
            started: Instant::now(),
            state: Mutex::new(State {
                done: 0,
                total,
                said: None,
                shown,
            }),
        }
    }

    /// `done` are done altogether, of `total`.
    pub(crate) fn set(&self, done: u64, total: u64) {
        self.update(|state| {
            state.done = done;
            state.total = Some(total);
        });
    }

    /// `done` are done altogether, of who knows how many.
    pub(crate) fn count(&self, done: u64) {
        self.update(|state| state.done = done);
    }

    /// Prints a line that stays, above the bar where there is one.
    pub(crate) fn note(&self, line: &str) {
        match &self.lock().shown {
            Shown::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Shown::Lines => eprintln!("{line}"),
        }
    }

    /// Ends the work: the bar disappears, and the sum is said if anything was
    /// said before.
    pub(crate) fn finish(self) {
        let state = self.lock();
        if let Shown::Bar(bar) = &state.shown {
            bar.finish_and_clear();
        }
        if state.said.is_some() {
            let elapsed = self.started.elapsed();
            eprintln!("{}: {}", self.what, summary(self.unit, state.done, elapsed));
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let elapsed = self.started.elapsed();
        if elapsed < PATIENCE {
            return;
        }
        let every = match state.shown {
            Shown::Bar(_) => DRAW_EVERY,
            Shown::Lines => LINE_EVERY,
        };
        if state.said.is_some_and(|said| said.elapsed() < every) {
            return;
        }
        let text = situation(self.unit, state.done, state.total, elapsed);
        match &state.shown {
            Shown::Bar(bar) => {
                if state.said.is_none() {
                    bar.set_style(style(state.total));
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                    bar.set_prefix(self.what.clone());
                }
                bar.set_length(state.total.unwrap_or(0));
                bar.set_position(state.done);
                bar.set_message(text);
            }
            Shown::Lines => eprintln!("{}: {text}", self.what),
        }
        state.said = Some(Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing inside can panic half way, so a poisoned state is whole.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A bar where the end is known, else a spinner.
fn style(total: Option<u64>) -> ProgressStyle {
    let template = match total {
        Some(_) => "{prefix} [{bar:30}] {msg}",
        None => "{prefix} {spinner} {msg}",
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are valid");
    style.progress_chars("=> ")
}

/// How things stand: `1200000 of 10000000 rows (12 %), 98000 rows/s, 1 min 30 s left`.
fn situation(unit: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let Some(total) = total.filter(|total| *total > 0) else {
        return format!("{done} {unit}, {rate:.0} {unit}/s");
    };
    let percent = done.min(total) as f64 * 100.0 / total as f64;
    let mut text = format!("{done} of {total} {unit} ({percent:.0} %), {rate:.0} {unit}/s");
    if rate > 0.0 {
        let left = total.saturating_sub(done) as f64 / rate;
        text.push_str(&format!(", {} left", words(left)));
    }
    text
}

/// What was done in the end: `10000000 rows in 1 min 42 s, 98039 rows/s`.
fn summary(unit: &str, done: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    format!(
        "{done} {unit} in {}, {:.0} {unit}/s",
        words(seconds),
        done as f64 / seconds
    )
}

/// A number of seconds in words, coarser the longer it is.
fn words(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// What is done within this time is not talked about.
const PATIENCE: Duration = Duration::from_secs(2);
const DRAW_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn situation_names_rate_and_time_left() {
        let text = situation("rows", 1000, Some(10_000), Duration::from_secs(10));
        assert_eq!(
            text,
            "1000 of 10000 rows (10 %), 100 rows/s, 1 min 30 s left"
        );
    }

    #[test]
    fn situation_without_a_total_has_only_a_rate() {
        assert_eq!(
            situation("rows", 50, None, Duration::from_secs(5)),
            "50 rows, 10 rows/s"
        );
    }

    #[test]
    fn nothing_done_leaves_no_guess_of_the_time() {
        let text = situation("rows", 0, Some(10), Duration::from_secs(3));
        assert_eq!(text, "0 of 10 rows (0 %), 0 rows/s");
    }

    #[test]
    fn long_times_are_said_coarsely() {
        assert_eq!(words(59.4), "59 s");
        assert_eq!(words(61.0), "1 min 1 s");
        assert_eq!(words(7322.0), "2 h 2 min");
    }
}
