//! The waits for a server that look-ups were spared.

use std::time::{Duration, Instant};

use crate::figures::Figures;

/// Those of one stream of look-ups.
#[derive(Default)]
pub(crate) struct Spared {
    /// Until when lines that come together would have waited for the same answer.
    together_until: Option<Instant>,
}

impl Spared {
    /// So many lines that came together needed no server.
    ///
    /// Whoever sends one line and then the next would have waited for each. Of those who send
    /// many nobody knows whether they waited before for the answers of the last ones, so that
    /// what they send within the time that an answer takes counts as one wait.
    pub(crate) fn lines(&mut self, figures: &Figures, lines: u64, now: impl Fn() -> Instant) {
        if lines > 1 {
            let now = now();
            if self.together_until.is_some_and(|until| now < until) {
                return;
            }
            self.together_until = Some(now + figures.wait().unwrap_or(Duration::ZERO));
        }
        if lines > 0 {
            figures.spared();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(50);

    fn saved(batches: &[u64], each: Duration) -> f64 {
        let figures = Figures::default();
        assert_eq!(figures.seconds_saved(), None);
        figures.waited(WAIT / 2);
        figures.waited(WAIT * 3 / 2);
        let (mut spared, mut now) = (Spared::default(), Instant::now());
        for lines in batches {
            spared.lines(&figures, *lines, || now);
            now += each;
        }
        figures.seconds_saved().unwrap()
    }

    #[test]
    fn lines_that_are_sent_without_waiting_wait_together() {
        let millisecond = Duration::from_millis(1);
        assert_eq!(saved(&[500; 30], millisecond), 0.05);
        // These waited for each other's answers, or thought of something else meanwhile.
        assert_eq!(saved(&[500; 30], WAIT), 1.5);
    }

    #[test]
    fn lines_that_are_sent_one_by_one_wait_for_each() {
        assert_eq!(saved(&[1; 200], Duration::ZERO), 10.0);
        assert_eq!(saved(&[0; 200], Duration::ZERO), 0.0);
    }
}
