//! How long ago the server told everything that it had.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When the server last told everything.
pub(super) struct Freshness {
    origin: Instant,
    /// Milliseconds since the origin, or before it.
    at: AtomicI64,
}

impl Freshness {
    const NEVER: i64 = i64::MIN;

    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            at: AtomicI64::new(Self::NEVER),
        }
    }

    fn millis(&self, moment: Instant) -> i64 {
        let since = moment.saturating_duration_since(self.origin);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// It did at this moment.
    pub(super) fn set(&self, moment: Instant) {
        self.at.store(self.millis(moment), Ordering::Release);
    }

    /// It did so long ago.
    pub(super) fn set_age(&self, age: Duration) {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2);
        let at = self.millis(Instant::now()) - age;
        self.at.store(at, Ordering::Release);
    }

    pub(super) fn forget(&self) {
        self.at.store(Self::NEVER, Ordering::Release);
    }

    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let at = self.at.load(Ordering::Acquire);
        if at == Self::NEVER {
            return None;
        }
        let age = self.millis(now).saturating_sub(at);
        Some(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
    }
}
