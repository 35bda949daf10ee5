//! The commands of one request, and the frames that answer them.

use std::collections::VecDeque;
use std::sync::Arc;

use fingerpost_core::{Call, Failure, More, Objects, Principal, Registry, Reply};
use fingerpost_hg::{RepositoryView, StoreError, may_be_stale};
use fingerpost_hg_proto::server::{Responder, ResponderError};
use fingerpost_hg_proto::{CommandRequest, ContentEncoding, RequestId};
use tokio::runtime::Handle;

use crate::metrics::{Metrics, Outcome};

/// One command of a request.
pub(crate) struct Asked {
    pub(crate) request_id: RequestId,
    /// Its index in the registry.
    pub(crate) command: usize,
    pub(crate) request: CommandRequest,
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
}

/// A command whose objects are being sent.
struct Running {
    request_id: RequestId,
    command: usize,
    objects: Box<dyn Objects>,
}

/// What a command has come to before anything of it is sent.
enum Begun {
    Whole,
    Streaming(Box<dyn Objects>, More),
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
        while out.len() < PIECE_BYTES {
            if let Some(running) = self.running.take() {
                self.proceed(running, out)?;
            } else if let Some(asked) = self.asked.pop_front() {
                self.begin(&asked, out)?;
            } else {
                return Ok(More::No);
            }
            if let Some(running) = &self.running {
                if !self.flushed {
                    // The first bytes leave at once, however much is to come.
                    self.responder.flush(out, running.request_id)?;
                    self.flushed = true;
                }
                return Ok(More::Yes);
            }
        }
        Ok(More::Yes)
    }

    /// Runs a command. What goes wrong before its first objects are made is
    /// told instead of an answer; if a strip or a rewrite can explain it, the
    /// command is run once more on the repository as it is now.
    fn begin(&mut self, asked: &Asked, out: &mut Vec<u8>) -> Result<(), ResponderError> {
        let mut begun = self.try_once(asked);
        if begun.as_ref().is_err_and(may_be_stale) {
            begun = match self.view.renewed() {
                Ok(view) => {
                    self.view = view;
                    self.metrics.count_retry();
                    self.try_once(asked)
                }
                Err(error) => Err(Failure::internal(error)),
            };
        }
        let id = asked.request_id;
        match begun {
            Ok(begun) => {
                self.responder.ok(out, id)?;
                self.responder.objects(out, id, &self.objects)?;
                match begun {
                    Begun::Streaming(objects, More::Yes) => {
                        self.running = Some(Running {
                            request_id: id,
                            command: asked.command,
                            objects,
                        });
                        Ok(())
                    }
                    Begun::Streaming(_, More::No) | Begun::Whole => {
                        self.end(id, asked.command, out)
                    }
                }
            }
            Err(failure) => self.refuse(&failure, id, asked.command, out),
        }
    }

    /// Runs a command as far as its first objects, which are left in `objects`.
    fn try_once(&mut self, asked: &Asked) -> Result<Begun, Failure> {
        self.objects.clear();
        let entry = &self.commands.entries()[asked.command];
        let call = Call {
            service: &self.view,
            principal: &self.principal,
            peer: &self.peer,
        };
        let outcome = self
            .runtime
            .block_on(entry.call(call, &asked.request.args))?;
        match outcome.reply {
            Reply::Object(encoded) | Reply::Encoded(encoded) => {
                self.objects.extend_from_slice(&encoded.bytes);
                Ok(Begun::Whole)
            }
            Reply::Objects(mut objects) => {
                let more = objects.append(&mut self.objects)?;
                Ok(Begun::Streaming(objects, more))
            }
            Reply::Redirect(redirect) => {
                // No target is advertised, so no client said that it follows one.
                let text = format!("a redirect to {} for nobody", redirect.target);
                Err(Failure::internal(text))
            }
        }
    }

    fn proceed(&mut self, mut running: Running, out: &mut Vec<u8>) -> Result<(), ResponderError> {
        self.objects.clear();
        let (id, command) = (running.request_id, running.command);
        match running.objects.append(&mut self.objects) {
            Ok(more) => {
                self.responder.objects(out, id, &self.objects)?;
                if more == More::No {
                    return self.end(id, command, out);
                }
                self.running = Some(running);
                Ok(())
            }
            Err(failure) => {
                let text = self.public_text(&failure, command);
                self.responder.fail(out, id, text.as_bytes())
            }
        }
    }

    fn end(
        &mut self,
        id: RequestId,
        command: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponderError> {
        self.metrics.count_command(command, Outcome::Ok);
        self.responder.end(out, id)
    }

    /// Answers with a failure alone.
    fn refuse(
        &mut self,
        failure: &Failure,
        id: RequestId,
        command: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponderError> {
        let text = self.public_text(failure, command);
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
