//! Guessing is slow: who failed to log in has to wait, and nobody else.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_core::{Clock, Origin};
use parking_lot::Mutex;
use quick_cache::unsync::Cache;

use crate::recent::micros;

/// How logins are slowed down.
#[derive(Clone, Copy, Debug)]
pub struct ThrottleOptions {
    /// Failures of a pair after which it has to wait. 5.
    pub failures_free: u32,
    /// The first wait; each further failure doubles it. 1 s.
    pub wait_first: Duration,
    /// The longest wait. 60 s.
    pub wait_max: Duration,
    /// How long after its last failure a pair is forgotten. 15 min.
    pub keep: Duration,
    /// Pairs that are remembered at most; about 64 bytes each. 65,536.
    pub pairs_max: usize,
    /// Logins of a pair that may be checked at the same time before it has to wait,
    /// so that a thousand guesses at once are not a thousand free ones. 256.
    pub at_once_max: u32,
}

impl Default for ThrottleOptions {
    fn default() -> Self {
        Self {
            failures_free: 5,
            wait_first: Duration::from_secs(1),
            wait_max: Duration::from_secs(60),
            keep: Duration::from_secs(15 * 60),
            pairs_max: 65_536,
            at_once_max: 256,
        }
    }
}

/// The failed logins of each pair of an origin and a user. The right password from
/// another network is not slowed, and an origin's other users are not either.
///
/// ```text
/// let attempt = throttle.check(&peer.origin(), user)?;   // Err(Wait): tell or wait
/// match logins.by_name(user, secret).await {
///     Ok(_) => attempt.succeeded(),
///     Err(LoginError::Wrong(_)) => attempt.failed(),
///     Err(_) => drop(attempt),                           // says nothing of the secret
/// }
/// ```
///
/// Clones share what they remember. When the table is full what was not asked for
/// lately is forgotten: it takes as many failures as there are pairs to get there.
#[derive(Clone)]
pub struct Throttle(Arc<Shared>);

struct Shared {
    options: ThrottleOptions,
    clock: Arc<dyn Clock>,
    /// With a secret of the process: nobody can make two names one pair.
    hasher: RandomState,
    pairs: Mutex<Cache<u64, Pair>>,
    refused: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Pair {
    failures: u32,
    /// Attempts that are being checked.
    pending: u32,
    /// Of the last failure, in the unit of the clock.
    failed_at: i64,
}

/// A login is not looked at before this time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins; wait {} s", .time.as_secs_f32().ceil())]
pub struct Wait {
    /// How long.
    pub time: Duration,
    /// Whose failures it is for: `user`, of the pair of network and user, or
    /// `address`, of everybody there.
    pub by: &'static str,
}

/// A login that may be checked. Dropped without a verdict it counts for nothing.
#[must_use]
pub struct Attempt {
    throttle: Throttle,
    pair: u64,
    /// What came of it, if anything.
    is_right: Option<bool>,
}

impl Throttle {
    /// Remembers nobody yet.
    pub fn new(options: ThrottleOptions, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            options,
            clock,
            hasher: RandomState::new(),
            pairs: Mutex::new(Cache::new(options.pairs_max.max(1))),
            refused: AtomicU64::new(0),
        }))
    }

    /// Whether `user` may try to log in from `origin` now. Never waits itself.
    ///
    /// # Errors
    ///
    /// Says how long the pair has to wait; asking earlier does not make it longer.
    pub fn check(&self, origin: &Origin, user: &str) -> Result<Attempt, Wait> {
        let shared = &*self.0;
        let key = shared.hasher.hash_one((origin, user));
        let now = shared.clock.now().0;
        let mut pairs = shared.pairs.lock();
        let mut pair = pairs.get(&key).copied().unwrap_or_default();
        if !(0..micros(shared.options.keep)).contains(&now.saturating_sub(pair.failed_at)) {
            // A clock that was set back makes the age unknown.
            pair.failures = 0;
        }
        if let Some(wait) = shared.options.wait(&pair, now) {
            drop(pairs);
            shared.refused.fetch_add(1, Ordering::Relaxed);
            let by = "user";
            return Err(Wait { time: wait, by });
        }
        pair.pending += 1;
        pairs.insert(key, pair);
        Ok(Attempt {
            throttle: self.clone(),
            pair: key,
            is_right: None,
        })
    }

    /// How many attempts had to wait, since the start.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}

impl ThrottleOptions {
    /// How long `pair` has to wait at `now`, if it does.
    fn wait(&self, pair: &Pair, now: i64) -> Option<Duration> {
        if pair.failures < self.failures_free {
            // Another one will be done soon.
            return (pair.pending >= self.at_once_max).then_some(SOON);
        }
        let doublings = (pair.failures - self.failures_free).min(31);
        let wait = self.wait_first.saturating_mul(1 << doublings);
        let wait = micros(wait.min(self.wait_max));
        let passed = now.saturating_sub(pair.failed_at);
        match u64::try_from(wait.saturating_sub(passed)) {
            Ok(left @ 1..) => Some(Duration::from_micros(left)),
            // One at a time, whose failure makes the others wait.
            _ => (pair.pending > 0).then_some(SOON),
        }
    }
}

impl Attempt {
    /// What was shown was right: the pair's failures are forgotten.
    pub fn succeeded(mut self) {
        self.is_right = Some(true);
    }

    /// What was shown was wrong.
    pub fn failed(mut self) {
        self.is_right = Some(false);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let shared = &*self.throttle.0;
        let now = shared.clock.now().0;
        let mut pairs = shared.pairs.lock();
        let mut pair = pairs.get(&self.pair).copied().unwrap_or_default();
        pair.pending = pair.pending.saturating_sub(1);
        match self.is_right {
            Some(true) => pair.failures = 0,
            Some(false) => {
                pair.failures = pair.failures.saturating_add(1);
                pair.failed_at = now;
            }
            None => {}
        }
        // Of a pair without either nothing is left to know.
        match (pair.failures, pair.pending) {
            (0, 0) => drop(pairs.remove(&self.pair)),
            _ => pairs.insert(self.pair, pair),
        }
    }
}

/// Until another attempt of the pair was checked.
const SOON: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use fingerpost_core::{ManualClock, Timestamp};

    use super::*;

    struct World {
        clock: Arc<ManualClock>,
        throttle: Throttle,
    }

    fn world(options: ThrottleOptions) -> World {
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000_000)));
        let throttle = Throttle::new(options, clock.clone());
        World { clock, throttle }
    }

    fn origin(address: &str) -> Origin {
        let address: IpAddr = address.parse().unwrap();
        address.into()
    }

    impl World {
        fn wait(&self, address: &str, user: &str) -> Duration {
            let checked = self.throttle.check(&origin(address), user);
            checked.map_or_else(|wait| wait.time, |_| Duration::ZERO)
        }

        fn fail(&self, address: &str, user: &str, times: u32) {
            for _ in 0..times {
                self.throttle
                    .check(&origin(address), user)
                    .unwrap()
                    .failed();
            }
        }

        fn pass(&self, seconds: i64) {
            self.clock.advance_micros(seconds * 1_000_000);
        }
    }

    const HERE: &str = "192.0.2.1";

    #[test]
    fn the_wait_doubles_up_to_a_minute() {
        let world = world(ThrottleOptions::default());
        world.fail(HERE, "ci", 5);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(world.wait(HERE, "ci").as_secs(), seconds);
            world.pass(i64::try_from(seconds).unwrap());
            world.fail(HERE, "ci", 1);
        }
        assert_eq!(world.throttle.refused(), 8);
    }

    #[test]
    fn only_the_pair_waits() {
        let world = world(ThrottleOptions::default());
        world.fail(HERE, "ci", 5);
        assert!(!world.wait("192.0.2.200", "ci").is_zero(), "a neighbour");
        assert!(world.wait("192.0.3.1", "ci").is_zero());
        assert!(world.wait(HERE, "other").is_zero());
        assert!(world.throttle.check(&Origin::User(1000), "ci").is_ok());
    }

    #[test]
    fn the_right_password_and_a_quarter_of_an_hour_forget() {
        let world = world(ThrottleOptions::default());
        world.fail(HERE, "ci", 4);
        world
            .throttle
            .check(&origin(HERE), "ci")
            .unwrap()
            .succeeded();
        assert_eq!(world.throttle.0.pairs.lock().len(), 0);
        world.fail(HERE, "ci", 5);
        world.pass(15 * 60);
        world.fail(HERE, "ci", 4);
        assert!(world.wait(HERE, "ci").is_zero());
    }

    #[test]
    fn asking_early_changes_nothing_and_no_verdict_counts_for_nothing() {
        let world = world(ThrottleOptions::default());
        world.fail(HERE, "ci", 5);
        for _ in 0..50 {
            assert_eq!(world.wait(HERE, "ci").as_secs(), 1);
        }
        world.pass(1);
        for _ in 0..50 {
            assert!(world.wait(HERE, "ci").is_zero());
        }
    }

    #[test]
    fn many_guesses_at_once_are_not_free() {
        let world = world(ThrottleOptions::default());
        let here = origin(HERE);
        let together: Vec<_> = (0..256)
            .map(|_| world.throttle.check(&here, "ci"))
            .collect();
        assert!(together.iter().all(Result::is_ok));
        assert_eq!(world.wait(HERE, "ci"), SOON);
        together.into_iter().for_each(|one| one.unwrap().failed());
        world.pass(60);
        let alone = world.throttle.check(&here, "ci").unwrap();
        assert_eq!(world.wait(HERE, "ci"), SOON);
        drop(alone);
        assert!(world.wait(HERE, "ci").is_zero());
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let world = world(ThrottleOptions::default());
        world.fail(HERE, "ci", 5);
        world.pass(-100);
        assert!(world.wait(HERE, "ci").is_zero());
    }

    #[test]
    fn the_table_is_bounded() {
        let options = ThrottleOptions {
            pairs_max: 100,
            ..ThrottleOptions::default()
        };
        let world = world(options);
        for number in 0..1000 {
            world.fail(HERE, &number.to_string(), 1);
        }
        assert!(world.throttle.0.pairs.lock().len() <= 100);
    }
}
