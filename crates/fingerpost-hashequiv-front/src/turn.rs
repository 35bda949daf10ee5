//! Answering one request.

use std::time::{Duration, Instant};

use fingerpost_accounts::{Door, Login, Way};
use fingerpost_core::{Call, Ends, Failure, Kind, NewCaller, Origin, Principal, SPANS, Timestamp};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_hashequiv_proto::{outbox, request};
use fingerpost_net::audit::Ended::Failed;
use fingerpost_net::{Asker, Peer};
use tracing::Instrument as _;

use crate::door::{Opens, Shared};
use crate::ended::Ended;
use crate::guards::{self, PATIENCE, REST_MAX, Rate, Stopped, Told};
use crate::metrics::OfCommands;
use crate::placement::Place;
use crate::respond::{self, RequestId};
use crate::session::Activity;
use crate::stream::{Exists, Gets};
use crate::wire::Wire;
use fingerpost_hashequiv_client::link::Link;

/// Everything that answering takes: the service, who asks, and where the answer
/// goes.
pub(crate) struct Turn<'a, L> {
    pub(crate) shared: &'a Shared,
    pub(crate) caller: Caller,
    pub(crate) wire: Wire<L>,
}

/// Who is at the other end, and which request is theirs now.
pub(crate) struct Caller {
    /// The namespace that they work in.
    pub(crate) place: Place,
    /// What counts their requests there.
    pub(crate) counted: OfCommands,
    /// Anonymous, or the last login.
    pub(crate) principal: Principal,
    /// When the login ends, if it does.
    until: Option<Timestamp>,
    /// Whether others cannot read what the peer sends.
    is_private: bool,
    /// The peer's address.
    pub(crate) peer: String,
    /// Where limits and logins see it.
    host: Origin,
    /// Number of the connection since the start of the process.
    connection: u64,
    /// Requests, lines and batches of lines that were taken.
    pub(crate) taken: u64,
}

impl Caller {
    /// Whoever came, as `login` if their certificate stands for somebody.
    pub(crate) fn new(shared: &Shared, peer: &Peer, place: Place, login: Option<&Login>) -> Self {
        let principal = place.service.anonymous();
        let mut caller = Self {
            counted: shared.metrics.within(place.service.namespace()),
            place,
            principal,
            until: None,
            is_private: peer.is_private(),
            peer: peer.to_string(),
            host: peer.host(),
            connection: shared.next_connection(),
            taken: 0,
        };
        if let Some(login) = login {
            let new = NewCaller {
                principal: caller.place.service.principal_of(login),
                ends: Ends::At(login.until()),
            };
            caller.enter(shared, new);
        }
        caller
    }

    /// Who asks, for limits.
    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker {
            host: self.host,
            user: self.principal.name(),
        }
    }

    /// What the audit log is told.
    fn told(&self) -> Told {
        Told {
            door: "native",
            request_id: self.request_id().to_string(),
            peer: self.peer.clone(),
            user: self.principal.name().map(str::to_owned),
            credential: self.principal.credential().cloned(),
            namespace: self.place.service.namespace().to_owned(),
        }
    }

    pub(crate) const fn request_id(&self) -> RequestId {
        RequestId {
            connection: self.connection,
            request: self.taken,
        }
    }

    /// Goes on as somebody else, perhaps in another namespace.
    fn enter(&mut self, shared: &Shared, new: NewCaller) {
        let name = new.principal.name().unwrap_or_default();
        self.place = shared.placement.after_login(&self.place, name);
        self.counted = shared.metrics.within(self.place.service.namespace());
        self.principal = self.place.service.admit(new.principal);
        if let Ends::At(until) = new.ends {
            self.until = until;
        }
    }
}

impl<L: Link> Turn<'_, L> {
    /// The service in the caller's namespace.
    pub(crate) fn service(&self) -> &HashEquiv {
        &self.caller.place.service
    }

    /// Answers a message. Gives the stream that it opened, if it did.
    pub(crate) async fn request(&mut self, text: &str) -> Result<Option<Activity>, Ended> {
        self.end_login();
        let selected = request::select(text, &|name| self.shared.find(name))?;
        let command = selected.index;
        if self.shared.is_login(command) {
            Box::pin(self.admit_login(command, selected.argument)).await?;
        }
        let activity = match self.shared.opens(command) {
            Opens::Nothing => {
                self.call(command, selected.argument).await?;
                return Ok(None);
            }
            Opens::Gets => Activity::Gets(Gets::new(command)),
            Opens::Exists => Activity::Exists(Exists::new(command)),
            Opens::Lines => Activity::Lines(command),
        };
        self.caller.taken += 1;
        let entry = self.shared.entry(command);
        let permitted = entry.permit(&self.caller.principal);
        // Its lines are not told one by one.
        let tell = || self.caller.told();
        let ended = permitted.as_ref().into();
        guards::tell(&self.shared.guards, entry, "", ended, tell).await;
        permitted.map_err(|failure| self.fail(command, &failure))?;
        self.caller.counted[command].count(None);
        self.wire.out.message(outbox::STREAM_BEGIN.as_bytes());
        Ok(Some(activity))
    }

    /// Takes a login back whose time is over. Whoever it was is anonymous again
    /// and not refused: what anybody may goes on, so that a build that outlives
    /// its token still reads where it could have come without one, and the rest
    /// is refused by the name of the permission that it needs. No clock is read
    /// for logins without an end.
    pub(crate) fn end_login(&mut self) -> bool {
        let now = || self.caller.place.service.now();
        let has_ended = self.caller.until.is_some_and(|until| until <= now());
        if has_ended {
            self.caller.principal = self.caller.place.service.anonymous();
            self.caller.until = None;
        }
        has_ended
    }

    /// Ends a stream whose login ended if it may not be read any more.
    pub(crate) async fn renew(&mut self, command: usize) -> Result<(), Ended> {
        let permitted = self.shared.entry(command).permit(&self.caller.principal);
        match permitted {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.deny(command, "", &failure).await),
        }
    }

    /// Refuses a login that others could read, before its argument is looked at.
    async fn admit_login(&mut self, command: usize, argument: &str) -> Result<(), Ended> {
        let way = Way {
            door: Door::Native,
            is_private: self.caller.is_private,
            certificate: None,
            origin: self.caller.host,
        };
        let admitted = self.caller.place.service.logins().admit(way);
        match admitted {
            Ok(()) => Ok(()),
            Err(_) => Err(self.deny(command, argument, &plaintext_login()).await),
        }
    }

    /// Fails a command that is not called, and tells the audit log.
    async fn deny(&mut self, command: usize, argument: &str, failure: &Failure) -> Ended {
        let entry = self.shared.entry(command);
        let (ended, tell) = (Failed(failure), || self.caller.told());
        guards::tell(&self.shared.guards, entry, argument, ended, tell).await;
        self.fail(command, failure)
    }

    /// Runs a command on its argument, which may be a line of its stream.
    pub(crate) async fn call(&mut self, command: usize, argument: &str) -> Result<(), Ended> {
        self.caller.taken += 1;
        let started = Instant::now();
        let call = Call {
            service: &self.caller.place.service,
            principal: &self.caller.principal,
            peer: &self.caller.peer,
            origin: self.caller.host,
        };
        let (entry, shared) = (self.shared.entry(command), &self.shared.guards);
        let span = tracing::info_span!(
            target: SPANS,
            "command",
            otel.name = entry.declaration.name,
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            peer = %self.caller.peer,
            user = self.caller.principal.name(),
            request_id = %self.caller.request_id(),
        );
        let rate = Rate::Patience(PATIENCE);
        let working = guards::call(shared, entry, self.caller.asker(), rate, call, argument);
        let working = working.instrument(span.clone());
        let outcome = self.wire.during(working).await;
        if matches!(
            outcome,
            Err(Stopped::Failed(
                Failure::Internal(_) | Failure::Unavailable(_)
            ))
        ) {
            span.record("otel.status_code", "ERROR");
        }
        let elapsed = started.elapsed();
        self.service().requests().record(1, elapsed);
        let metrics = &self.caller.counted[command];
        metrics.durations.observe(elapsed);
        let outcome = outcome.map_err(Failure::from);
        if entry.declaration.kind == Kind::Once || outcome.is_err() {
            let ended = guards::ended(outcome.as_ref());
            let tell = || self.caller.told();
            guards::tell(shared, entry, argument, ended, tell).await;
        }
        let done = outcome.and_then(|outcome| {
            respond::reply(outcome.reply, &mut self.wire.out)?;
            Ok(outcome.login)
        });
        match done {
            Ok(login) => {
                self.caller.counted[command].count(None);
                if let Some(new) = login {
                    self.caller.enter(self.shared, new);
                }
                Ok(())
            }
            Err(failure) => Err(self.fail(command, &failure)),
        }
    }

    /// Rests after a batch of look-ups, if the caller asks too much.
    pub(crate) async fn rest(&mut self, lines: u64) {
        let admission = &self.shared.guards.admission;
        let pause = admission.lines(self.caller.asker(), lines, REST_MAX);
        if !pause.is_zero() {
            // Boxed, so that idle connections have no room for it.
            Box::pin(self.wire.during(tokio::time::sleep(pause))).await;
        }
    }

    /// Answers the end of a stream whose lines are handled one by one.
    pub(crate) fn end_stream(&mut self) {
        self.caller.taken += 1;
        self.service().requests().record(1, Duration::ZERO);
        self.wire.out.line(outbox::STREAM_END);
    }

    /// Counts, logs and tells a failure.
    pub(crate) fn fail(&mut self, command: usize, failure: &Failure) -> Ended {
        self.caller.counted[command].count(Some(failure));
        let declaration = &self.shared.entry(command).declaration;
        self.shared.log.failure(failure, declaration, &self.caller);
        respond::failure(failure, &mut self.wire.out);
        Ended::Failed
    }
}

/// The refusal of a login that others could read.
fn plaintext_login() -> Failure {
    let message = "Logins are not accepted without TLS from another host. Connect with wss://, \
                   or ask the operator to set accounts.plaintext_logins";
    Failure::refused("plaintext-login", message)
}
