//! The commands of one request, and the frames that answer them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::{More, Objects, Permission, Registry};
use fingerpost_hg::RepositoryView;
use fingerpost_hg_proto::server::{Responder, ResponderError};
use fingerpost_hg_proto::{CommandRequest, ContentEncoding, RequestId};
use fingerpost_net::Guards;
use tokio::runtime::Handle;

use crate::answers::AnswerCache;
use crate::caller::Caller;
use crate::lanes::Place;
use crate::metrics::{Metrics, Outcome};
use crate::shared::{Broken, Sharing, Step, Taken};

mod beginning;
mod failing;

use beginning::Begun;

/// One command of a request.
pub(crate) struct Asked {
    pub(crate) request_id: RequestId,
    /// Its index in the registry.
    pub(crate) command: usize,
    pub(crate) request: CommandRequest,
    /// Whether it was begun before, on a repository that changed meanwhile.
    pub(crate) again: bool,
}

/// Where the bytes of an answer come from.
enum Source {
    /// Made here for this request.
    Own(Box<dyn Objects>),
    /// Made for everybody, and encoded already.
    Shared(Sharing),
}

/// Commands that are answered one after the other, piece by piece. It lives on
/// blocking threads, between two of which it is handed to whoever waits for
/// the client.
pub(crate) struct Work {
    commands: Arc<Registry<RepositoryView>>,
    metrics: Arc<Metrics>,
    cache: Option<AnswerCache>,
    guards: Guards,
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

/// How an answer comes to be that may be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// Out of a store, or made for everybody.
    Shared,
    /// Made for everybody: what a store had could not be read, or who made it
    /// before failed.
    Anew,
    /// Made for this request, because that failed too: there may be no room to hold
    /// it for others.
    Alone,
}

impl Attempt {
    /// What is tried after this.
    const fn next(self) -> Option<Self> {
        match self {
            Self::Shared => Some(Self::Anew),
            Self::Anew => Some(Self::Alone),
            Self::Alone => None,
        }
    }
}

/// A command whose answer is being sent.
struct Running {
    asked: Asked,
    source: Source,
    attempt: Attempt,
    /// Whether the client was told that it is answered. Before, what goes wrong
    /// is told instead of an answer.
    told: bool,
}

impl Work {
    /// Work on `view` for a caller. Must be made on a thread of the runtime.
    pub(crate) fn new(
        (commands, metrics): (Arc<Registry<RepositoryView>>, Arc<Metrics>),
        (cache, guards): (Option<AnswerCache>, Guards),
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
            guards,
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
            attempt: Attempt::Shared,
            told: false,
        };
        self.proceed(running, out)
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
            Err(Broken::Lost(why)) => self.make_again(running, &why, out),
            Err(Broken::Unmade(why)) => self.break_off(running, &why, out),
        }
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

    fn name(&self, command: usize) -> &'static str {
        self.commands.entries()[command].declaration.name
    }
}

/// How much is collected before it is handed on.
const PIECE_BYTES: usize = 128 << 10;
/// How long short commands are run one after the other before others get their
/// turn.
const PIECE_TIME: Duration = Duration::from_millis(100);
