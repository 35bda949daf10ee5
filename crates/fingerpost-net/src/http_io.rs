//! The stream under HTTP and WebSocket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::Sleep;

use crate::{Permit, linger};

/// A stream that begins with bytes that were read already, gives up on a peer
/// that takes no answer, and lingers when it is dropped.
///
/// The line protocol runs on the bare socket; only HTTP pays for this.
pub(crate) struct HttpIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Present until the drop.
    io: Option<IO>,
    first: Vec<u8>,
    first_read: usize,
    stall_max: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// The peer has closed, or the socket failed: nothing to linger for.
    over: bool,
    permit: Option<Permit>,
}

impl<IO> HttpIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// `permit` is held until the socket is really closed.
    pub(crate) fn new(io: IO, first: Vec<u8>, stall_max: Duration, permit: Option<Permit>) -> Self {
        let io = Some(io);
        Self {
            io,
            first,
            first_read: 0,
            stall_max,
            stalled: None,
            over: false,
            permit,
        }
    }

    fn io(&mut self) -> Pin<&mut IO> {
        Pin::new(self.io.as_mut().expect("taken in drop only"))
    }

    /// Turns a write that has waited too long into an error.
    fn bound<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = &outcome {
            self.stalled = None;
            self.over |= done.is_err();
            return outcome;
        }
        let stall_max = self.stall_max;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        ready!(timer.as_mut().poll(cx));
        self.over = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<IO> AsyncRead for HttpIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &this.first[this.first_read..];
        if !rest.is_empty() {
            let now = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..now]);
            this.first_read += now;
            if this.first_read == this.first.len() {
                this.first = Vec::new();
                this.first_read = 0;
            }
            return Poll::Ready(Ok(()));
        }
        let (before, room) = (buf.filled().len(), buf.remaining());
        let outcome = ready!(this.io().poll_read(cx, buf));
        this.over |= outcome.is_err() || (room > 0 && buf.filled().len() == before);
        Poll::Ready(outcome)
    }
}

impl<IO> AsyncWrite for HttpIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = this.io().poll_write(cx, bytes);
        this.bound(outcome, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = this.io().poll_write_vectored(cx, slices);
        this.bound(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = this.io().poll_flush(cx);
        this.bound(outcome, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = this.io().poll_shutdown(cx);
        this.bound(outcome, cx)
    }
}

impl<IO> Drop for HttpIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        let permit = self.permit.take();
        if let (Some(io), false, Ok(runtime)) = (self.io.take(), self.over, Handle::try_current()) {
            runtime.spawn(async move {
                linger(io).await;
                drop(permit);
            });
        }
    }
}
