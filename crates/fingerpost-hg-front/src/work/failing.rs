//! What becomes of a command that goes wrong: begun again, its answer made again,
//! refused, or broken off.

use fingerpost_core::{Failure, Reply};
use fingerpost_hg::{StoreError, may_be_stale};
use fingerpost_hg_proto::server::ResponderError;

use super::{Asked, Attempt, Running, Source, Work};
use crate::metrics::Outcome;

impl Work {
    /// A store failed, or another request: this one is answered all the same.
    pub(super) fn make_again(
        &mut self,
        mut running: Running,
        why: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponderError> {
        let Some(attempt) = running.attempt.next() else {
            return self.break_off(running, why, out);
        };
        let name = self.name(running.asked.command);
        tracing::debug!(command = name, %why, ?attempt, "an answer is made again: {why}");
        self.metrics.count_made_again();
        running.attempt = attempt;
        let called = self.call(&running.asked);
        let going_on = called.and_then(|called| match (&mut running.source, called.reply) {
            (Source::Shared(sharing), Reply::Objects(objects)) => {
                sharing.make_again(objects, called.key.as_ref(), attempt == Attempt::Alone)
            }
            _ => Err(Failure::internal("it is another answer by now")),
        });
        match going_on {
            Ok(()) => {
                self.running = Some(running);
                Ok(())
            }
            Err(failure) => self.break_off(running, &failure, out),
        }
    }

    /// Ends an answer that cannot go on.
    pub(super) fn break_off(
        &mut self,
        running: Running,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponderError> {
        if !running.told {
            return self.give_up(running.asked, failure, out);
        }
        let text = self.public_text(failure, running.asked.command);
        let id = running.asked.request_id;
        self.responder.fail(out, id, text.as_bytes())
    }

    /// Something went wrong before anything was sent. If a strip or a rewrite can
    /// explain it, the command is run once more on the repository as it is now.
    pub(super) fn give_up(
        &mut self,
        mut asked: Asked,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponderError> {
        if asked.again || !may_be_stale(failure) {
            return self.refuse(failure, &asked, out);
        }
        match self.view.renewed() {
            Ok(view) => {
                self.view = view;
                self.metrics.count_retry();
                asked.again = true;
                self.asked.push_front(asked);
                Ok(())
            }
            Err(error) => self.refuse(&Failure::internal(error), &asked, out),
        }
    }

    /// Answers with a failure alone.
    fn refuse(
        &mut self,
        failure: &Failure,
        asked: &Asked,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponderError> {
        let id = asked.request_id;
        let text = self.public_text(failure, asked.command);
        match failure {
            Failure::Refused { message, args, .. } => {
                self.responder.refuse(out, id, message.as_bytes(), args)
            }
            Failure::BadArgument(bad) => self.responder.refuse(out, id, bad.0.as_bytes(), &[]),
            // A percent sign in a message would be a place for an argument.
            _ => self.responder.refuse(out, id, b"%s", &[text.into_bytes()]),
        }
    }

    /// Counts a failure, logs what is not for clients, and returns what is.
    fn public_text(&self, failure: &Failure, command: usize) -> String {
        self.metrics.count_command(command, Outcome::of(failure));
        let (Failure::Internal(source) | Failure::Unavailable(source)) = failure else {
            return failure.to_string();
        };
        let (repository, name) = (self.view.entry().id(), self.name(command));
        tracing::error!(
            repository = repository.as_str(),
            command = name,
            peer = self.caller.peer,
            error = source.to_string(),
            "{name} failed on {repository}: {source}"
        );
        // Which file is damaged helps whoever has to tell the administrator;
        // its name is one of the store, not of the machine.
        match source.downcast_ref::<StoreError>() {
            Some(damage) => format!("{repository}: {damage}"),
            None => format!("{repository}: the server failed; its log says why"),
        }
    }
}
