//! The commands of one request, and the frames that answer them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::{
    Call, Encoded, Failure, More, Objects, Permission, Principal, Registry, Reply,
};
use fingerpost_hg::{RepositoryView, StoreError, may_be_stale};
use fingerpost_hg_proto::server::{Responder, ResponderError};
use fingerpost_hg_proto::{CommandRequest, ContentEncoding, RequestId};
use tokio::runtime::Handle;

use crate::lanes::Place;
use crate::metrics::{Metrics, Outcome};

/// One command of a request.
pub(crate) struct Asked {
    pub(crate) request_id: RequestId,
    /// Its index in the registry.
    pub(crate) command: usize,
    pub(crate) request: CommandRequest,
    /// Whether it was begun before, on a repository that changed meanwhile.
    pub(crate) again: bool,
}

/// Commands that are answered one after the other, piece by piece. It lives on
/// blocking threads, between two of which it is handed to whoever waits for
/// the client.
pub(crate) struct Work {
    commands: Arc<Registry<RepositoryView>>,
    metrics: Arc<Metrics>,
    view: Arc<RepositoryView>,
    principal: Principal,
    peer: String,
    runtime: Handle,
    asked: VecDeque<Asked>,
    running: Option<Running>,
    responder: Responder,
    objects: Vec<u8>,
    flushed: bool,
    /// Given back when the work is done and sent, or nobody waits for it any more
    /// and the thread that is at it notices.
    _place: Place,
}

/// A command whose objects are being made.
struct Running {
    asked: Asked,
    objects: Box<dyn Objects>,
    /// Whether the client was told that it is answered. Before, what goes wrong
    /// is told instead of an answer.
    told: bool,
}

impl Work {
    /// Work on `view` for a caller. Must be made on a thread of the runtime.
    pub(crate) fn new(
        commands: Arc<Registry<RepositoryView>>,
        metrics: Arc<Metrics>,
        view: Arc<RepositoryView>,
        caller: (Principal, String),
        asked: Vec<Asked>,
        encoding: (Option<ContentEncoding>, i32),
        place: Place,
    ) -> Self {
        Self {
            commands,
            metrics,
            view,
            principal: caller.0,
            peer: caller.1,
            runtime: Handle::current(),
            asked: asked.into(),
            running: None,
            responder: Responder::new(encoding.0, encoding.1),
            objects: Vec::new(),
            flushed: false,
            _place: place,
        }
    }

    /// Goes on for a while and appends what comes of it to `out`; nothing may
    /// come of it yet. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// After an error the answer cannot be ended properly; the client has to
    /// see that the connection broke.
    pub(crate) fn go_on(&mut self, out: &mut Vec<u8>) -> Result<More, ResponderError> {
        let more = self.make_piece(out)?;
        self.metrics.count_sent(out.len());
        Ok(more)
    }

    fn make_piece(&mut self, out: &mut Vec<u8>) -> Result<More, ResponderError> {
        let began = Instant::now();
        while out.len() < PIECE_BYTES && began.elapsed() < PIECE_TIME {
            if let Some(running) = self.running.take() {
                self.proceed(running, out)?;
            } else if let Some(asked) = self.asked.pop_front() {
                self.begin(asked, out)?;
            } else {
                return Ok(More::No);
            }
            if let Some(running) = &self.running {
                if running.told && !self.flushed {
                    // The first bytes leave at once, however much is to come.
                    self.responder.flush(out, running.asked.request_id)?;
                    self.flushed = true;
                }
                return Ok(More::Yes);
            }
        }
        Ok(More::Yes)
    }

    /// Runs a command as far as its first objects.
    fn begin(&mut self, asked: Asked, out: &mut Vec<u8>) -> Result<(), ResponderError> {
        let id = asked.request_id;
        match self.call(&asked) {
            Ok(Reply::Object(encoded) | Reply::Encoded(encoded)) => {
                self.responder.ok(out, id)?;
                self.responder.objects(out, id, &encoded.bytes)?;
                self.end(&asked, out)
            }
            Ok(Reply::Objects(objects)) => {
                let running = Running {
                    asked,
                    objects,
                    told: false,
                };
                self.proceed(running, out)
            }
            Ok(Reply::Redirect(redirect)) => {
                // No target is advertised, so no client said that it follows one.
                let text = format!("a redirect to {} for nobody", redirect.target);
                self.give_up(asked, &Failure::internal(text), out)
            }
            Err(failure) => self.give_up(asked, &failure, out),
        }
    }

    fn call(&self, asked: &Asked) -> Result<Reply<Encoded>, Failure> {
        let entry = &self.commands.entries()[asked.command];
        let call = Call {
            service: &self.view,
            principal: &self.principal,
            peer: &self.peer,
        };
        let running = entry.call(call, &asked.request.args);
        Ok(self.runtime.block_on(running)?.reply)
    }

    /// Makes the next objects of a command.
    fn proceed(&mut self, mut running: Running, out: &mut Vec<u8>) -> Result<(), ResponderError> {
        self.objects.clear();
        let id = running.asked.request_id;
        match running.objects.append(&mut self.objects) {
            Ok(more) => {
                if !running.told && (more == More::No || !self.objects.is_empty()) {
                    self.responder.ok(out, id)?;
                    running.told = true;
                }
                match running.told {
                    true => self.responder.objects(out, id, &self.objects)?,
                    false => self.responder.prepare(out, id),
                }
                match more {
                    More::Yes => self.running = Some(running),
                    More::No => self.end(&running.asked, out)?,
                }
                Ok(())
            }
            Err(failure) if running.told => {
                let text = self.public_text(&failure, running.asked.command);
                self.responder.fail(out, id, text.as_bytes())
            }
            Err(failure) => self.give_up(running.asked, &failure, out),
        }
    }

    /// Something went wrong before anything was sent. If a strip or a rewrite can
    /// explain it, the command is run once more on the repository as it is now.
    fn give_up(
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

    fn end(&mut self, asked: &Asked, out: &mut Vec<u8>) -> Result<(), ResponderError> {
        let declaration = &self.commands.entries()[asked.command].declaration;
        if declaration.access.needs.contains(&Permission::Push) {
            // What follows sees what it did.
            if let Ok(view) = self.view.renewed() {
                self.view = view;
            }
        }
        self.metrics.count_command(asked.command, Outcome::Ok);
        self.responder.end(out, asked.request_id)
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
        let Failure::Internal(source) = failure else {
            return failure.to_string();
        };
        let (repository, name) = (self.view.entry().id(), self.name(command));
        tracing::error!(
            repository = repository.as_str(),
            command = name,
            peer = self.peer,
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

    fn name(&self, command: usize) -> &'static str {
        self.commands.entries()[command].declaration.name
    }
}

/// How much is collected before it is handed on.
const PIECE_BYTES: usize = 128 << 10;
/// How long short commands are run one after the other before others get their
/// turn.
const PIECE_TIME: Duration = Duration::from_millis(100);
