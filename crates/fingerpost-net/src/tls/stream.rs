//! A connection within TLS.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::Replay;

/// A TLS stream that says so when it ends: a peer that hears nothing must take
/// the end for an attack that cuts answers off. Boxed: it is more than a KiB, and
/// every future that hands it on has room for it twice.
#[derive(Debug)]
pub(crate) struct TlsIo<IO>(Box<TlsStream<Replay<IO>>>)
where
    IO: AsyncRead + AsyncWrite + Unpin;

impl<IO> TlsIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(stream: TlsStream<Replay<IO>>) -> Self {
        Self(Box::new(stream))
    }

    pub(crate) fn session(&self) -> &ServerConnection {
        self.0.get_ref().1
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TlsStream<Replay<IO>>> {
        Pin::new(&mut *self.get_mut().0)
    }
}

impl<IO> Drop for TlsIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// One try, without waiting: who does not read does not hear.
    fn drop(&mut self) {
        let (io, session) = self.0.get_mut();
        session.send_close_notify();
        while session.wants_write() {
            if !matches!(session.write_tls(&mut AtOnce(&mut *io)), Ok(1..)) {
                return;
            }
        }
    }
}

/// Writes what can be written without waiting.
struct AtOnce<'a, IO>(&'a mut IO);

impl<IO: AsyncWrite + Unpin> Write for AtOnce<'_, IO> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut *self.0).poll_write(&mut cx, bytes) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<IO> AsyncRead for TlsIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl<IO> AsyncWrite for TlsIo<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
