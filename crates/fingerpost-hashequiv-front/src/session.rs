//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::sync::Arc;

use fingerpost_hashequiv_proto::{Inbound, Inbox, Mode};
use fingerpost_net::ConnectionGuard;
use tokio::time::Instant;

use crate::budget::Share;
use crate::door::Shared;
use crate::ended::Ended;
use crate::metrics::Limit;
use crate::stream::{Exists, Gets, Step};
use crate::turn::{Caller, Turn};
use crate::wire::{Arrived, Wire};
use fingerpost_hashequiv_client::link::Link;

/// A session in progress.
pub(crate) struct Session<'a, L> {
    turn: Turn<'a, L>,
    inbox: Inbox,
    activity: Activity,
    guard: &'a ConnectionGuard,
    /// When the message that is partly here began, and how many were taken
    /// before it.
    partial: Option<(u64, Instant)>,
    /// How often input that lies there is still read once the server stops.
    last_reads: u32,
}

/// What was sent before the stop may take more reads than one. Somebody who never
/// pauses is not read for ever.
const LAST_READS: u32 = 64;

/// What the session is doing.
pub(crate) enum Activity {
    /// Messages are requests.
    Requests,
    /// The lines of a get-stream.
    Gets(Gets),
    /// The lines of an exists-stream.
    Exists(Exists),
    /// The lines of another stream, handed to its command one by one.
    Lines(usize),
}

impl Activity {
    /// The command whose stream it is.
    const fn stream(&self) -> Option<usize> {
        match self {
            Self::Requests => None,
            Self::Gets(gets) => Some(gets.command),
            Self::Exists(exists) => Some(exists.command),
            Self::Lines(command) => Some(*command),
        }
    }
}

impl<'a, L: Link> Session<'a, L> {
    /// Prepares a session; `first` was received already.
    pub(crate) fn new(
        shared: &'a Shared,
        guard: &'a ConnectionGuard,
        link: L,
        first: &[u8],
        caller: Caller,
    ) -> Self {
        let mut inbox = Inbox::new(link.framing(), shared.options.limits);
        if !first.is_empty() {
            inbox.push(first);
        }
        let share = Share::new(Arc::clone(&shared.budget));
        Self {
            turn: Turn {
                shared,
                caller,
                wire: Wire::new(link, shared.options, share),
            },
            inbox,
            activity: Activity::Requests,
            guard,
            partial: None,
            last_reads: LAST_READS,
        }
    }

    /// Serves until the session is over. Gives back the link, to be closed, and
    /// whether to do that with care, because the peer may still be sending.
    pub(crate) async fn run(mut self) -> (L, bool) {
        let Err(ended) = self.serve().await;
        self.note(&ended);
        let wire = &mut self.turn.wire;
        let idle = wire.out.is_empty() && matches!(ended, Ended::PeerClosed | Ended::Drained);
        if ended.is_reachable() {
            wire.finish(&self.turn.shared.metrics).await;
        }
        (self.turn.wire.link, ended.is_reachable() && !idle)
    }

    async fn serve(&mut self) -> Result<Infallible, Ended> {
        loop {
            self.work().await?;
            if self.guard.draining() && !self.turn.wire.is_full() {
                self.last_reads = self.last_reads.checked_sub(1).ok_or(Ended::Drained)?;
            }
            let due = self.message_due();
            let metrics = &self.turn.shared.metrics;
            let exchange = self
                .turn
                .wire
                .exchange(&mut self.inbox, due, self.guard, metrics);
            match exchange.await? {
                Arrived::Input | Arrived::Room => {}
                Arrived::End => return Err(Ended::PeerClosed),
                Arrived::Stop => return Err(Ended::Drained),
            }
        }
    }

    /// Works on what is complete, unless too many answers wait already.
    async fn work(&mut self) -> Result<(), Ended> {
        while !self.turn.wire.is_full() {
            if let Some(command) = self.activity.stream()
                && self.turn.end_login()
            {
                Box::pin(self.turn.renew(command)).await?;
            }
            let step = match &mut self.activity {
                Activity::Requests => self.next_request().await?,
                Activity::Gets(gets) => gets.batch(&mut self.turn, &mut self.inbox).await?,
                Activity::Exists(exists) => exists.batch(&mut self.turn, &mut self.inbox).await?,
                Activity::Lines(command) => {
                    next_line(&mut self.turn, &mut self.inbox, *command).await?
                }
            };
            match step {
                Step::More => {}
                Step::Empty => break,
                Step::Left => self.activity = Activity::Requests,
            }
        }
        Ok(())
    }

    async fn next_request(&mut self) -> Result<Step, Ended> {
        match self.inbox.next(Mode::Requests)? {
            None => return Ok(Step::Empty),
            Some(Inbound::Opened {
                needs_headers: true,
            }) => self.turn.wire.out.headers(),
            Some(Inbound::Request(text)) => {
                if let Some(activity) = self.turn.request(text).await? {
                    self.activity = activity;
                }
            }
            Some(Inbound::Goodbye) => return Err(Ended::Goodbye),
            // The last two are not given in this mode.
            Some(Inbound::Opened { .. } | Inbound::Line(_) | Inbound::StreamEnd) => {}
        }
        Ok(Step::More)
    }

    /// When the handshake, or the message that is partly here, must be complete.
    fn message_due(&mut self) -> Option<Instant> {
        if !self.inbox.is_open() {
            return Some(self.guard.handshake_deadline());
        }
        if self.inbox.pending() == 0 || self.turn.wire.is_full() {
            self.partial = None;
            return None;
        }
        let taken = self.turn.caller.taken;
        let since = match self.partial {
            Some((before, since)) if before == taken => since,
            _ => Instant::now(),
        };
        self.partial = Some((taken, since));
        Some(since + self.turn.shared.options.message_time)
    }

    /// Counts and logs the end.
    fn note(&self, ended: &Ended) {
        let metrics = &self.turn.shared.metrics;
        match ended {
            Ended::Misbehaved(misbehaved) => metrics.count_misbehaved(*misbehaved),
            Ended::OverLimit(limit) => metrics.count_over_limit(*limit),
            _ => {}
        }
        if matches!(ended, Ended::OverLimit(Limit::HandshakeTime)) {
            self.guard.count_handshake_timeout();
        }
        self.turn.shared.log.end(ended, &self.turn.caller);
    }
}

/// Hands one line of a stream to its command.
async fn next_line<L: Link>(
    turn: &mut Turn<'_, L>,
    inbox: &mut Inbox,
    command: usize,
) -> Result<Step, Ended> {
    let Some(inbound) = inbox.next(Mode::Stream)? else {
        return Ok(Step::Empty);
    };
    turn.caller.counted[command].lines.inc();
    if let Inbound::Line(line) = inbound {
        turn.call(command, line).await?;
        return Ok(Step::More);
    }
    turn.end_stream();
    Ok(Step::Left)
}
