//! One connection of a build, from its first byte to its last.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use fingerpost_hashequiv_client::link::Link;
use fingerpost_hashequiv_proto::{Inbound, Mode, outbox, request};
use fingerpost_net::ConnectionGuard;
use tracing::debug;

use crate::commands::{self, Caller, Kind, Reply};
use crate::gets::Gets;
use crate::marks::Marks;
use crate::shared::Shared;
use crate::wire::{Arrived, Ended, Wire};

/// Lines of a stream that are answered together.
const LINES: usize = 1_000;

/// What a session is doing.
enum Activity {
    Requests,
    Gets(Box<Gets>),
    Exists,
    Marks(Box<Marks>),
}

/// A session in progress.
pub(crate) struct Session<'a, L> {
    shared: Arc<Shared>,
    guard: &'a ConnectionGuard,
    wire: Wire<L>,
    activity: Activity,
    caller: Caller,
}

impl<'a, L: Link> Session<'a, L> {
    /// Prepares one of `caller`; `first` was received already.
    pub(crate) fn new(
        shared: Arc<Shared>,
        caller: Caller,
        guard: &'a ConnectionGuard,
        link: L,
        first: &[u8],
    ) -> Self {
        Self {
            shared,
            guard,
            wire: Wire::new(link, first),
            activity: Activity::Requests,
            caller,
        }
    }

    /// Serves until it is over, and gives back the link and whether somebody is there.
    pub(crate) async fn run(mut self) -> (L, bool) {
        let ended = match self.serve().await {
            Ok(()) => Ended::Closed,
            Err(ended) => ended,
        };
        let is_there = !matches!(ended, Ended::Broken(_) | Ended::Slow);
        if is_there {
            self.wire.finish().await;
        }
        debug!("a build left: {ended}");
        (self.wire.link, is_there)
    }

    async fn serve(&mut self) -> Result<(), Ended> {
        loop {
            self.work().await?;
            match poll_fn(|cx| self.poll(cx)).await? {
                Arrived::Progress => {}
                Arrived::End => {
                    // What was asked before is still answered.
                    self.answer_rest().await?;
                    return Ok(());
                }
                Arrived::Stop => {
                    self.answer_rest().await?;
                    return Err(Ended::Drained);
                }
            }
        }
    }

    /// Waits for input, for answers of the server, or for room.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrived, Ended>> {
        let mut takes = true;
        if let Activity::Gets(gets) = &mut self.activity {
            if gets.poll_answers(cx, &mut self.wire.out).is_ready() {
                return Poll::Ready(Ok(Arrived::Progress));
            }
            takes = gets.has_room();
        }
        self.wire.poll(cx, takes, self.guard)
    }

    async fn answer_rest(&mut self) -> Result<(), Ended> {
        self.work().await?;
        while let Activity::Gets(gets) = &mut self.activity
            && gets.is_asking()
        {
            poll_fn(|cx| gets.poll_answers(cx, &mut self.wire.out)).await;
        }
        Ok(())
    }

    /// Works on what is complete, unless too many answers wait already.
    async fn work(&mut self) -> Result<(), Ended> {
        while !self.wire.is_full() {
            let goes_on = match &mut self.activity {
                Activity::Requests => self.next_request().await?,
                Activity::Gets(gets) => {
                    if !gets.is_over() {
                        gets.take(&mut self.wire)?;
                    }
                    if gets.is_done() {
                        self.activity = Activity::Requests;
                        continue;
                    }
                    false
                }
                Activity::Exists => self.next_existence().await?,
                Activity::Marks(_) => self.next_marks().await?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    async fn next_request(&mut self) -> Result<bool, Ended> {
        let text = match self.wire.inbox.next(Mode::Requests)? {
            None => return Ok(false),
            Some(Inbound::Opened { needs_headers }) => {
                if needs_headers {
                    self.wire.out.headers();
                }
                return Ok(true);
            }
            Some(Inbound::Goodbye) => return Err(Ended::Closed),
            Some(Inbound::Request(text)) => text,
            // These are not given in this mode.
            Some(Inbound::Line(_) | Inbound::StreamEnd) => return Ok(true),
        };
        let selected = request::select(text, &commands::find)?;
        let (kind, name) = commands::ALL[selected.index];
        self.shared
            .figures
            .requests
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if matches!(kind, Kind::Gets | Kind::Exists | Kind::Marks) {
            return self.open_stream(kind).await;
        }
        let argument = selected.argument.to_owned();
        let shared = Arc::clone(&self.shared);
        let working = commands::answer(&shared, &mut self.caller, kind, name, &argument);
        let reply = self.wire.during(self.guard, working).await?;
        self.answer(reply)
    }

    async fn open_stream(&mut self, kind: Kind) -> Result<bool, Ended> {
        self.activity = match kind {
            Kind::Marks => {
                let opening = Marks::open(&self.shared, &self.caller);
                match self.wire.during(self.guard, opening).await? {
                    Ok(marks) => Activity::Marks(Box::new(marks)),
                    Err(reply) => return self.answer(reply),
                }
            }
            Kind::Gets => {
                let server = self.caller.server(&self.shared);
                let gets = Gets::new(Arc::clone(&self.shared), Arc::clone(server));
                Activity::Gets(Box::new(gets))
            }
            _ => Activity::Exists,
        };
        self.wire.out.message(outbox::STREAM_BEGIN.as_bytes());
        Ok(true)
    }

    /// Answers, and says whether the session goes on.
    fn answer(&mut self, reply: Reply) -> Result<bool, Ended> {
        match reply {
            Reply::Json(json) => {
                self.wire.out.message(json.as_bytes());
                Ok(true)
            }
            Reply::Refused(why) => {
                self.wire.out.invoke_error(&why);
                Err(Ended::Refused)
            }
            Reply::Close => Err(Ended::Refused),
        }
    }

    /// The complete lines of a stream that are answered together, and whether it was left.
    fn lines(&mut self) -> Result<(Vec<String>, bool), Ended> {
        let (mut lines, mut is_over) = (Vec::new(), false);
        while lines.len() < LINES && !is_over {
            match self.wire.inbox.next(Mode::Stream)? {
                None => break,
                Some(Inbound::Line(line)) => lines.push(line.to_owned()),
                Some(_) => is_over = true,
            }
        }
        Ok((lines, is_over))
    }

    /// Answers lines of an exists-stream.
    async fn next_existence(&mut self) -> Result<bool, Ended> {
        let (lines, is_over) = self.lines()?;
        let goes_on = is_over || lines.len() == LINES;
        if !lines.is_empty() {
            let shared = Arc::clone(&self.shared);
            let server = Arc::clone(self.caller.server(&shared));
            let known = self
                .wire
                .during(self.guard, shared.exist(&server, lines))
                .await?;
            for known in known {
                self.wire.out.line(if known { "true" } else { "false" });
            }
        }
        self.leave_if(is_over);
        Ok(goes_on)
    }

    /// Answers lines of a gc-mark-stream.
    async fn next_marks(&mut self) -> Result<bool, Ended> {
        let (lines, is_over) = self.lines()?;
        let goes_on = is_over || lines.len() == LINES;
        let Activity::Marks(marks) = &mut self.activity else {
            return Ok(goes_on);
        };
        if !lines.is_empty() {
            let marked = self.wire.during(self.guard, marks.mark(&lines)).await?;
            let counts = match marked {
                Ok(counts) => counts,
                Err(reply) => return self.answer(reply),
            };
            for count in counts {
                self.wire.out.line(&format!("{{\"count\": {count}}}"));
            }
        }
        self.leave_if(is_over);
        Ok(goes_on)
    }

    fn leave_if(&mut self, is_over: bool) {
        if is_over {
            self.wire.out.line(outbox::STREAM_END);
            self.activity = Activity::Requests;
        }
    }
}
