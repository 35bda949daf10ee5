//! Wrong logins of one address, whoever they name.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, Origin};
use parking_lot::Mutex;
use quick_cache::unsync::Cache;

use crate::Wait;

/// How many wrong logins of each address are looked at: whoever makes names and tokens
/// up has a [pair](crate::Throttle) for each, and is bounded here. One builder that is
/// set up wrongly is not: its pair waits long before.
pub(crate) struct Hosts {
    /// Microseconds for one of them; 0 for any number.
    interval: i64,
    /// Microseconds after which everything is forgotten.
    burst: i64,
    clock: Arc<dyn Clock>,
    /// With a secret of the process: nobody can share an entry by choice.
    hasher: RandomState,
    /// When an address has its whole burst again. When there are too many the ones
    /// that were not asked for lately are forgotten.
    full_at: Mutex<Cache<u64, i64>>,
}

impl Hosts {
    /// `rate` wrong logins a second, 0 for any number, and those of `burst_seconds` at
    /// once.
    pub(crate) fn new(rate: u32, burst_seconds: u32, clock: Arc<dyn Clock>) -> Self {
        let interval = match rate {
            0 => 0,
            rate => (SECOND / i64::from(rate)).max(1),
        };
        Self {
            interval,
            burst: (SECOND * i64::from(burst_seconds)).max(interval),
            clock,
            hasher: RandomState::new(),
            full_at: Mutex::new(Cache::new(HOSTS_MAX)),
        }
    }

    /// Whether another login of `host` may be looked at, if it may be wrong.
    pub(crate) fn check(&self, host: &Origin) -> Result<(), Wait> {
        if self.interval == 0 {
            return Ok(());
        }
        let now = self.clock.now().0;
        let after = self.full_at(host, now).saturating_add(self.interval);
        let wait = after.saturating_sub(now).saturating_sub(self.burst);
        match u64::try_from(wait) {
            Ok(wait @ 1..) => Err(Wait {
                time: Duration::from_micros(wait),
                by: "address",
            }),
            _ => Ok(()),
        }
    }

    /// One was wrong.
    pub(crate) fn failed(&self, host: &Origin) {
        if self.interval == 0 {
            return;
        }
        let now = self.clock.now().0;
        let latest = now.saturating_add(self.burst);
        let after = self.full_at(host, now).saturating_add(self.interval);
        let key = self.hasher.hash_one(host);
        self.full_at.lock().insert(key, after.min(latest));
    }

    fn full_at(&self, host: &Origin, now: i64) -> i64 {
        let known = self
            .full_at
            .lock()
            .get(&self.hasher.hash_one(host))
            .copied();
        // One later than that is of before the clock was set back.
        let known = known.filter(|at| *at <= now.saturating_add(self.burst));
        known.map_or(now, |at| at.max(now))
    }
}

/// In the unit of the clock.
const SECOND: i64 = 1_000_000;
/// Addresses that are remembered at most; about 40 bytes each.
const HOSTS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use fingerpost_core::{ManualClock, Timestamp};

    use super::*;

    const HERE: Origin = Origin::Host(Ipv4Addr::new(192, 0, 2, 1));
    const NEIGHBOUR: Origin = Origin::Host(Ipv4Addr::new(192, 0, 2, 2));

    fn hosts(rate: u32) -> (Hosts, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000_000)));
        (Hosts::new(rate, 2, clock.clone()), clock)
    }

    #[test]
    fn after_a_burst_the_rate_holds_for_the_address_alone() {
        let (hosts, clock) = hosts(10);
        for _ in 0..20 {
            assert_eq!(hosts.check(&HERE), Ok(()));
            hosts.failed(&HERE);
        }
        let wait = hosts.check(&HERE).unwrap_err();
        assert_eq!((wait.time.as_millis(), wait.by), (100, "address"));
        assert_eq!(hosts.check(&NEIGHBOUR), Ok(()));
        clock.advance_micros(SECOND / 10);
        assert_eq!(hosts.check(&HERE), Ok(()));
        for _ in 0..1000 {
            hosts.failed(&HERE);
        }
        clock.advance_micros(SECOND / 10);
        assert_eq!(
            hosts.check(&HERE),
            Ok(()),
            "what is over the burst is forgiven"
        );
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let (hosts, clock) = hosts(10);
        for _ in 0..20 {
            hosts.failed(&HERE);
        }
        clock.advance_micros(-3600 * SECOND);
        assert_eq!(hosts.check(&HERE), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_no_limit_has_none() {
        let (hosts, _) = hosts(1);
        for number in 0..100_000_u32 {
            hosts.failed(&Origin::Host(number.into()));
        }
        assert!(hosts.full_at.lock().len() <= HOSTS_MAX);
        let off = Hosts::new(0, 2, Arc::new(ManualClock::default()));
        for _ in 0..1000 {
            off.failed(&HERE);
        }
        assert_eq!(off.check(&HERE), Ok(()));
        assert_eq!(off.full_at.lock().len(), 0);
    }
}
