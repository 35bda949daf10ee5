//! Answering one request.

use std::time::{Duration, Instant};

use fingerpost_core::{Call, Failure, Principal, SPANS};
use fingerpost_hashequiv_proto::{outbox, request};
use fingerpost_net::Peer;
use tracing::Instrument as _;

use crate::door::{Opens, Shared};
use crate::ended::Ended;
use crate::link::Link;
use crate::respond::{self, RequestId};
use crate::session::Activity;
use crate::stream::{Exists, Gets};
use crate::wire::Wire;

/// Everything that answering takes: the service, who asks, and where the answer
/// goes.
pub(crate) struct Turn<'a, L> {
    pub(crate) shared: &'a Shared,
    pub(crate) caller: Caller,
    pub(crate) wire: Wire<L>,
}

/// Who is at the other end, and which request is theirs now.
pub(crate) struct Caller {
    /// Anonymous, or the last login.
    pub(crate) principal: Principal,
    /// The peer's address.
    pub(crate) peer: String,
    /// Number of the connection since the start of the process.
    connection: u64,
    /// Requests, lines and batches of lines that were taken.
    pub(crate) taken: u64,
}

impl Caller {
    pub(crate) fn new(shared: &Shared, peer: &Peer) -> Self {
        Self {
            principal: shared.service.anonymous(),
            peer: peer.to_string(),
            connection: shared.next_connection(),
            taken: 0,
        }
    }

    pub(crate) const fn request_id(&self) -> RequestId {
        RequestId {
            connection: self.connection,
            request: self.taken,
        }
    }
}

impl<L: Link> Turn<'_, L> {
    /// Answers a message. Gives the stream that it opened, if it did.
    pub(crate) async fn request(&mut self, text: &str) -> Result<Option<Activity>, Ended> {
        let selected = request::select(text, &|name| self.shared.find(name))?;
        let command = selected.index;
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
        let permitted = self.shared.entry(command).permit(&self.caller.principal);
        permitted.map_err(|failure| self.fail(command, &failure))?;
        self.shared.metrics.commands[command].count(None);
        self.wire.out.message(outbox::STREAM_BEGIN.as_bytes());
        Ok(Some(activity))
    }

    /// Runs a command on its argument, which may be a line of its stream.
    pub(crate) async fn call(&mut self, command: usize, argument: &str) -> Result<(), Ended> {
        self.caller.taken += 1;
        let started = Instant::now();
        let call = Call {
            service: &self.shared.service,
            principal: &self.caller.principal,
            peer: &self.caller.peer,
        };
        let entry = self.shared.entry(command);
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
        let working = entry.call(call, argument).instrument(span.clone());
        let outcome = self.wire.during(working).await;
        if matches!(outcome, Err(Failure::Internal(_))) {
            span.record("otel.status_code", "ERROR");
        }
        let elapsed = started.elapsed();
        self.shared.service.requests().record(1, elapsed);
        let metrics = &self.shared.metrics.commands[command];
        metrics.durations.observe(elapsed);
        let done = outcome.and_then(|outcome| {
            respond::reply(outcome.reply, &mut self.wire.out)?;
            Ok(outcome.login)
        });
        match done {
            Ok(login) => {
                self.shared.metrics.commands[command].count(None);
                if let Some(principal) = login {
                    self.caller.principal = principal;
                }
                Ok(())
            }
            Err(failure) => Err(self.fail(command, &failure)),
        }
    }

    /// Answers the end of a stream whose lines are handled one by one.
    pub(crate) fn end_stream(&mut self) {
        self.caller.taken += 1;
        self.shared.service.requests().record(1, Duration::ZERO);
        self.wire.out.line(outbox::STREAM_END);
    }

    /// Counts, logs and tells a failure.
    pub(crate) fn fail(&mut self, command: usize, failure: &Failure) -> Ended {
        self.shared.metrics.commands[command].count(Some(failure));
        let declaration = &self.shared.entry(command).declaration;
        self.shared.log.failure(failure, declaration, &self.caller);
        respond::failure(failure, &mut self.wire.out);
        Ended::Failed
    }
}
