//! The stream under HTTP and WebSocket.

use std::io::{self, IoSlice};
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::{Sleep, timeout};

use crate::framing::Framing;
use crate::gathering::Gathering;
use crate::{Permit, linger};

/// What is held back at most; the rest of the answers waits for the socket.
const HELD_BYTES_MAX: usize = 64 << 10;
/// Sixteen short answers.
const HELD_BYTES: usize = 8 << 10;

/// A stream that begins with bytes that were read already, sends answers together
/// where [`Gathering`] says so, gives up on a peer that takes no answer, and lingers
/// when it is dropped.
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
    gathering: Arc<Gathering>,
    framing: Framing,
    /// What is held back; those before `sent` are on their way.
    held: Vec<u8>,
    sent: usize,
}

impl<IO> HttpIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// `permit` is held until the socket is really closed.
    pub(crate) fn new(
        io: IO,
        first: Vec<u8>,
        stall_max: Duration,
        permit: Option<Permit>,
        gathering: Arc<Gathering>,
    ) -> Self {
        let io = Some(io);
        Self {
            io,
            first,
            first_read: 0,
            stall_max,
            stalled: None,
            over: false,
            permit,
            gathering,
            framing: Framing::default(),
            held: Vec::new(),
            sent: 0,
        }
    }

    fn io(&mut self) -> Pin<&mut IO> {
        Pin::new(self.io.as_mut().expect("taken in drop only"))
    }

    /// Holds back what is to be written, unless that is too much or not the time.
    fn hold(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let fits = self.held.len() + length <= HELD_BYTES_MAX;
        if length == 0 || !fits || !self.gathering.holds() {
            return None;
        }
        if self.held.is_empty() {
            self.held.reserve(HELD_BYTES.max(length));
            self.gathering.hold(true);
        }
        for slice in slices {
            self.held.extend_from_slice(slice);
        }
        Some(length)
    }

    /// Goes on with `then` once nothing is held back any more.
    fn released<T>(
        &mut self,
        cx: &mut Context<'_>,
        then: impl FnOnce(Pin<&mut IO>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut io = Pin::new(self.io.as_mut().expect("taken in drop only"));
        while self.sent < self.held.len() {
            match ready!(io.as_mut().poll_write(cx, &self.held[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        if self.sent > 0 {
            // Idle connections keep no buffer.
            (self.held, self.sent) = (Vec::new(), 0);
            self.gathering.hold(false);
        }
        then(io, cx)
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
            this.gathering.arrived(&rest[..now], &mut this.framing);
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
        let read = &buf.filled()[before..];
        this.gathering.arrived(read, &mut this.framing);
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
        this.gathering.answers();
        if let Some(held) = this.hold(&[IoSlice::new(bytes)]) {
            return Poll::Ready(Ok(held));
        }
        let outcome = this.released(cx, |io, cx| io.poll_write(cx, bytes));
        this.bound(outcome, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.gathering.answers();
        if let Some(held) = this.hold(slices) {
            return Poll::Ready(Ok(held));
        }
        let outcome = this.released(cx, |io, cx| io.poll_write_vectored(cx, slices));
        this.bound(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() && this.gathering.holds() {
            return Poll::Ready(Ok(()));
        }
        let outcome = this.released(cx, AsyncWrite::poll_flush);
        this.bound(outcome, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = this.released(cx, AsyncWrite::poll_shutdown);
        this.bound(outcome, cx)
    }
}

impl<IO> Drop for HttpIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        let permit = self.permit.take();
        let (mut held, sent, stall_max) = (take(&mut self.held), self.sent, self.stall_max);
        if let (Some(mut io), false, Ok(runtime)) =
            (self.io.take(), self.over, Handle::try_current())
        {
            runtime.spawn(async move {
                // Only where a later answer failed before these were on their way.
                if !held.is_empty() {
                    held.drain(..sent);
                    let _ = timeout(stall_max, io.write_all(&held)).await;
                }
                linger(io).await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    /// Gives a text once, and takes everything, a write at a time.
    struct Socket {
        input: &'static [u8],
        written: Vec<Vec<u8>>,
    }

    impl AsyncRead for Socket {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match take(&mut self.input) {
                b"" => Poll::Pending,
                input => {
                    buf.put_slice(input);
                    Poll::Ready(Ok(()))
                }
            }
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.written.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Answers each request as HTTP libraries do, flushing after each, until it waits
    /// for more; gives what was written.
    fn written(input: &'static [u8]) -> Vec<Vec<u8>> {
        let gathering = Arc::new(Gathering::default());
        let socket = Socket {
            input,
            written: Vec::new(),
        };
        let stall_max = Duration::from_secs(1);
        let mut io = HttpIo::new(socket, Vec::new(), stall_max, None, gathering.clone());
        {
            let mut connection = std::pin::pin!(poll_fn(|cx| {
                let mut room = [0; 1024];
                let mut buf = ReadBuf::new(&mut room);
                while Pin::new(&mut io).poll_read(cx, &mut buf).is_ready() {}
                for _ in 0..buf
                    .filled()
                    .windows(4)
                    .filter(|end| end == b"\r\n\r\n")
                    .count()
                {
                    assert!(Pin::new(&mut io).poll_write(cx, b"answer").is_ready());
                    assert!(Pin::new(&mut io).poll_flush(cx).is_ready());
                }
                assert!(Pin::new(&mut io).poll_flush(cx).is_ready());
                Poll::<()>::Pending
            }));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(gathering.poll(connection.as_mut(), &mut cx).is_pending());
        }
        io.io
            .take()
            .map(|socket| socket.written)
            .unwrap_or_default()
    }

    #[test]
    fn answers_to_requests_that_came_together_are_sent_together() {
        assert_eq!(written(b"a\r\n\r\n"), [b"answer"]);
        assert_eq!(
            written(b"a\r\n\r\nb\r\n\r\nc\r\n\r\n"),
            [b"answeransweranswer"]
        );
        assert!(written(b"a").is_empty());
    }
}
