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

#[derive(Clone, Copy, Debug)]
enum State {
    Up,
    Down { retry_at: Instant, pause: Duration },
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
        let State::Down { retry_at, pause } = *state else {
            return Admit::Ask;
        };
        if now < retry_at {
            return Admit::Refuse;
        }
        // Should the probe be lost, another follows.
        *state = State::Down {
            retry_at: now + pause,
            pause,
        };
        Admit::Probe
    }

    /// Whether questions are asked.
    pub fn is_up(&self) -> bool {
        matches!(*self.state.lock(), State::Up)
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
        let mut state = self.state.lock();
        let pause = match *state {
            State::Up => {
                let address = &self.address;
                tracing::warn!(upstream = address, "Going on without the upstream: {why}");
                PAUSE_MIN
            }
            State::Down { pause, .. } => (pause * 2).min(PAUSE_MAX),
        };
        *state = State::Down {
            retry_at: now + pause,
            pause,
        };
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
        breaker.up();
        assert!(breaker.is_up());
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
