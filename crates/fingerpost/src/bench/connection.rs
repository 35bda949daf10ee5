//! One raw, nonblocking connection: no runtime between the clock and the socket.

use std::collections::VecDeque;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::net::SendFlags;

use super::wire::Expected;

/// Connecting to a server that is up takes microseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request whose answer is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) expected: Expected,
    /// When it was sent, or should have been when requests are paced.
    pub(super) at: Instant,
}

#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// Bytes to send; those before `written` are on their way.
    pub(super) output: Vec<u8>,
    written: usize,
    /// The start of an answer whose end is still to come.
    rest: Vec<u8>,
    pub(super) sent: VecDeque<Sent>,
    /// Where the script is; see `Script::push`.
    pub(super) step: u32,
}

/// Whether the peer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Drained,
    Closed,
}

impl Connection {
    /// Connects to `HOST:PORT` or `unix://PATH`.
    pub(super) fn open(address: &str) -> anyhow::Result<Self> {
        let socket = connect(address).with_context(|| format!("cannot connect to {address}"))?;
        Ok(Self {
            socket,
            output: Vec::new(),
            written: 0,
            rest: Vec::new(),
            sent: VecDeque::new(),
            step: 0,
        })
    }

    /// Sends as much of `output` as the kernel takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            let pending = &self.output[self.written..];
            match rustix::net::send(&self.socket, pending, SendFlags::NOSIGNAL) {
                Ok(count) => self.written += count,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads until the kernel has no more, handing what is there to `digest`,
    /// which tells how much of it was whole answers.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        mut digest: impl FnMut(&mut VecDeque<Sent>, &[u8]) -> usize,
    ) -> io::Result<Read> {
        loop {
            let kept = self.rest.len();
            if kept == scratch.len() {
                return Err(io::Error::other("an answer without end"));
            }
            scratch[..kept].copy_from_slice(&self.rest);
            let count = match rustix::io::read(&self.socket, &mut scratch[kept..]) {
                Ok(0) => return Ok(Read::Closed),
                Ok(count) => count,
                Err(rustix::io::Errno::AGAIN) => return Ok(Read::Drained),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let filled = kept + count;
            let used = digest(&mut self.sent, &scratch[..filled]);
            self.rest.clear();
            self.rest.extend_from_slice(&scratch[used..filled]);
            // A short read of a stream socket means that it is drained.
            if filled < scratch.len() {
                return Ok(Read::Drained);
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn connect(address: &str) -> anyhow::Result<OwnedFd> {
    if let Some(path) = address.strip_prefix("unix://") {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        return Ok(stream.into());
    }
    let address = address
        .to_socket_addrs()?
        .next()
        .context("the name has no address")?;
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream.into())
}
