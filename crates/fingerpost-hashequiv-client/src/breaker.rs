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
    Down(Down),
}

#[derive(Clone, Debug)]
struct Down {
    retry_at: Instant,
    pause: Duration,
    attempt: Attempt,
    trouble: Trouble,
}

/// What is tried with a server that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// Nothing, before the pause is over.
    None,
    /// Whether it takes a connection.
    Probe,
    /// It took one: the next question is asked on trial.
    Connected,
    /// Whether it answers that question.
    Question,
}

/// What is wrong with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When it was noticed.
    pub since: Instant,
    /// What it was then.
    pub why: String,
    /// Whether it answers, and does not let in who asks.
    pub is_refusal: bool,
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
    /// down one in a while is told to probe, and one is asked on trial once there is a
    /// connection.
    pub fn admit(&self, now: Instant) -> Admit {
        let mut state = self.state.lock();
        let State::Down(down) = &mut *state else {
            return Admit::Ask;
        };
        let (attempt, admit) = match down.attempt {
            Attempt::Connected => (Attempt::Question, Admit::Ask),
            _ if now < down.retry_at => return Admit::Refuse,
            _ => (Attempt::Probe, Admit::Probe),
        };
        down.attempt = attempt;
        // Should the probe or the question be lost, another probe follows.
        down.retry_at = now + down.pause;
        admit
    }

    /// Whether questions are asked of it as of any other server.
    pub fn is_up(&self) -> bool {
        matches!(*self.state.lock(), State::Up)
    }

    /// Why questions are not asked.
    pub fn trouble(&self) -> Option<Trouble> {
        match &*self.state.lock() {
            State::Up => None,
            State::Down(down) => Some(down.trouble.clone()),
        }
    }

    /// Notes that the server took a connection. After trouble that alone says little, for one
    /// that hangs still shakes hands: a probe that comes so far is followed by a question.
    pub fn connected(&self) {
        if let State::Down(down) = &mut *self.state.lock()
            && down.attempt == Attempt::Probe
        {
            down.attempt = Attempt::Connected;
        }
    }

    /// Notes that the server answers.
    pub fn up(&self) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Up);
        if matches!(before, State::Down(_)) {
            let address = &self.address;
            tracing::info!(server = address, "{address} answers again");
        }
    }

    /// Notes that the server could not be reached, or does not answer.
    pub fn down(&self, now: Instant, why: &str) {
        self.down_for(now, why, Duration::ZERO);
    }

    /// The same of a server that asked for a rest, which it gets once.
    pub fn down_for(&self, now: Instant, why: &str, rest: Duration) {
        self.note(now, why, rest, false);
    }

    /// Notes that the server does not let in who asks, which is asked as seldom.
    pub(crate) fn refuses(&self, now: Instant, why: &str) {
        self.note(now, why, Duration::ZERO, true);
    }

    fn note(&self, now: Instant, why: &str, rest: Duration, is_refusal: bool) {
        match &mut *self.state.lock() {
            State::Down(down) => {
                down.trouble.is_refusal = is_refusal;
                down.again(now, rest);
            }
            state @ State::Up => {
                let address = &self.address;
                tracing::warn!(server = address, "Going on without {address}: {why}");
                *state = State::Down(Down {
                    retry_at: now + rest.max(PAUSE_MIN),
                    pause: PAUSE_MIN,
                    attempt: Attempt::None,
                    trouble: Trouble {
                        since: now,
                        why: why.to_owned(),
                        is_refusal,
                    },
                });
            }
        }
    }
}

impl Down {
    /// It failed once more. Only what was tried since says something new: several
    /// connections notice the same trouble.
    fn again(&mut self, now: Instant, rest: Duration) {
        if self.attempt != Attempt::None || now >= self.retry_at {
            self.attempt = Attempt::None;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            self.retry_at = now + self.pause;
        }
        self.retry_at = self.retry_at.max(now + rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(now: Instant) -> Breaker {
        let breaker = Breaker::new("test".to_owned());
        assert_eq!(breaker.admit(now), Admit::Ask);
        breaker.down(now, "a test");
        breaker
    }

    #[test]
    fn a_server_that_is_down_is_probed_ever_less_often() {
        let mut now = Instant::now();
        let breaker = breaker(now);
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
    fn a_server_gets_the_rest_that_it_asks_for() {
        let breaker = Breaker::new("test".to_owned());
        let now = Instant::now();
        breaker.down_for(now, "a test", 30 * SECOND);
        assert_eq!(breaker.admit(now + 29 * SECOND), Admit::Refuse);
        assert_eq!(breaker.admit(now + 30 * SECOND), Admit::Probe);
        breaker.down_for(now + 30 * SECOND, "still", SECOND);
        assert_eq!(breaker.admit(now + 31 * SECOND), Admit::Refuse);
        assert_eq!(breaker.admit(now + 32 * SECOND), Admit::Probe);
    }

    #[test]
    fn a_lost_probe_is_followed_by_another() {
        let now = Instant::now();
        let breaker = breaker(now);
        assert_eq!(breaker.admit(now + SECOND), Admit::Probe);
        assert_eq!(breaker.admit(now + 2 * SECOND), Admit::Probe);
    }

    #[test]
    fn a_connection_is_a_trial_of_one_question() {
        let mut now = Instant::now();
        let breaker = breaker(now);
        for pause in [1, 2, 4, 8, 10] {
            now += pause * SECOND;
            assert_eq!(breaker.admit(now), Admit::Probe);
            breaker.connected();
            assert!(!breaker.is_up());
            assert_eq!(breaker.admit(now), Admit::Ask);
            assert_eq!(breaker.admit(now), Admit::Refuse, "one at a time");
            breaker.down(now, "it does not answer");
            assert_eq!(breaker.admit(now), Admit::Refuse);
        }
        now += 10 * SECOND;
        assert_eq!(breaker.admit(now), Admit::Probe);
        breaker.connected();
        assert_eq!(breaker.admit(now), Admit::Ask);
        breaker.up();
        assert_eq!(breaker.admit(now), Admit::Ask);
        // Then all begins anew.
        breaker.down(now, "again");
        assert_eq!(breaker.admit(now + SECOND), Admit::Probe);
    }

    #[test]
    fn a_lost_trial_is_followed_by_a_probe() {
        let now = Instant::now();
        let breaker = breaker(now);
        // Who connects for a question of before the trouble ends no pause.
        breaker.connected();
        assert_eq!(breaker.admit(now), Admit::Refuse);
        assert_eq!(breaker.admit(now + SECOND), Admit::Probe);
        breaker.connected();
        assert_eq!(breaker.admit(now + SECOND), Admit::Ask);
        breaker.connected();
        assert_eq!(breaker.admit(now + SECOND), Admit::Refuse);
        assert_eq!(breaker.admit(now + 2 * SECOND), Admit::Probe);
        // It stays connected until somebody has something to ask.
        breaker.connected();
        assert_eq!(breaker.admit(now + 60 * SECOND), Admit::Ask);
    }

    #[test]
    fn trouble_that_several_notice_is_one() {
        let mut now = Instant::now();
        let breaker = breaker(now);
        for pause in [1, 2, 4] {
            for _ in 0..3 {
                breaker.down(now, "noticed by another");
            }
            assert_eq!(breaker.admit(now + pause * SECOND / 2), Admit::Refuse);
            now += pause * SECOND;
            assert_eq!(breaker.admit(now), Admit::Probe);
            breaker.down(now, "the probe");
        }
    }

    #[test]
    fn a_rest_that_was_asked_for_is_given_once() {
        let now = Instant::now();
        let breaker = breaker(now);
        breaker.down_for(now, "busy", 5 * SECOND);
        assert_eq!(breaker.admit(now + 4 * SECOND), Admit::Refuse);
        let later = now + 5 * SECOND;
        assert_eq!(breaker.admit(later), Admit::Probe);
        breaker.down(later, "still");
        assert_eq!(breaker.admit(later + 2 * SECOND), Admit::Probe);
    }

    #[test]
    fn a_failure_after_the_pause_counts_though_nobody_probed() {
        let now = Instant::now();
        let breaker = breaker(now);
        let later = now + SECOND;
        breaker.down(later, "late");
        assert_eq!(breaker.admit(later + SECOND), Admit::Refuse);
        assert_eq!(breaker.admit(later + 2 * SECOND), Admit::Probe);
    }
}
