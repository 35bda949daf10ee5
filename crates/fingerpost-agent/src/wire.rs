//! Sending and receiving of one session, with its waits and its memory bounded.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fingerpost_hashequiv_client::link::{Broken, Link, Outgoing};
use fingerpost_hashequiv_client::{Timer, earlier};
use fingerpost_hashequiv_proto::{Inbox, Misbehaved};
use fingerpost_net::ConnectionGuard;
use tokio::time::Instant;

/// Bytes of answers that may wait for a build to read them; beyond it nothing more is
/// taken from it. A whole batch of look-ups fits.
const PENDING_BYTES: usize = 4 << 20;
/// How long a build may take none of the bytes that wait for it.
const WRITE_STALL: Duration = Duration::from_secs(120);

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// It said goodbye, or closed its side.
    #[error("it is done")]
    Closed,
    #[error("the agent stops")]
    Drained,
    /// It broke the protocol, or asked what nobody knows.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaved),
    /// A request failed, which ends every session; that was told.
    #[error("a request was refused")]
    Refused,
    #[error("it was too slow")]
    Slow,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Io(error) => Self::Broken(error),
            Broken::Misbehaved(misbehaved) => Self::Misbehaved(misbehaved),
        }
    }
}

/// What a wait came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Input, or room for answers.
    Progress,
    /// The build closed its side.
    End,
    /// The agent is stopping.
    Stop,
}

/// One end of a connection with the answers that wait for it.
pub(crate) struct Wire<L> {
    pub(crate) link: L,
    pub(crate) inbox: Inbox,
    pub(crate) out: Outgoing,
    timer: Timer,
    /// Since when the build has taken nothing of what waits for it.
    stalled: Option<Instant>,
}

impl<L: Link> Wire<L> {
    pub(crate) fn new(link: L, first: &[u8]) -> Self {
        let framing = link.framing();
        let mut inbox = Inbox::new(framing, Default::default());
        if !first.is_empty() {
            inbox.push(first);
        }
        Self {
            link,
            inbox,
            out: Outgoing::new(framing),
            timer: Timer::default(),
            stalled: None,
        }
    }

    /// Whether so many answers wait that no further request is worked on.
    pub(crate) const fn is_full(&self) -> bool {
        self.out.pending() > PENDING_BYTES
    }

    /// Sends what is to be sent, and takes in what comes if `takes`.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        takes: bool,
        guard: &ConnectionGuard,
    ) -> Poll<Result<Arrived, Ended>> {
        let was_full = self.is_full();
        let sent_all = self.poll_send(cx)?.is_ready();
        if was_full && !self.is_full() {
            return Poll::Ready(Ok(Arrived::Progress));
        }
        if takes && !self.is_full() {
            match self.link.poll_receive(cx, &mut self.inbox) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(Arrived::Progress)),
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(Arrived::End)),
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken.into())),
                Poll::Pending => {}
            }
            if sent_all && pin!(guard.drained()).poll(cx).is_ready() {
                return Poll::Ready(Ok(Arrived::Stop));
            }
        }
        let handshake = (!self.inbox.is_open()).then(|| guard.handshake_deadline());
        let due = earlier(handshake, self.stalled.map(|since| since + WRITE_STALL));
        ready!(self.timer.poll_until(due, cx));
        if !self.inbox.is_open() {
            guard.count_handshake_timeout();
        }
        Poll::Ready(Err(Ended::Slow))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Ended> {
        let before = self.out.pending();
        let sent = self.link.poll_send(cx, &mut self.out)?;
        self.stalled = match (self.out.pending(), self.stalled) {
            (0, _) => None,
            (left, Some(since)) if left == before => Some(since),
            _ => Some(Instant::now()),
        };
        Ok(sent)
    }

    /// Waits for `work` and goes on sending meanwhile.
    pub(crate) async fn during<T>(
        &mut self,
        guard: &ConnectionGuard,
        work: impl Future<Output = T>,
    ) -> Result<T, Ended> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            match self.poll(cx, false, guard) {
                Poll::Ready(Err(ended)) => Poll::Ready(Err(ended)),
                Poll::Ready(Ok(_)) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Sends what is left, for a short while.
    pub(crate) async fn finish(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let sending = poll_fn(|cx| self.link.poll_send(cx, &mut self.out));
        // Whoever does not read it does not need it.
        _ = tokio::time::timeout(PATIENCE, sending).await;
    }
}
