//! Leaving alone for a while what does not work, so that nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// When a breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures one after the other until it opens; at least 1.
    pub failures: u32,
    /// How long it stays open at first. Doubles with every probe that fails.
    pub pause: Duration,
    /// The longest that it stays open.
    pub pause_max: Duration,
}

/// Five failures; a second, and up to a minute.
impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// Closed, it lets all calls through. After some failures one after the other
/// it opens and lets none through; after a pause it lets one through as a
/// probe, whose success closes it.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// One after the other.
    failures: u32,
    /// How long it is open the next time.
    pause: Duration,
    /// Until when it lets none through; `None` when closed.
    open_until: Option<Instant>,
    is_probing: bool,
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Arc<Self> {
        let state = State {
            failures: 0,
            pause: config.pause,
            open_until: None,
            is_probing: false,
        };
        Arc::new(Self {
            config,
            state: Mutex::new(state),
        })
    }

    /// A permit for a call, `None` if it must not be made now.
    pub(crate) fn enter(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let mut state = self.state.lock();
        let is_probe = match state.open_until {
            None => false,
            Some(until) if now < until || state.is_probing => return None,
            Some(_) => true,
        };
        state.is_probing = is_probe;
        Some(self.permit(is_probe))
    }

    /// A permit for what has begun already, whatever the state is.
    pub(crate) fn go_on(self: &Arc<Self>) -> Permit {
        self.permit(false)
    }

    /// Whether [`Breaker::enter`] would give a permit.
    pub(crate) fn lets_through(&self, now: Instant) -> bool {
        let state = self.state.lock();
        state
            .open_until
            .is_none_or(|until| now >= until && !state.is_probing)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().open_until.is_some()
    }

    fn permit(self: &Arc<Self>, is_probe: bool) -> Permit {
        let breaker = Arc::clone(self);
        Permit { breaker, is_probe }
    }
}

/// One call. Dropped without a verdict, as when the caller gave up, it counts
/// for nothing.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    is_probe: bool,
}

impl Permit {
    pub(crate) fn succeeded(self) {
        let mut state = self.breaker.state.lock();
        // What began before it opened says nothing about now.
        if self.is_probe || state.open_until.is_none() {
            state.open_until = None;
            state.failures = 0;
            state.pause = self.breaker.config.pause;
        }
    }

    /// Says whether that opened the breaker, which it was not before.
    pub(crate) fn failed(self, now: Instant) -> bool {
        let config = &self.breaker.config;
        let mut state = self.breaker.state.lock();
        let was_open = state.open_until.is_some();
        if was_open && !self.is_probe {
            return false;
        }
        state.failures = state.failures.saturating_add(1);
        if self.is_probe || state.failures >= config.failures {
            state.open_until = Some(now + state.pause);
            state.pause = state.pause.saturating_mul(2).min(config.pause_max);
        }
        !was_open && state.open_until.is_some()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.state.lock().is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Arc<Breaker> {
        Breaker::new(BreakerConfig {
            failures: 3,
            pause: SECOND,
            pause_max: 4 * SECOND,
        })
    }

    fn open(breaker: &Arc<Breaker>, now: Instant) {
        for _ in 0..3 {
            breaker.enter(now).unwrap().failed(now);
        }
        assert!(breaker.is_open());
    }

    #[test]
    fn opens_after_failures_one_after_the_other() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..10 {
            breaker.enter(now).unwrap().failed(now);
            breaker.enter(now).unwrap().failed(now);
            breaker.enter(now).unwrap().succeeded();
        }
        assert!(!breaker.is_open());
        open(&breaker, now);
        assert!(breaker.enter(now + SECOND / 2).is_none());
    }

    #[test]
    fn one_probe_goes_through_and_closes_it() {
        let (breaker, now) = (breaker(), Instant::now());
        open(&breaker, now);
        let probe = breaker.enter(now + SECOND).unwrap();
        assert!(breaker.enter(now + SECOND).is_none());
        probe.succeeded();
        assert!(!breaker.is_open());
        assert!(breaker.enter(now).is_some() && breaker.enter(now).is_some());
        // All is as at first.
        open(&breaker, now);
        assert!(breaker.enter(now + SECOND).is_some());
    }

    #[test]
    fn the_pause_grows_to_its_limit() {
        let (breaker, mut now) = (breaker(), Instant::now());
        open(&breaker, now);
        for pause in [1, 2, 4, 4] {
            assert!(breaker.enter(now + SECOND * pause - SECOND / 2).is_none());
            now += SECOND * pause;
            breaker.enter(now).unwrap().failed(now);
        }
    }

    #[test]
    fn a_probe_that_was_given_up_makes_room_for_another() {
        let (breaker, now) = (breaker(), Instant::now());
        open(&breaker, now);
        drop(breaker.enter(now + SECOND).unwrap());
        assert!(breaker.is_open());
        assert!(breaker.enter(now + SECOND).is_some());
    }

    #[test]
    fn late_verdicts_do_not_count() {
        let (breaker, now) = (breaker(), Instant::now());
        let early: Vec<_> = (0..4).map(|_| breaker.enter(now).unwrap()).collect();
        open(&breaker, now);
        let mut early = early.into_iter();
        early.next().unwrap().succeeded();
        assert!(breaker.is_open());
        early.for_each(|permit| assert!(!permit.failed(now + SECOND)));
        assert!(breaker.enter(now + SECOND).is_some());
    }
}
