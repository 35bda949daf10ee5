//! Token buckets for many keys, in bounded memory.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

/// A bucket for each key: the generic cell rate algorithm, one number a key, which
/// is the moment at which the bucket is full again. `governor` does the same, but
/// keeps every key that it ever saw until somebody sweeps.
///
/// When there are too many keys the ones that were not asked for lately are
/// forgotten: their buckets are full again.
pub(super) struct Buckets {
    /// Nanoseconds for one request; 0 for no limit.
    interval: u64,
    /// Nanoseconds that a bucket may be empty of.
    burst: u64,
    begun: Instant,
    /// With a secret of the process: nobody can share a bucket by choice.
    hasher: RandomState,
    full_at: Cache<u64, Arc<AtomicU64>>,
}

impl Buckets {
    /// `rate` requests a second, 0 for any number.
    pub(super) fn new(rate: u32, burst_seconds: u32, keys_max: usize) -> Self {
        let interval = match rate {
            0 => 0,
            rate => SECOND / u64::from(rate),
        };
        Self {
            interval,
            // At least one request, however seldom they are allowed.
            burst: (SECOND * u64::from(burst_seconds)).max(interval),
            begun: Instant::now(),
            hasher: RandomState::new(),
            full_at: Cache::new(if rate == 0 { 0 } else { keys_max.max(1) }),
        }
    }

    pub(super) const fn is_off(&self) -> bool {
        self.interval == 0
    }

    /// Takes a request out of the key's bucket if it is there within `patience`, and
    /// says after which time it is.
    ///
    /// # Errors
    ///
    /// Says how long it would take; nothing is taken out.
    pub(super) fn reserve<K: Hash + ?Sized>(
        &self,
        key: &K,
        patience: Duration,
    ) -> Result<Duration, Duration> {
        if self.is_off() {
            return Ok(Duration::ZERO);
        }
        self.reserve_at(key, patience, self.now())
    }

    fn reserve_at<K: Hash + ?Sized>(
        &self,
        key: &K,
        patience: Duration,
        now: u64,
    ) -> Result<Duration, Duration> {
        let full_at = self.bucket(key);
        let mut wait = Duration::ZERO;
        let taken = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            let after = before.max(now).saturating_add(self.interval);
            wait = self.wait(after, now);
            (wait <= patience).then_some(after)
        });
        taken.map_or(Err(wait), |_| Ok(wait))
    }

    /// Takes out what was done already, and says how long to rest after it: at most
    /// `rest_max`, and what that does not make up for is forgiven.
    pub(super) fn charge<K: Hash + ?Sized>(
        &self,
        key: &K,
        requests: u32,
        rest_max: Duration,
    ) -> Duration {
        if self.is_off() {
            return Duration::ZERO;
        }
        self.charge_at(key, requests, rest_max, self.now())
    }

    fn charge_at<K: Hash + ?Sized>(
        &self,
        key: &K,
        requests: u32,
        rest_max: Duration,
        now: u64,
    ) -> Duration {
        let rest_max = u64::try_from(rest_max.as_nanos()).unwrap_or(u64::MAX);
        let latest = now.saturating_add(self.burst).saturating_add(rest_max);
        let work = self.interval.saturating_mul(u64::from(requests));
        let after = |before: u64| before.max(now).saturating_add(work).min(latest.max(before));
        let full_at = self.bucket(key);
        let changed = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            Some(after(before))
        });
        let (Ok(before) | Err(before)) = changed;
        self.wait(after(before).min(latest), now)
    }

    /// How long a request waits after which the bucket is full at `after`.
    const fn wait(&self, after: u64, now: u64) -> Duration {
        Duration::from_nanos(after.saturating_sub(now).saturating_sub(self.burst))
    }

    /// How long one request of the key would wait.
    pub(super) fn would_wait<K: Hash + ?Sized>(&self, key: &K) -> Duration {
        if self.is_off() {
            return Duration::ZERO;
        }
        let known = self.full_at.get(&self.hasher.hash_one(key));
        let full_at = known.map_or(0, |known| known.load(Ordering::Relaxed));
        let now = self.now();
        self.wait(full_at.max(now).saturating_add(self.interval), now)
    }

    /// How many requests a full bucket gives within `time`; `None` for any number.
    pub(super) fn most_within(&self, time: Duration) -> Option<u64> {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.burst.saturating_add(time).checked_div(self.interval)
    }

    fn bucket<K: Hash + ?Sized>(&self, key: &K) -> Arc<AtomicU64> {
        let key = self.hasher.hash_one(key);
        let full = || Ok::<_, std::convert::Infallible>(Arc::default());
        match self.full_at.get_or_insert_with(&key, full) {
            Ok(bucket) => bucket,
            Err(never) => match never {},
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets")
            .field("interval", &self.interval)
            .field("keys", &self.full_at.len())
            .finish_non_exhaustive()
    }
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOT: Duration = Duration::ZERO;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let buckets = Buckets::new(10, 2, 100);
        let take = |now| buckets.reserve_at("a", NOT, now);
        for _ in 0..20 {
            assert_eq!(take(5 * SECOND), Ok(NOT));
        }
        assert_eq!(take(5 * SECOND), Err(Duration::from_millis(100)));
        assert_eq!(take(5 * SECOND + SECOND / 10), Ok(NOT));
        assert!(take(5 * SECOND + SECOND / 10).is_err());
        assert_eq!(buckets.reserve_at("b", NOT, 5 * SECOND), Ok(NOT));
    }

    #[test]
    fn who_is_patient_gets_a_turn_and_the_next_one_a_later_one() {
        let buckets = Buckets::new(10, 1, 100);
        let take = || buckets.reserve_at("a", SECOND_LONG, 0);
        let waits: Vec<_> = (0..25).map(|_| take()).collect();
        assert!(waits[..10].iter().all(|wait| *wait == Ok(NOT)));
        assert_eq!(waits[10], Ok(Duration::from_millis(100)));
        assert_eq!(waits[19], Ok(SECOND_LONG));
        assert_eq!(waits[20], Err(Duration::from_millis(1100)));
        assert_eq!(waits[24], waits[20], "a refusal costs nothing");
        assert_eq!(buckets.most_within(SECOND_LONG), Some(20));
        assert_eq!(Buckets::new(0, 1, 1).most_within(SECOND_LONG), None);
    }

    #[test]
    fn what_was_done_is_paid_afterwards_up_to_a_bound() {
        let buckets = Buckets::new(10, 1, 100);
        let charge = |requests| buckets.charge_at("a", requests, SECOND_LONG, 0);
        assert_eq!(charge(10), NOT);
        assert_eq!(charge(5), SECOND_LONG / 2);
        assert_eq!(charge(u32::MAX), SECOND_LONG);
        let wait = buckets.reserve_at("a", NOT, 0).unwrap_err();
        assert_eq!(wait, Duration::from_millis(1100));
    }

    #[test]
    fn no_limit_costs_no_memory_and_many_keys_not_more_than_allowed() {
        let off = Buckets::new(0, 1, 100);
        assert_eq!(off.reserve("a", NOT), Ok(NOT));
        assert!(off.would_wait("a").is_zero() && off.full_at.is_empty());
        let buckets = Buckets::new(1, 1, 100);
        for key in 0..10_000_u32 {
            let _ = buckets.reserve(&key, NOT);
        }
        assert!(buckets.full_at.len() <= 100);
    }

    const SECOND_LONG: Duration = Duration::from_secs(1);
}
