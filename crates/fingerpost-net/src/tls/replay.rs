//! What lies under TLS.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read at once: the longest record of TLS. The library asks for 4 KiB each
/// time, which would be four calls of the system for it.
const READ_BYTES: usize = 17 << 10;

/// The socket under TLS, and before it what was read of it already: the bytes that
/// told that TLS is spoken, later the rest of what came together. While nothing
/// comes there is no buffer.
#[derive(Debug)]
pub(crate) struct Replay<IO> {
    io: IO,
    first: Vec<u8>,
    read: usize,
}

impl<IO> Replay<IO> {
    pub(crate) const fn new(io: IO, first: Vec<u8>) -> Self {
        Self { io, first, read: 0 }
    }
}

impl<IO: AsyncRead + Unpin> Replay<IO> {
    /// One read of the socket; what is too much is kept.
    fn read_on(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut room = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut arrived = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut arrived))?;
        let arrived = arrived.filled();
        let (now, later) = arrived.split_at(arrived.len().min(buf.remaining()));
        buf.put_slice(now);
        self.first = later.to_vec();
        self.read = 0;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Replay<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return this.read_on(cx, buf);
        }
        let rest = &this.first[this.read..];
        let now = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..now]);
        this.read += now;
        if this.read == this.first.len() {
            this.first = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Replay<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Counts how often it is read.
    struct Counted<IO>(IO, usize);

    impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    #[tokio::test]
    async fn what_came_together_is_read_at_once_and_handed_on_in_pieces() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let sent: Vec<u8> = (0..40_000_u32).map(|number| number as u8).collect();
        far.write_all(&sent[3..]).await.unwrap();
        drop(far);
        let mut replay = Replay::new(Counted(near, 0), sent[..3].to_vec());
        let (mut read, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let now = replay.read(&mut piece).await.unwrap();
            if now == 0 {
                break;
            }
            read.extend_from_slice(&piece[..now]);
        }
        assert_eq!(read, sent);
        // Three times something, then the end.
        assert_eq!(replay.io.1, 4);
        assert_eq!(replay.first.capacity(), 0);
    }
}
