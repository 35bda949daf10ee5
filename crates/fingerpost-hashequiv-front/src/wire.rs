//! Sending and receiving of one session, with its waits and its memory bounded.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fingerpost_hashequiv_proto::Inbox;
use fingerpost_net::ConnectionGuard;
use tokio::time::Instant;

use crate::budget::Share;
use crate::ended::Ended;
use crate::metrics::{Limit, Metrics};
use crate::options::DoorOptions;
use fingerpost_hashequiv_client::link::{IDLE_BYTES, Link, Outgoing, Waste};
use fingerpost_hashequiv_client::{Timer, earlier};

/// A connection that rests this long gives its larger buffers back, at the
/// latest after twice the time.
const REST: Duration = Duration::from_secs(5);

/// Bytes of input after which a client that never pauses lets others run.
const TURN_BYTES: usize = 256 << 10;

/// One end of a connection with the answers that wait for it.
pub(crate) struct Wire<L> {
    pub(crate) link: L,
    pub(crate) out: Outgoing,
    options: DoorOptions,
    share: Share,
    timer: Timer,
    /// Since when the peer has taken nothing of what waits for it.
    stalled: Option<Instant>,
    rest: Rest,
    /// Bytes that were sent and are not counted yet.
    sent_bytes: u64,
    /// Input since the task last let others run.
    turn_bytes: usize,
}

/// What an exchange came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Input.
    Input,
    /// Room for further answers; the input that is there can be worked on.
    Room,
    /// The peer closed its side.
    End,
    /// The server is stopping.
    Stop,
}

/// Watches for a pause without asking for the time at every message.
#[derive(Debug, Default)]
struct Rest {
    /// Whether there may be something to give back.
    large: bool,
    /// When to look.
    due: Option<Instant>,
    /// Whether something happened since the last look.
    touched: bool,
}

impl<L: Link> Wire<L> {
    pub(crate) fn new(link: L, options: DoorOptions, share: Share) -> Self {
        let out = Outgoing::new(link.framing());
        Self {
            link,
            out,
            options,
            share,
            timer: Timer::default(),
            stalled: None,
            rest: Rest::default(),
            sent_bytes: 0,
            turn_bytes: 0,
        }
    }

    /// Whether so many answers wait that no further request is worked on.
    pub(crate) const fn is_full(&self) -> bool {
        self.out.pending() > self.options.pending_bytes
    }

    /// Sends what is to be sent and waits for input, both at once. To be called
    /// when all complete input is taken, or when the wire [is
    /// full](Self::is_full): then nothing is received, and it returns when
    /// there is room again. `message_due` is when the message that is partly
    /// here must be complete.
    pub(crate) async fn exchange(
        &mut self,
        inbox: &mut Inbox,
        message_due: Option<Instant>,
        guard: &ConnectionGuard,
        metrics: &Metrics,
    ) -> Result<Arrived, Ended> {
        self.rest.touched = true;
        let (held, full) = (inbox.pending(), self.is_full());
        let waits = Waits {
            full,
            message_due,
            guard,
        };
        let arrived = poll_fn(|cx| self.poll_exchange(cx, inbox, &waits)).await;
        let received = inbox.pending() - held;
        metrics.received_bytes.inc_by(received as u64);
        metrics
            .sent_bytes
            .inc_by(std::mem::take(&mut self.sent_bytes));
        self.rest.large |= received >= IDLE_BYTES || self.out.capacity() > IDLE_BYTES;
        self.turn_bytes += received;
        if self.turn_bytes > TURN_BYTES {
            self.turn_bytes = 0;
            tokio::task::yield_now().await;
        }
        arrived
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut Inbox,
        waits: &Waits<'_>,
    ) -> Poll<Result<Arrived, Ended>> {
        let sent_all = self.poll_send(cx)?.is_ready();
        if waits.full && self.out.pending() <= self.options.pending_bytes / 2 {
            return Poll::Ready(Ok(Arrived::Room));
        }
        let covered = self.share.covers(inbox.pending() + self.out.pending());
        if !covered && sent_all {
            return Poll::Ready(Err(Ended::OverLimit(Limit::BufferedBytes)));
        }
        let receives = covered && !waits.full;
        if receives && let Poll::Ready(received) = self.link.poll_receive(cx, inbox) {
            return Poll::Ready(match received {
                Ok(true) => Ok(Arrived::Input),
                Ok(false) => Ok(Arrived::End),
                Err(broken) => Err(broken.into()),
            });
        }
        if pin!(waits.guard.drained()).poll(cx).is_ready() {
            return Poll::Ready(Ok(Arrived::Stop));
        }
        self.turn_bytes = 0;
        self.poll_waits(cx, inbox, waits.message_due.filter(|_| receives))
            .map(Err)
    }

    /// Ready when something takes too long.
    fn poll_waits(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut Inbox,
        message_due: Option<Instant>,
    ) -> Poll<Ended> {
        let stall_due = self.stalled.map(|since| since + self.options.write_stall);
        let due = earlier(message_due, stall_due);
        loop {
            ready!(self.timer.poll_until(earlier(due, self.rest.due()), cx));
            let now = Instant::now();
            if stall_due.is_some_and(|due| due <= now) {
                return Poll::Ready(Ended::OverLimit(Limit::WriteStall));
            }
            if message_due.is_some_and(|due| due <= now) {
                let opened = inbox.is_open();
                let limit = if opened {
                    Limit::MessageTime
                } else {
                    Limit::HandshakeTime
                };
                return Poll::Ready(Ended::OverLimit(limit));
            }
            if self.rest.is_over(now) {
                inbox.release();
                self.out.release();
            }
        }
    }

    /// Sends, and notes since when the peer takes nothing.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let before = self.out.pending();
        let sending = self.link.poll_send(cx, &mut self.out);
        self.sent_bytes += (before - self.out.pending()) as u64;
        if sending.is_ready() {
            self.stalled = None;
        } else if self.stalled.is_none() || self.out.pending() < before {
            self.stalled = Some(Instant::now());
        }
        sending.map_err(Ended::from)
    }

    /// Drives `work`, and sends meanwhile what was answered before it.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            // A broken connection is noticed when the answer is sent.
            let _ = self.poll_send(cx);
            Poll::Pending
        })
        .await
    }

    /// Sends the last answers, and throws away what still comes: the peer may
    /// read only when it has written everything.
    pub(crate) async fn finish(&mut self, metrics: &Metrics) {
        let due = Some(Instant::now() + self.options.write_stall);
        let mut waste = Waste::default();
        let mut is_open = true;
        poll_fn(|cx| {
            if self.poll_send(cx).is_ready() {
                return Poll::Ready(());
            }
            while is_open && let Poll::Ready(received) = self.link.poll_receive(cx, &mut waste) {
                is_open = matches!(received, Ok(true));
            }
            self.timer.poll_until(due, cx)
        })
        .await;
        metrics.sent_bytes.inc_by(self.sent_bytes);
    }
}

/// What an exchange waits for beside the peer.
struct Waits<'a> {
    full: bool,
    message_due: Option<Instant>,
    guard: &'a ConnectionGuard,
}

impl Rest {
    /// When to look next.
    fn due(&mut self) -> Option<Instant> {
        if self.large && self.due.is_none() {
            self.due = Some(Instant::now() + REST);
        }
        self.due
    }

    /// Whether nothing happened since the last look.
    fn is_over(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        let over = !std::mem::take(&mut self.touched);
        self.due = None;
        self.large &= !over;
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_over_when_nothing_was_touched_for_a_while() {
        let mut rest = Rest {
            large: true,
            due: None,
            touched: true,
        };
        let now = rest.due().unwrap();
        assert!(!rest.is_over(now - REST));
        assert!(!rest.is_over(now), "touched since");
        let now = rest.due().unwrap() + REST;
        assert!(rest.is_over(now));
        assert_eq!(rest.due(), None, "nothing is left to give back");
    }
}
