//! The commands of one request, and the frames that answer them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fingerpost_core::{
    CacheKey, Call, Called, Failure, More, Objects, Permission, Registry, Reply,
};
use fingerpost_hg::{RepositoryView, StoreError, may_be_stale};
use fingerpost_hg_proto::server::{Responder, ResponderError};
use fingerpost_hg_proto::{CommandRequest, ContentEncoding, Location, RequestId};
use tokio::runtime::Handle;

use crate::answers::AnswerCache;
use crate::caller::Caller;
use crate::lanes::Place;
use crate::metrics::{Metrics, Outcome};
use crate::redirecting::{Found, Looking};
use crate::shared::{Broken, Sharing, Step, Taken};

/// One command of a request.
pub(crate) struct Asked {
    pub(crate) request_id: RequestId,
    /// Its index in the registry.
    pub(crate) command: usize,
    pub(crate) request: CommandRequest,
    /// Whether it was begun before, on a repository that changed meanwhile.
    pub(crate) again: bool,
    /// Whether it is made for this request alone, because a shared answer failed.
    pub(crate) alone: bool,
}

/// Where the bytes of an answer come from.
enum Source {
    /// Made here for this request.
    Own(Box<dyn Objects>),
    /// Made for everybody, and encoded already.
    Shared(Sharing),
}

/// What a command has come to before anything of it is sent.
enum Begun {
    Whole(Bytes),
    Elsewhere(Location),
    Source(Source),
}

/// Commands that are answered one after the other, piece by piece. It lives on
/// blocking threads, between two of which it is handed to whoever waits for
/// the client.
pub(crate) struct Work {
    commands: Arc<Registry<RepositoryView>>,
    metrics: Arc<Metrics>,
    cache: Option<AnswerCache>,
    encoding: (Option<ContentEncoding>, i32),
    view: Arc<RepositoryView>,
    caller: Caller,
    runtime: Handle,
    asked: VecDeque<Asked>,
    running: Option<Running>,
    responder: Responder,
    objects: Vec<u8>,
    flushed: bool,
    /// Somebody else has to go on first.
    waits: bool,
    /// Given back when the work is done and sent, or nobody waits for it any more
    /// and the thread that is at it notices.
    _place: Place,
}

/// A command whose answer is being sent.
struct Running {
    asked: Asked,
    source: Source,
    /// Whether the client was told that it is answered. Before, what goes wrong
    /// is told instead of an answer.
    told: bool,
}

impl Work {
    /// Work on `view` for a caller. Must be made on a thread of the runtime.
    pub(crate) fn new(
        (commands, metrics): (Arc<Registry<RepositoryView>>, Arc<Metrics>),
        cache: Option<AnswerCache>,
        view: Arc<RepositoryView>,
        caller: Caller,
        asked: Vec<Asked>,
        encoding: (Option<ContentEncoding>, i32),
        place: Place,
    ) -> Self {
        Self {
            commands,
            metrics,
            cache,
            encoding,
            view,
            caller,
            runtime: Handle::current(),
            asked: asked.into(),
            running: None,
            responder: Responder::new(encoding.0, encoding.1),
            objects: Vec::new(),
            flushed: false,
            waits: false,
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
        self.waits = false;
        while out.len() < PIECE_BYTES && began.elapsed() < PIECE_TIME {
            if let Some(running) = self.running.take() {
                self.proceed(running, out)?;
            } else if let Some(asked) = self.asked.pop_front() {
                self.begin(asked, out)?;
            } else {
                return Ok(More::No);
            }
            if let Some(running) = &self.running {
                let is_own = matches!(running.source, Source::Own(_));
                if running.told && is_own && !self.flushed {
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
        let called = self.call(&asked);
        let source = match called.and_then(|called| self.source(called, &asked)) {
            Ok(Begun::Whole(bytes)) => {
                self.responder.ok(out, id)?;
                self.responder.objects(out, id, &bytes)?;
                self.responder.end(out, id)?;
                self.end(&asked);
                return Ok(());
            }
            Ok(Begun::Elsewhere(location)) => {
                self.responder.redirect(out, id, &location)?;
                self.end(&asked);
                return Ok(());
            }
            Ok(Begun::Source(source)) => source,
            Err(failure) => return self.give_up(asked, &failure, out),
        };
        let running = Running {
            asked,
            source,
            told: false,
        };
        self.proceed(running, out)
    }

    fn call(&self, asked: &Asked) -> Result<Called, Failure> {
        let entry = &self.commands.entries()[asked.command];
        let call = Call {
            service: &self.view,
            principal: &self.caller.principal,
            peer: &self.caller.peer,
        };
        let running = entry.call(call, &asked.request.args);
        self.runtime.block_on(running)
    }

    /// Where the answer comes from. What the caller may have was decided in the
    /// call, whether it is remembered or not.
    fn source(&self, called: Called, asked: &Asked) -> Result<Begun, Failure> {
        let objects = match called.reply {
            Reply::Object(encoded) | Reply::Encoded(encoded) => {
                return Ok(Begun::Whole(encoded.bytes));
            }
            Reply::Objects(objects) => objects,
            Reply::Redirect(redirect) => {
                return Ok(Begun::Elsewhere(Location::new(redirect.location.expose())));
            }
        };
        match (&self.cache, called.key) {
            (Some(cache), Some(key)) if !asked.alone && !objects.are_few() => {
                self.remembered(cache, key, objects, asked)
            }
            _ => Ok(Begun::Source(Source::Own(objects))),
        }
    }

    /// An answer that may be remembered: elsewhere, in a store, or being made.
    fn remembered(
        &self,
        cache: &AnswerCache,
        key: CacheKey,
        objects: Box<dyn Objects>,
        asked: &Asked,
    ) -> Result<Begun, Failure> {
        let counts = cache.dispatch.counts(self.name(asked.command));
        let follows = self.caller.follows(&asked.request);
        let looking = Looking::new(cache, &counts, &key, follows.as_ref());
        let mut found = Found::No;
        if let Some(looking) = &looking {
            found = self.runtime.block_on(looking.find_seen());
        }
        if let Found::There(location) = found {
            return Ok(Begun::Elsewhere(location));
        }
        let (encoding, level) = self.encoding;
        let how = (encoding.unwrap_or(ContentEncoding::Identity), level);
        let sharing = Sharing::begin(cache, &counts, key, objects, how, &self.runtime)?;
        if let (Some(looking), Some(stored)) = (&looking, sharing.stored())
            && let Some(location) = looking.find_or_put(found, &stored, &self.runtime)
        {
            return Ok(Begun::Elsewhere(location));
        }
        Ok(Begun::Source(Source::Shared(sharing)))
    }

    /// Sends the next bytes of an answer.
    fn proceed(&mut self, mut running: Running, out: &mut Vec<u8>) -> Result<(), ResponderError> {
        self.objects.clear();
        let taken = match &mut running.source {
            Source::Own(objects) => {
                let more = objects.append(&mut self.objects);
                more.map(Taken::from).map_err(Broken::Unmade)
            }
            Source::Shared(sharing) => sharing.step(&mut self.objects, &self.runtime),
        };
        match taken {
            Ok(taken) => self.send(running, &taken, out),
            Err(Broken::Lost(why)) if !running.asked.alone => self.make_alone(running, &why, out),
            Err(broken) => self.break_off(running, &broken.into_failure(), out),
        }
    }

    /// A store failed, or another request: this one is answered all the same.
    fn make_alone(
        &mut self,
        mut running: Running,
        why: &Failure,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponderError> {
        let name = self.name(running.asked.command);
        tracing::debug!(command = name, %why, "an answer is made again: {why}");
        self.metrics.count_made_again();
        running.asked.alone = true;
        if !running.told {
            self.asked.push_front(running.asked);
            return Ok(());
        }
        let called = self.call(&running.asked);
        let going_on = called.and_then(|called| match (&mut running.source, called.reply) {
            (Source::Shared(sharing), Reply::Objects(objects)) => {
                sharing.go_on_alone(objects, called.key.as_ref())
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
    fn break_off(
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

    /// Sends what was taken, or is in `objects`.
    fn send(
        &mut self,
        mut running: Running,
        taken: &Taken,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponderError> {
        let (id, responder) = (running.asked.request_id, &mut self.responder);
        let is_shared = matches!(running.source, Source::Shared(_));
        let bytes = taken.bytes.as_deref().unwrap_or(&self.objects);
        if !running.told && (matches!(taken.step, Step::End) || !bytes.is_empty()) {
            match is_shared {
                true => responder.ok_stored(out, id)?,
                false => responder.ok(out, id)?,
            }
            running.told = true;
        }
        match (running.told, is_shared) {
            (false, _) => responder.prepare(out, id),
            (true, true) => responder.stored(out, id, bytes)?,
            (true, false) => responder.objects(out, id, bytes)?,
        }
        match taken.step {
            Step::More => self.running = Some(running),
            Step::Wait => {
                self.waits = true;
                self.running = Some(running);
            }
            Step::End => {
                if is_shared {
                    self.responder.end_stored(out, id)?;
                } else {
                    self.responder.end(out, id)?;
                }
                self.end(&running.asked);
            }
        }
        Ok(())
    }

    /// Waits until going on is of use: while another request makes what this one
    /// is to send.
    pub(crate) fn ready(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        match &self.running {
            Some(Running {
                source: Source::Shared(sharing),
                ..
            }) if self.waits => Some(sharing.more()),
            _ => None,
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

    /// An answer was sent to its end.
    fn end(&mut self, asked: &Asked) {
        let declaration = &self.commands.entries()[asked.command].declaration;
        if declaration.access.needs.contains(&Permission::Push) {
            // What follows sees what it did.
            if let Ok(view) = self.view.renewed() {
                self.view = view;
            }
        }
        self.metrics.count_command(asked.command, Outcome::Ok);
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

    fn name(&self, command: usize) -> &'static str {
        self.commands.entries()[command].declaration.name
    }
}

/// How much is collected before it is handed on.
const PIECE_BYTES: usize = 128 << 10;
/// How long short commands are run one after the other before others get their
/// turn.
const PIECE_TIME: Duration = Duration::from_millis(100);
