//! What is asked where: the servers in their order, and those that are left out because
//! they are down.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::HeaderValue;
use tokio::time::Instant;

use super::ask::{Answer, Ask};
use super::endpoint::Endpoint;
use super::login::Login;
use super::outside::Outside;
use super::problem::{Failure, Refusal};
use super::tls::Tls;
use super::{Concern, lookups};
use crate::breaker::Admit;
use crate::{AskError, Proxies};

/// How long a server that was down may take to show that it is back.
const PROBE_MAX: Duration = Duration::from_secs(5);

/// All that one client is.
pub(super) struct Shared {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) means: Arc<Means>,
}

/// With what servers are asked.
pub(super) struct Means {
    pub(super) tls: Arc<Tls>,
    pub(super) login: Login,
    pub(super) proxies: Proxies,
    pub(super) outside: Arc<Outside>,
}

/// Why there is no answer to a request, whoever was asked.
#[derive(Debug)]
pub(super) enum Unanswered {
    Refused(Refusal),
    Ask(AskError),
}

impl Means {
    /// What to show to a server now.
    pub(super) async fn login(&self, give_up: Instant) -> Result<Option<HeaderValue>, Failure> {
        let header = self.login.header(give_up).await;
        header.map_err(Failure::Ours)
    }
}

impl Shared {
    /// Asks the first server that is up, and the next ones if it gives no answer that
    /// `read` takes. What goes wrong is noted against the server.
    pub(super) async fn ask<T>(
        &self,
        concern: Concern,
        ask: &Ask,
        give_up: Instant,
        read: impl Fn(&Answer) -> Result<T, String>,
    ) -> Result<T, Unanswered> {
        let mut tries = self.tries(concern, give_up).noting();
        while let Some((endpoint, until)) = tries.next() {
            let asked = endpoint.whole(ask, &self.means, until).await;
            let read = asked.and_then(|answer| read(&answer).map_err(Failure::senseless));
            match read {
                Ok(value) => return Ok(value),
                Err(failure) => tries.failed(&endpoint, failure)?,
            }
        }
        Err(tries.unanswered())
    }

    /// As [`Shared::ask`], beside look-ups: they need not suffer from what goes wrong.
    pub(super) async fn ask_beside(
        &self,
        ask: &Ask,
        give_up: Instant,
    ) -> Result<Answer, Unanswered> {
        let mut tries = self.tries(Concern::Lookups, give_up);
        while let Some((endpoint, until)) = tries.next() {
            match endpoint.whole(ask, &self.means, until).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => tries.failed(&endpoint, failure)?,
            }
        }
        Err(tries.unanswered())
    }

    /// As [`Shared::ask_beside`], where the answer begins.
    pub(super) async fn begin(
        &self,
        ask: &Ask,
        give_up: Instant,
    ) -> Result<(Arc<Endpoint>, Response), Unanswered> {
        let mut tries = self.tries(Concern::Lookups, give_up);
        while let Some((endpoint, until)) = tries.next() {
            match endpoint.begun(ask, &self.means, until).await {
                Ok(response) => return Ok((endpoint, response)),
                Err(failure) => tries.failed(&endpoint, failure)?,
            }
        }
        Err(tries.unanswered())
    }

    /// The servers that are up for something. Others are tried meanwhile, now and then.
    fn tries(&self, concern: Concern, give_up: Instant) -> Tries {
        let now = Instant::now();
        let mut up = Vec::new();
        for endpoint in &self.endpoints {
            match endpoint.breaker(concern).admit(now) {
                Admit::Ask => up.push(Arc::clone(endpoint)),
                Admit::Refuse => {}
                Admit::Probe => self.probe(endpoint, concern),
            }
        }
        up.reverse();
        Tries {
            left: up,
            concern,
            give_up,
            is_noted: false,
            last: None,
        }
    }

    /// Tries those that are down, if it is time.
    pub(super) fn try_again(&self) {
        let now = Instant::now();
        for concern in [Concern::Lookups, Concern::Reports] {
            for endpoint in &self.endpoints {
                let breaker = endpoint.breaker(concern);
                if !breaker.is_up() && breaker.admit(now) == Admit::Probe {
                    self.probe(endpoint, concern);
                }
            }
        }
    }

    fn probe(&self, endpoint: &Arc<Endpoint>, concern: Concern) {
        let (endpoint, means) = (Arc::clone(endpoint), Arc::clone(&self.means));
        tokio::spawn(async move { probe(&endpoint, &means, concern).await });
    }
}

/// Asks a server about nothing, to see whether it answers again.
pub(super) async fn probe(endpoint: &Endpoint, means: &Means, concern: Concern) {
    let breaker = endpoint.breaker(concern);
    let ask = lookups::of_nothing().await;
    let asked = endpoint
        .whole(&ask, means, Instant::now() + PROBE_MAX)
        .await;
    let read = asked.and_then(|answer| lookups::read_nothing(&answer).map_err(Failure::senseless));
    match read {
        // Whoever refuses does answer.
        Ok(()) | Err(Failure::Refused(_)) => breaker.up(),
        // A later try may have found it up before this one was given up.
        Err(_) if breaker.is_up() => {}
        Err(failure) => note(endpoint, concern, &failure),
    }
}

/// Notes against a server what it is to blame for.
fn note(endpoint: &Endpoint, concern: Concern, failure: &Failure) {
    let breaker = endpoint.breaker(concern);
    let now = Instant::now();
    match failure {
        Failure::Refused(_) | Failure::TooLong(_) | Failure::Ours(_) => {}
        Failure::Late => breaker.down(now, "no answer in time"),
        Failure::Broken(why) | Failure::Senseless(why) => breaker.down(now, why),
        Failure::Down { why, pause } => {
            breaker.down_for(now, why, pause.unwrap_or_default());
        }
    }
}

/// One server after the other, within a deadline.
struct Tries {
    /// The next one last.
    left: Vec<Arc<Endpoint>>,
    concern: Concern,
    give_up: Instant,
    is_noted: bool,
    /// What went wrong last.
    last: Option<AskError>,
}

impl Tries {
    /// What goes wrong is noted.
    const fn noting(mut self) -> Self {
        self.is_noted = true;
        self
    }

    /// The next server, and until when it may be tried: while there are others, for half
    /// of the time that is left, so that the first one's silence does not take all of it.
    fn next(&mut self) -> Option<(Arc<Endpoint>, Instant)> {
        let left = self.give_up.checked_duration_since(Instant::now())?;
        let next = self.left.pop()?;
        let until = match self.left.is_empty() {
            true => self.give_up,
            false => self.give_up - left / 2,
        };
        Some((next, until))
    }

    /// Notes what went wrong. An error ends it: others would say the same.
    fn failed(&mut self, endpoint: &Endpoint, failure: Failure) -> Result<(), Unanswered> {
        // Of many that fail together the first one tells it; the rest only grows with
        // probes that fail.
        if self.is_noted && endpoint.breaker(self.concern).is_up() {
            note(endpoint, self.concern, &failure);
        }
        self.last = Some(match failure {
            Failure::Refused(refusal) => return Err(Unanswered::Refused(refusal)),
            Failure::Ours(why) => return Err(Unanswered::Ask(AskError::Silent(why))),
            Failure::Late => AskError::late(),
            Failure::Broken(why) | Failure::Down { why, .. } => AskError::Silent(why),
            Failure::Senseless(why) => AskError::Senseless(why),
            // Unless another one takes it.
            Failure::TooLong(why) => AskError::Told(why),
        });
        Ok(())
    }

    /// Why there was no answer.
    fn unanswered(self) -> Unanswered {
        let known = || match self.left.is_empty() {
            true => AskError::Silent("known to be down".to_owned()),
            false => AskError::late(),
        };
        Unanswered::Ask(self.last.unwrap_or_else(known))
    }
}

impl From<Unanswered> for AskError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused(refusal) if refusal.is_of_login() => Self::Login(refusal.text),
            Unanswered::Refused(refusal) => Self::Told(refusal.text),
            Unanswered::Ask(error) => error,
        }
    }
}
