//! The two streams that are looked up in batches; a get-stream is the hot path.

use std::time::Instant;

use fingerpost_core::Failure;
use fingerpost_hashequiv::{HashEquiv, MethodWithin};
use fingerpost_hashequiv_proto::stream::{GetLine, Line, parse_get_line};
use fingerpost_hashequiv_proto::types::{Unihash, decode_hex};
use fingerpost_hashequiv_proto::{Inbox, Misbehaved, outbox};

use crate::ended::Ended;
use crate::turn::Turn;
use fingerpost_hashequiv_client::link::{Link, Outgoing};

/// What follows a step of a session's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more to work on.
    More,
    /// Nothing complete is left.
    Empty,
    /// The stream was left.
    Left,
}

/// How the taking of lines stopped.
enum Stop {
    Step(Step),
    Misbehaved(Misbehaved),
}

/// The lines of a get-stream.
pub(crate) struct Gets {
    pub(crate) command: usize,
    method: LastMethod,
    /// The answers from the first unknown one on: known here, or to be looked up.
    order: Vec<Option<[u8; 32]>>,
    unknown: Vec<(String, String)>,
}

/// What was taken from the inbox at once.
struct Taken {
    lines: u64,
    hits: u64,
    stop: Stop,
}

impl Gets {
    pub(crate) fn new(command: usize) -> Self {
        Self {
            command,
            method: LastMethod::default(),
            order: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Answers the complete lines that are there: those that memory knows at
    /// once, the others together.
    pub(crate) async fn batch<L: Link>(
        &mut self,
        turn: &mut Turn<'_, L>,
        inbox: &mut Inbox,
    ) -> Result<Step, Ended> {
        let started = Instant::now();
        let shared = turn.shared;
        let taken = self.take(
            &turn.caller.place.service,
            inbox,
            &mut turn.wire.out,
            shared.options.batch_lines,
        );
        if taken.lines == 0
            && let Stop::Step(step) = taken.stop
        {
            return Ok(step);
        }
        turn.caller.taken += 1;
        let answered = self.answer_unknown(turn).await;
        let (service, elapsed) = (turn.service(), started.elapsed());
        service.requests().record(taken.lines, elapsed);
        service.metrics().cache_hits.inc_by(taken.hits);
        service.metrics().unihashes_found.inc_by(taken.hits);
        let metrics = &turn.caller.counted[self.command];
        metrics.lines.inc_by(taken.lines);
        metrics.durations.observe(elapsed);
        answered.map_err(|failure| turn.fail(self.command, &failure))?;
        turn.rest(taken.lines).await;
        stopped(taken.stop, &mut turn.wire.out)
    }

    /// The hot loop. A line that memory knows costs no allocation, no lock of
    /// ours, no clock and no wait.
    fn take(
        &mut self,
        service: &HashEquiv,
        inbox: &mut Inbox,
        out: &mut Outgoing,
        batch_lines: usize,
    ) -> Taken {
        let fresh = service.cache_is_fresh();
        let (mut lines, mut hits) = (0, 0);
        let mut stop = Stop::Step(Step::Empty);
        for line in inbox.stream_lines() {
            lines += 1;
            let key = match line {
                Ok(Line::Text(text)) => parse_get_line(text),
                Ok(Line::End) => {
                    stop = Stop::Step(Step::Left);
                    break;
                }
                Err(misbehaved) => Err(misbehaved),
            };
            let key = match key {
                Ok(key) => key,
                Err(misbehaved) => {
                    stop = Stop::Misbehaved(misbehaved);
                    break;
                }
            };
            let known = if fresh {
                self.method.cached(service, &key)
            } else {
                None
            };
            hits += u64::from(known.is_some());
            match known {
                Some(unihash) if self.unknown.is_empty() => out.hash(&unihash),
                known => self.postpone(&key, known),
            }
            if self.unknown.len() >= batch_lines {
                stop = Stop::Step(Step::More);
                break;
            }
        }
        Taken { lines, hits, stop }
    }

    #[cold]
    fn postpone(&mut self, key: &GetLine<'_>, known: Option<[u8; 32]>) {
        self.order.push(known);
        if known.is_none() {
            self.unknown
                .push((key.method.to_owned(), key.taskhash.to_owned()));
        }
    }

    /// Looks up what memory did not know, and answers from there on in order.
    async fn answer_unknown<L: Link>(&mut self, turn: &mut Turn<'_, L>) -> Result<(), Failure> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let (order, unknown) = (
            std::mem::take(&mut self.order),
            std::mem::take(&mut self.unknown),
        );
        let looking = turn.caller.place.service.unihashes(unknown);
        let mut found = turn.wire.during(looking).await?.into_iter();
        for known in order {
            match known {
                Some(unihash) => turn.wire.out.hash(&unihash),
                None => answer(found.next().flatten(), &mut turn.wire.out),
            }
        }
        Ok(())
    }
}

/// Answers a look-up: the unihash, or an empty line.
fn answer(unihash: Option<Unihash>, out: &mut Outgoing) {
    match &unihash {
        None => out.line(""),
        Some(unihash) => match unihash.as_bytes() {
            Some(bytes) => out.hash(bytes),
            None => out.line(&unihash.to_text()),
        },
    }
}

/// The method of the line before, which is nearly always that of the next.
#[derive(Default)]
struct LastMethod {
    name: Vec<u8>,
    id: Option<MethodWithin>,
}

impl LastMethod {
    #[inline]
    fn cached(&mut self, service: &HashEquiv, key: &GetLine<'_>) -> Option<[u8; 32]> {
        let taskhash = decode_hex(key.taskhash.as_bytes())?;
        if self.id.is_none() || self.name != key.method.as_bytes() {
            self.learn(service, key.method);
        }
        service.cached_unihash(self.id?, &taskhash)
    }

    fn learn(&mut self, service: &HashEquiv, method: &str) {
        self.id = service.method(method.as_bytes());
        self.name.clear();
        self.name.extend_from_slice(method.as_bytes());
    }
}

/// The lines of an exists-stream.
pub(crate) struct Exists {
    pub(crate) command: usize,
}

impl Exists {
    pub(crate) const fn new(command: usize) -> Self {
        Self { command }
    }

    /// Answers the complete lines that are there, together.
    pub(crate) async fn batch<L: Link>(
        &mut self,
        turn: &mut Turn<'_, L>,
        inbox: &mut Inbox,
    ) -> Result<Step, Ended> {
        let started = Instant::now();
        let shared = turn.shared;
        let service = &turn.caller.place.service;
        let (unihashes, stop) = take_texts(inbox, shared.options.batch_lines);
        let ends = u64::from(!matches!(stop, Stop::Step(Step::More | Step::Empty)));
        let lines = unihashes.len() as u64 + ends;
        if lines == 0 {
            return Ok(Step::Empty);
        }
        turn.caller.taken += 1;
        let known = match unihashes.is_empty() {
            true => Ok(Vec::new()),
            false => turn.wire.during(service.exist(unihashes)).await,
        };
        let elapsed = started.elapsed();
        service.requests().record(lines, elapsed);
        let metrics = &turn.caller.counted[self.command];
        metrics.lines.inc_by(lines);
        metrics.durations.observe(elapsed);
        for known in known.map_err(|failure| turn.fail(self.command, &failure))? {
            turn.wire.out.line(if known { "true" } else { "false" });
        }
        turn.rest(lines).await;
        stopped(stop, &mut turn.wire.out)
    }
}

/// Takes at most `most` whole lines.
fn take_texts(inbox: &mut Inbox, most: usize) -> (Vec<String>, Stop) {
    let mut texts = Vec::new();
    for line in inbox.stream_lines() {
        let text = match line {
            Ok(Line::Text(text)) => std::str::from_utf8(text).map_err(|_| Misbehaved::NotUtf8),
            Ok(Line::End) => return (texts, Stop::Step(Step::Left)),
            Err(misbehaved) => Err(misbehaved),
        };
        match text {
            Ok(text) => texts.push(text.to_owned()),
            Err(misbehaved) => return (texts, Stop::Misbehaved(misbehaved)),
        }
        if texts.len() >= most {
            return (texts, Stop::Step(Step::More));
        }
    }
    (texts, Stop::Step(Step::Empty))
}

/// What comes after the answers to the lines before.
fn stopped(stop: Stop, out: &mut Outgoing) -> Result<Step, Ended> {
    match stop {
        Stop::Misbehaved(misbehaved) => Err(misbehaved.into()),
        Stop::Step(step) => {
            if step == Step::Left {
                out.line(outbox::STREAM_END);
            }
            Ok(step)
        }
    }
}
