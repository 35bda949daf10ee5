//! Which logins are looked at.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, Origin};

use crate::hosts::Hosts;
use crate::recent::Recent;
use crate::{Attempt, LoginError, LoginOptions, Throttle, ThrottleOptions, Wait};

/// Stands before everything that a login is compared with. What was right lately is
/// always looked at; other logins when it is the turn of their pair of network and
/// user, or token, and their address has not been wrong too often. So one builder with
/// an old token stops none of those that come from the same address, and an address
/// that makes names up is bounded.
#[derive(Clone)]
pub(crate) struct Looks(Arc<Inner>);

struct Inner {
    pairs: Throttle,
    hosts: Hosts,
    /// Logins that were right. They are believed nothing for it.
    right: Recent<()>,
}

/// Whose login is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// From where, as near as is known.
    pub(crate) host: &'a Origin,
    /// The user whom it names, or what a token has that is no secret.
    pub(crate) whose: &'a str,
    pub(crate) secret: &'a [u8],
}

impl Looks {
    /// Fails when there are no random numbers.
    pub(crate) fn new(
        options: &LoginOptions,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, getrandom::Error> {
        let (rate, burst) = (options.bad_logins_per_address, options.burst_seconds);
        Ok(Self(Arc::new(Inner {
            pairs: Throttle::new(ThrottleOptions::default(), clock.clone()),
            hosts: Hosts::new(rate, burst, clock.clone()),
            right: Recent::new(RIGHT_MAX, RIGHT_FOR, clock.clone())?,
        })))
    }

    /// Has `looking` done if it is the login's turn.
    pub(crate) async fn look<T, E: Into<LoginError>>(
        &self,
        shown: Shown<'_>,
        looking: impl Future<Output = Result<T, E>>,
    ) -> Result<T, LoginError> {
        let Inner {
            pairs,
            hosts,
            right,
        } = &*self.0;
        let Shown {
            host,
            whose,
            secret,
        } = shown;
        let key = right.key(&[whose.as_bytes(), secret]);
        // It leaves the failures of its pair as they are: each would give whoever
        // fails there further looks.
        let attempt = match right.get(&key) {
            Some(()) => None,
            None => Some(self.turn(host, whose)?),
        };
        let found = looking.await.map_err(E::into);
        match &found {
            Ok(_) => {
                right.keep(key, ());
                if let Some(attempt) = attempt {
                    attempt.succeeded();
                }
            }
            Err(LoginError::Wrong(_)) => {
                right.forget(&key);
                hosts.failed(host);
                let known = || pairs.check(&host.network(), whose).ok();
                if let Some(attempt) = attempt.or_else(known) {
                    attempt.failed();
                }
            }
            // Says nothing of the secret.
            Err(_) => drop(attempt),
        }
        found
    }

    fn turn(&self, host: &Origin, whose: &str) -> Result<Attempt, Wait> {
        // Whoever repeats what is wrong waits for that, not for others.
        let attempt = self.0.pairs.check(&host.network(), whose)?;
        self.0.hosts.check(host)?;
        Ok(attempt)
    }
}

/// How long a login that was right is looked at in any case.
const RIGHT_FOR: Duration = Duration::from_secs(15 * 60);
/// So many of them; about 100 bytes each.
const RIGHT_MAX: usize = 16_384;
