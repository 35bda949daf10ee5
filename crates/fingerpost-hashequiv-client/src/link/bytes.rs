//! TCP and Unix sockets.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use fingerpost_hashequiv_proto::Framing;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{Broken, Link, Outgoing, Receive};

/// A byte stream.
#[derive(Debug)]
pub struct ByteLink<IO>(pub IO);

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Link for ByteLink<IO> {
    fn framing(&self) -> Framing {
        Framing::Lines
    }

    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<io::Result<()>> {
        while out.pending() > 0 {
            let sent = ready!(Pin::new(&mut self.0).poll_write(cx, out.unsent()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.advance(sent);
        }
        // TLS may have taken what its socket did not; a bare socket has nothing to do.
        Pin::new(&mut self.0).poll_flush(cx)
    }

    /// One read. The buffer is larger than what usually comes, so a short read
    /// tells the runtime that the socket is empty, and the next attempt costs
    /// no system call.
    #[inline]
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut dyn Receive,
    ) -> Poll<Result<bool, Broken>> {
        let read = ready!(pin!(self.0.read_buf(into.buffer())).poll(cx))?;
        Poll::Ready(Ok(read > 0))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::BufStream;

    use super::*;

    /// As TLS does, whose socket is full.
    #[tokio::test]
    async fn what_a_stream_holds_back_is_sent() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut link = ByteLink(BufStream::new(near));
        let mut out = Outgoing::new(Framing::Lines);
        out.line("more than four bytes");
        let sending = poll_fn(|cx| link.poll_send(cx, &mut out));
        let mut arrived = [0; 21];
        let (sent, read) = tokio::join!(sending, far.read_exact(&mut arrived));
        sent.unwrap();
        read.unwrap();
        assert_eq!(&arrived, b"more than four bytes\n");
    }
}
