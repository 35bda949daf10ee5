//! Whether the server takes the login that it is shown.

use std::time::Duration;

use fingerpost_hashequiv_client::AskError;
use parking_lot::Mutex;
use tokio::time::Instant;

/// So long reports that wait are not tried with a login that was refused: servers answer each
/// wrong one more slowly than the one before.
const REST: Duration = Duration::from_secs(30);

/// What the server said of a login last.
#[derive(Default)]
pub(crate) struct Standing(Mutex<Option<Refused>>);

/// It does not take it, with these words.
struct Refused {
    why: String,
    rests_until: Instant,
}

impl Standing {
    /// Notes what came of asking the server at this address.
    pub(super) fn note<T>(
        &self,
        now: Instant,
        address: impl Fn() -> String,
        said: &Result<T, AskError>,
    ) {
        match said {
            Err(AskError::Login(why)) => self.refused(now + REST, address, why),
            Ok(_) | Err(AskError::Told(_)) => self.taken(address),
            Err(AskError::Closed | AskError::Silent(_) | AskError::Senseless(_)) => {}
        }
    }

    fn refused(&self, rests_until: Instant, address: impl Fn() -> String, why: &str) {
        match &mut *self.0.lock() {
            Some(refused) => refused.rests_until = rests_until,
            taken @ None => {
                let server = address();
                tracing::warn!(
                    server,
                    "the server does not take the login, and reports wait until it does: {why}"
                );
                *taken = Some(Refused {
                    why: why.to_owned(),
                    rests_until,
                });
            }
        }
    }

    fn taken(&self, address: impl Fn() -> String) {
        if self.0.lock().take().is_some() {
            let server = address();
            tracing::info!(server, "the server takes the login again");
        }
    }

    /// The server's words, while it refuses.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.0.lock().as_ref().map(|refused| refused.why.clone())
    }

    /// Whether nothing that waits is to be tried.
    pub(crate) fn is_resting(&self, now: Instant) -> bool {
        let refused = self.0.lock();
        let is_early = |refused: &Refused| now < refused.rests_until;
        refused.as_ref().is_some_and(is_early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_was_refused_rests_until_it_is_taken() {
        let standing = Standing::default();
        let (now, address) = (Instant::now(), || "h:1".to_owned());
        let refused: Result<(), _> = Err(AskError::Login("Unauthorized".to_owned()));
        standing.note(now, address, &refused);
        assert!(standing.is_resting(now));
        assert_eq!(standing.refusal().as_deref(), Some("Unauthorized"));
        let later = now + REST;
        assert!(!standing.is_resting(later) && standing.refusal().is_some());
        standing.note(later, address, &refused);
        standing.note(later, address, &Err::<(), _>(AskError::Closed));
        assert!(standing.is_resting(later));
        standing.note(later, address, &Ok(()));
        assert!(!standing.is_resting(later) && standing.refusal().is_none());
    }
}
