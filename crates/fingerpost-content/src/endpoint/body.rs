//! An entry on its way to a client: read as fast as the client takes it, and
//! given up if it does not.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use fingerpost_core::{CacherError, Content, EntryName};
use futures_util::future::BoxFuture;
use futures_util::stream::poll_fn;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::metrics::Metrics;

/// The most bytes that are read at once, and the most that wait for a client.
pub(crate) const PIECE: usize = 256 << 10;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the next piece.
    pub(crate) stall: Duration,
    /// For the whole answer.
    pub(crate) answer: Duration,
}

/// Why an answer was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The entry is not what was stored.
    Damaged,
    /// The store failed.
    Failed,
    /// Nothing moved for too long.
    Stalled,
    /// It took too long as a whole.
    TooLong,
}

impl Why {
    pub(crate) const ALL: [Self; 4] = [Self::Damaged, Self::Failed, Self::Stalled, Self::TooLong];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::TooLong => "too_long",
        }
    }
}

/// The bytes of a range that are still to be sent, and the place that they
/// take up until then.
pub(crate) struct Sending {
    content: Arc<dyn Content>,
    /// What is neither sent nor ahead.
    rest: Range<u64>,
    ahead: Ahead,
    _place: OwnedSemaphorePermit,
}

/// The one piece that is read ahead.
enum Ahead {
    Reading(BoxFuture<'static, Result<Bytes, CacherError>>),
    Ready(Result<Bytes, CacherError>),
    Nothing,
}

impl Sending {
    pub(crate) fn new(
        content: Arc<dyn Content>,
        range: Range<u64>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            content,
            rest: range,
            ahead: Ahead::Nothing,
            _place: place,
        }
    }

    /// Reads the first piece. It is not sent before it is given back with
    /// [`Sending::begin_with`].
    pub(crate) fn first(&self) -> BoxFuture<'static, Result<Bytes, CacherError>> {
        read_piece(Arc::clone(&self.content), self.rest.clone())
    }

    pub(crate) fn begin_with(&mut self, first: Bytes) {
        self.rest.start += first.len() as u64;
        self.ahead = Ahead::Ready(Ok(first));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CacherError>>> {
        self.poll_ahead(cx);
        match std::mem::replace(&mut self.ahead, Ahead::Nothing) {
            Ahead::Nothing => Poll::Ready(None),
            Ahead::Ready(Ok(piece)) => {
                if !self.rest.is_empty() {
                    self.ahead = Ahead::Reading(self.first());
                    // Begins to read; whoever takes the piece comes back.
                    self.poll_ahead(cx);
                }
                Poll::Ready(Some(Ok(piece)))
            }
            Ahead::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            reading @ Ahead::Reading(_) => {
                self.ahead = reading;
                Poll::Pending
            }
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Ahead::Reading(reading) = &mut self.ahead
            && let Poll::Ready(result) = reading.as_mut().poll(cx)
        {
            self.rest.start += result.as_ref().map_or(0, |piece| piece.len() as u64);
            self.ahead = Ahead::Ready(result);
        }
    }
}

/// Reads from the start of a range up to a border between pieces, so that each
/// block of a sealed entry is read and checked once.
fn read_piece(
    content: Arc<dyn Content>,
    rest: Range<u64>,
) -> BoxFuture<'static, Result<Bytes, CacherError>> {
    let piece = PIECE as u64;
    let border = (rest.start / piece + 1) * piece;
    let max = (border.min(rest.end) - rest.start) as usize;
    Box::pin(async move {
        let mut bytes = content.read(rest.start, max).await?;
        if bytes.is_empty() {
            let ends = rest.start;
            return Err(CacherError::Damaged(format!("ends after {ends} bytes")));
        }
        bytes.truncate(max);
        Ok(bytes)
    })
}

/// A body that breaks off, and never ends early, if not everything can be sent.
/// Its length has to be said in a header.
pub(crate) fn streaming(
    name: EntryName,
    sending: Sending,
    patience: Patience,
    metrics: Arc<Metrics>,
) -> Body {
    let answer = Arc::new(Answer {
        name,
        state: Mutex::new(State {
            sending: Some(sending),
            moved: Instant::now(),
            broken: None,
            waiting: None,
        }),
        metrics,
    });
    let watchdog = tokio::spawn(Arc::clone(&answer).watch(patience));
    let held = Held {
        answer,
        watchdog: watchdog.abort_handle(),
    };
    Body::from_stream(poll_fn(move |cx| held.answer.poll_next(cx)))
}

/// An answer as the body and its watchdog share it. A client that takes
/// nothing lets nobody ask for the next piece, so that somebody else has to
/// look after the time.
struct Answer {
    name: EntryName,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

struct State {
    /// `None` when all was sent or nothing more is.
    sending: Option<Sending>,
    moved: Instant,
    /// What a client that reads on has to be told.
    broken: Option<Why>,
    waiting: Option<Waker>,
}

impl Answer {
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut state = self.state.lock();
        let Some(sending) = &mut state.sending else {
            let broken = state.broken.take();
            return Poll::Ready(broken.map(|why| Err(io::Error::other(why.label()))));
        };
        match sending.poll_next(cx) {
            Poll::Pending => {
                state.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            Poll::Ready(None) => {
                state.sending = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(piece))) => {
                state.moved = Instant::now();
                self.metrics.count_sent(piece.len());
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(error))) => {
                state.sending = None;
                let why = match error {
                    CacherError::Damaged(_) => Why::Damaged,
                    _ => Why::Failed,
                };
                self.metrics.count_broken(why);
                tracing::warn!(entry = ?self.name, %error, "an entry broke off on its way");
                Poll::Ready(Some(Err(io::Error::other(why.label()))))
            }
        }
    }

    async fn watch(self: Arc<Self>, patience: Patience) {
        let why = match timeout(patience.answer, self.stalled(patience.stall)).await {
            Ok(()) => Why::Stalled,
            Err(_) => Why::TooLong,
        };
        let mut state = self.state.lock();
        if state.sending.take().is_some() {
            state.broken = Some(why);
            self.metrics.count_broken(why);
            tracing::debug!(entry = ?self.name, why = why.label(), "a client was given up");
        }
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }

    /// Ends when nothing has moved for so long.
    async fn stalled(&self, stall: Duration) {
        loop {
            let since = self.state.lock().moved.elapsed();
            let Some(left) = stall.checked_sub(since).filter(|left| !left.is_zero()) else {
                return;
            };
            sleep(left).await;
        }
    }
}

/// The body's hold on its answer, which ends with the connection.
struct Held {
    answer: Arc<Answer>,
    watchdog: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.answer.state.lock().sending = None;
        self.watchdog.abort();
    }
}
