//! What stands between the doors and the service: limits, and the audit log.

use std::time::Duration;

use fingerpost_core::{Call, Called, Credential, Declaration, Entry, Failure};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_net::audit::{self, Ended, Event};
use fingerpost_net::{Asker, Crowded, Guards, Pass};

/// Why a command gave no answer.
pub(crate) enum Stopped {
    /// It was not begun.
    Crowded(Crowded),
    /// It failed.
    Failed(Failure),
}

/// What a command's rate asks of a call.
#[derive(Clone, Copy)]
pub(crate) enum Rate {
    /// To wait for its turn so long at most.
    Patience(Duration),
    /// Nothing: its turn has come, see [`Admission::turn`](fingerpost_net::Admission::turn).
    Paid,
}

/// Calls a command when its caller may have that done, which takes at most the
/// patience of `rate` and the wait for a place.
pub(crate) async fn call(
    guards: &Guards,
    entry: &Entry<HashEquiv>,
    asker: Asker<'_>,
    rate: Rate,
    call: Call<'_, HashEquiv>,
    argument: &str,
) -> Result<Called, Stopped> {
    let facts = &entry.declaration;
    let _pass = match guards.admission.is_free(facts.cost) {
        true => Pass::FREE,
        // Boxed, so that idle connections have no room for it.
        false => Box::pin(enter(guards, facts, asker, rate))
            .await
            .map_err(Stopped::Crowded)?,
    };
    entry.call(call, argument).await.map_err(Stopped::Failed)
}

async fn enter(
    guards: &Guards,
    facts: &Declaration,
    asker: Asker<'_>,
    rate: Rate,
) -> Result<Pass, Crowded> {
    match rate {
        Rate::Patience(patience) => guards.admission.enter(facts, asker, patience).await,
        Rate::Paid => guards.admission.place(facts.cost).await,
    }
}

/// Rests after look-ups that were answered, if the caller asks too much.
pub(crate) async fn rest(guards: &Guards, asker: Asker<'_>, lines: usize) {
    let lines = u64::try_from(lines).unwrap_or(u64::MAX);
    let pause = guards.admission.lines(asker, lines, REST_MAX);
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

/// How a command ended that was called.
pub(crate) fn ended<'a>(called: Result<&Called, &'a Failure>) -> Ended<'a> {
    match called {
        Ok(called) if !called.is_stored => Ended::Unstored,
        other => other.into(),
    }
}

/// Tells the audit log of a command that ended, if that is for it. `event` is
/// completed with what is known here.
pub(crate) async fn tell(
    guards: &Guards,
    entry: &Entry<HashEquiv>,
    argument: &str,
    ended: Ended<'_>,
    event: impl FnOnce() -> Told,
) {
    let facts = &entry.declaration;
    let Some(outcome) = guards.audit.outcome(facts.effect, ended) else {
        return;
    };
    let told = event();
    let argument = audit::summary(entry.fields, argument);
    let event = Event {
        door: told.door,
        request_id: &told.request_id,
        peer: &told.peer,
        user: told.user.as_deref(),
        credential: told.credential.as_ref(),
        namespace: Some(&told.namespace),
        command: facts.name,
        argument: argument.as_deref(),
        outcome,
    };
    // Boxed for the same reason.
    Box::pin(guards.audit.record(&event)).await;
}

/// What a door knows of a request.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) door: &'static str,
    pub(crate) request_id: String,
    pub(crate) peer: String,
    pub(crate) user: Option<String>,
    pub(crate) credential: Option<Credential>,
    pub(crate) namespace: String,
}

/// A refusal for doors that tell it as the service's own.
impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Failed(failure) => failure,
            Stopped::Crowded(crowded) => Self::refused(code(&crowded), crowded.to_string()),
        }
    }
}

/// The stable word of a refusal.
pub(crate) const fn code(crowded: &Crowded) -> &'static str {
    match crowded {
        Crowded::Rate(_) => "rate-limited",
        Crowded::Places => "busy",
    }
}

/// The command that logs a connection in.
pub(crate) const LOGIN: &str = "auth";
/// How long one of many requests that is over its rate may wait: BitBake cannot be told,
/// and gives up after 30 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest rest after a batch of look-ups.
pub(crate) const REST_MAX: Duration = Duration::from_secs(2);
