//! The lines of a get-stream: what memory knows at once, the rest in batches that are
//! asked while further lines come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fingerpost_hashequiv_client::link::{Link, Outgoing};
use fingerpost_hashequiv_proto::outbox;
use fingerpost_hashequiv_proto::stream::{GetLine, Line, parse_get_line};
use fingerpost_hashequiv_proto::types::{Method, Task, Taskhash, decode_hex};
use futures_util::stream::{FuturesOrdered, Stream as _};

use crate::knowledge::{Known, MethodId, Whose};
use crate::server::Server;
use crate::shared::Shared;
use crate::spared::Spared;
use crate::wire::{Ended, Wire};

/// Tasks that are asked together.
const BATCH_TASKS: usize = 4_000;
/// Batches of one build that are under way.
const BATCHES_MAX: usize = 32;

/// A build that asks one task after the other waits for so many slow answers that say
/// nothing, one after the other; from then on it is told what is known, and the server is
/// asked behind its back.
const SLOW_MAX: u32 = 20;
/// One task in so many is waited for all the same: the next ones may be known.
const TRIED: u32 = 512;
/// An answer that took longer is slow.
const SLOW: Duration = Duration::from_millis(10);

type Asking = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// The answers of a batch; of a single one how long it took, and whether it was nothing.
struct Answered {
    answers: Vec<Option<[u8; 32]>>,
    single: Option<(Duration, bool)>,
    /// Whether all of it was answered here, and the build did not wait for the server.
    is_spared: bool,
}

/// A place in a batch: known, or the next of those that are asked.
enum Place {
    Known(Option<[u8; 32]>),
    /// What is answered if the server is silent.
    Asked(Option<[u8; 32]>),
}

/// The state of one get-stream.
pub(crate) struct Gets {
    shared: Arc<Shared>,
    server: Arc<Server>,
    asking: FuturesOrdered<Asking>,
    method: LastMethod,
    places: Vec<Place>,
    tasks: Vec<Task>,
    /// The stream was left: what is under way is still answered.
    is_over: bool,
    /// Single look-ups whose answers took long and said nothing, since the last other one.
    slow: u32,
    /// Single look-ups.
    singles: u32,
    spared: Spared,
}

impl Gets {
    pub(crate) fn new(shared: Arc<Shared>, server: Arc<Server>) -> Self {
        Self {
            shared,
            server,
            asking: FuturesOrdered::new(),
            method: LastMethod::new(),
            places: Vec::new(),
            tasks: Vec::new(),
            is_over: false,
            slow: 0,
            singles: 0,
            spared: Spared::default(),
        }
    }

    /// Whether further lines can be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.asking.len() < BATCHES_MAX && !self.is_over
    }

    /// Whether the stream was left and everything is answered.
    pub(crate) fn is_done(&self) -> bool {
        self.is_over && self.asking.is_empty()
    }

    /// Whether the stream was left.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether answers are awaited.
    pub(crate) fn is_asking(&self) -> bool {
        !self.asking.is_empty()
    }

    /// Takes the complete lines that are there.
    pub(crate) fn take<L: Link>(&mut self, wire: &mut Wire<L>) -> Result<(), Ended> {
        while self.has_room() {
            let (lines, stop) = self.take_batch(wire);
            self.ask();
            if self.is_over && self.asking.is_empty() {
                wire.out.line(outbox::STREAM_END);
            }
            stop?;
            if lines < BATCH_TASKS {
                break;
            }
        }
        Ok(())
    }

    /// The hot loop: a line that memory knows costs no allocation, no clock and no wait.
    fn take_batch<L: Link>(&mut self, wire: &mut Wire<L>) -> (usize, Result<(), Ended>) {
        let waits = !self.asking.is_empty();
        let whose = self.server.whose();
        let (mut lines, mut hits) = (0, 0);
        let mut stop = Ok(());
        for line in wire.inbox.stream_lines() {
            let key = match line {
                Ok(Line::Text(text)) => parse_get_line(text),
                Ok(Line::End) => {
                    self.is_over = true;
                    break;
                }
                Err(misbehaved) => Err(misbehaved),
            };
            let key = match key {
                Ok(key) => key,
                Err(misbehaved) => {
                    stop = Err(misbehaved.into());
                    break;
                }
            };
            lines += 1;
            match self.method.known(&self.shared, whose, &key) {
                Known::Fresh(unihash) => {
                    hits += 1;
                    match unihash {
                        Some(unihash) if !waits && self.places.is_empty() => {
                            wire.out.hash(&unihash);
                        }
                        None if !waits && self.places.is_empty() => wire.out.line(""),
                        known => self.places.push(Place::Known(known)),
                    }
                }
                Known::Old(unihash) => self.postpone(&key, Some(unihash)),
                Known::Nothing => self.postpone(&key, None),
            }
            if lines == BATCH_TASKS {
                break;
            }
        }
        let figures = &self.shared.figures;
        figures.lookups(lines as u64, hits);
        if !waits && hits == lines as u64 {
            self.spared.lines(figures, hits, Instant::now);
        }
        (lines, stop)
    }

    fn postpone(&mut self, key: &GetLine<'_>, old: Option<[u8; 32]>) {
        self.places.push(Place::Asked(old));
        self.tasks.push(Task {
            method: self.method.named(key.method).clone(),
            taskhash: Taskhash::parse(key.taskhash),
        });
    }

    /// Asks what was taken.
    fn ask(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let (places, tasks) = (
            std::mem::take(&mut self.places),
            std::mem::take(&mut self.tasks),
        );
        let (shared, server) = (Arc::clone(&self.shared), Arc::clone(&self.server));
        let is_single = tasks.len() == 1 && places.len() == 1;
        self.singles = self.singles.wrapping_add(u32::from(is_single));
        let waits = !is_single || self.slow < SLOW_MAX || self.singles.is_multiple_of(TRIED);
        self.asking.push_back(Box::pin(async move {
            let began = Instant::now();
            let (words, by) = match (tasks.is_empty(), waits) {
                (true, _) => Default::default(),
                (false, true) => shared.ask(&server, tasks).await,
                (false, false) => {
                    shared.ask_behind(&server, tasks);
                    Default::default()
                }
            };
            shared.figures.answered(&by);
            let is_spared = !words.is_empty() && by.asked == 0;
            let mut found = words.into_iter();
            let answer = |place| match place {
                Place::Known(known) => known,
                Place::Asked(old) => match found.next().flatten() {
                    // What is no 32 bytes is no answer for a build.
                    Some(said) => said.and_then(|unihash| unihash.as_bytes().copied()),
                    None => old,
                },
            };
            let answers: Vec<Option<[u8; 32]>> = places.into_iter().map(answer).collect();
            let is_nothing = matches!(answers[..], [None]);
            Answered {
                answers,
                single: (is_single && waits).then(|| (began.elapsed(), is_nothing)),
                is_spared,
            }
        }));
    }

    /// Writes the answers that have come. Ready when there were some.
    pub(crate) fn poll_answers(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<()> {
        match Pin::new(&mut self.asking).poll_next(cx) {
            Poll::Ready(Some(Answered {
                answers,
                single,
                is_spared,
            })) => {
                if is_spared {
                    let lines = answers.len() as u64;
                    self.spared.lines(&self.shared.figures, lines, Instant::now);
                }
                match single {
                    Some((took, true)) if took > SLOW => self.slow += 1,
                    Some(_) => self.slow = 0,
                    None => {}
                }
                for answer in answers {
                    match answer {
                        Some(unihash) => out.hash(&unihash),
                        None => out.line(""),
                    }
                }
                if self.is_done() {
                    out.line(outbox::STREAM_END);
                }
                Poll::Ready(())
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// The method of the line before, which is nearly always that of the next.
struct LastMethod {
    name: Method,
    id: Option<MethodId>,
}

impl LastMethod {
    fn new() -> Self {
        Self {
            name: Method::new(""),
            id: None,
        }
    }

    #[inline]
    fn known(&mut self, shared: &Shared, whose: Whose, key: &GetLine<'_>) -> Known {
        let Some(taskhash) = decode_hex(key.taskhash.as_bytes()) else {
            return Known::Nothing;
        };
        if self.id.is_none() || self.name.as_str() != key.method {
            self.id = shared.knowledge.method(self.named(key.method).as_str());
        }
        match self.id {
            Some(id) => shared.knowledge.get(whose, id, &taskhash),
            None => Known::Nothing,
        }
    }

    fn named(&mut self, name: &str) -> &Method {
        if self.name.as_str() != name {
            self.name = Method::new(name);
            self.id = None;
        }
        &self.name
    }
}
