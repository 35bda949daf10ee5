//! Knowing that a server is down, so that nobody waits to learn it again.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Rest before a server that is down is tried again; doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Whether the server of several connections can be asked.
#[derive(Debug)]
pub struct Breaker {
    address: String,
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
enum State {
    Up,
    Down {
        retry_at: Instant,
        pause: Duration,
        trouble: Trouble,
    },
}

/// What is wrong with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When it was noticed.
    pub since: Instant,
    /// What it was then.
    pub why: String,
}

/// What to do with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Ask it.
    Ask,
    /// Refuse it, and try whether the server is back.
    Probe,
    /// Refuse it.
    Refuse,
}

impl Breaker {
    /// One for the server at an address, which is believed to be up.
    pub const fn new(address: String) -> Self {
        Self {
            address,
            state: Mutex::new(State::Up),
        }
    }

    /// Whether a question may be asked. Of those that come while the server is
    /// down one in a while is told to probe.
    pub fn admit(&self, now: Instant) -> Admit {
        let mut state = self.state.lock();
        let State::Down {
            retry_at, pause, ..
        } = &mut *state
        else {
            return Admit::Ask;
        };
        if now < *retry_at {
            return Admit::Refuse;
        }
        // Should the probe be lost, another follows.
        *retry_at = now + *pause;
        Admit::Probe
    }

    /// Whether questions are asked.
    pub fn is_up(&self) -> bool {
        matches!(*self.state.lock(), State::Up)
    }

    /// Why questions are not asked.
    pub fn trouble(&self) -> Option<Trouble> {
        match &*self.state.lock() {
            State::Up => None,
            State::Down { trouble, .. } => Some(trouble.clone()),
        }
    }

    /// Notes that the server answers.
    pub fn up(&self) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Up);
        if matches!(before, State::Down { .. }) {
            tracing::info!(upstream = self.address, "The upstream answers again");
        }
    }

    /// Notes that the server could not be reached, or does not answer.
    pub fn down(&self, now: Instant, why: &str) {
        self.down_for(now, why, Duration::ZERO);
    }

    /// The same of a server that asked for a rest, which it gets once.
    pub fn down_for(&self, now: Instant, why: &str, rest: Duration) {
        match &mut *self.state.lock() {
            State::Down {
                retry_at, pause, ..
            } => {
                *pause = (*pause * 2).min(PAUSE_MAX);
                *retry_at = now + rest.max(*pause);
            }
            state @ State::Up => {
                let address = &self.address;
                tracing::warn!(upstream = address, "Going on without the upstream: {why}");
                *state = State::Down {
                    retry_at: now + rest.max(PAUSE_MIN),
                    pause: PAUSE_MIN,
                    trouble: Trouble {
                        since: now,
                        why: why.to_owned(),
                    },
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_server_that_is_down_is_probed_ever_less_often() {
        let breaker = Breaker::new("test".to_owned());
        let mut now = Instant::now();
        assert_eq!(breaker.admit(now), Admit::Ask);
        breaker.down(now, "a test");
        for pause in [1, 2, 4, 8, 10, 10] {
            assert_eq!(breaker.admit(now), Admit::Refuse);
            assert!(!breaker.is_up());
            now += pause * SECOND;
            assert_eq!(breaker.admit(now), Admit::Probe);
            assert_eq!(breaker.admit(now), Admit::Refuse);
            breaker.down(now, "still");
        }
        let trouble = breaker.trouble().unwrap();
        assert_eq!(trouble.why, "a test");
        assert!(trouble.since < now);
        breaker.up();
        assert!(breaker.is_up() && breaker.trouble().is_none());
        assert_eq!(breaker.admit(now), Admit::Ask);
    }

    #[test]
    fn a_lost_probe_is_followed_by_another() {
        let breaker = Breaker::new("test".to_owned());
        let now = Instant::now();
        breaker.down(now, "a test");
        assert_eq!(breaker.admit(now + SECOND), Admit::Probe);
        assert_eq!(breaker.admit(now + 2 * SECOND), Admit::Probe);
    }
}
