//! One raw, nonblocking connection: no runtime between the clock and the socket.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustls::ClientConnection;

use super::target::{Opened, Socket, Target};
use super::wire::Expected;

/// A request whose answer is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) expected: Expected,
    /// When it was sent, or should have been when requests are paced.
    pub(super) at: Instant,
}

#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
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
    /// Opens connection `number` of those to a server.
    pub(super) fn open(target: &Target<'_>, number: usize) -> anyhow::Result<Self> {
        let Opened { socket, tls } = target.connect(number)?;
        Ok(Self {
            socket,
            tls,
            output: Vec::new(),
            written: 0,
            rest: Vec::new(),
            sent: VecDeque::new(),
            step: 0,
        })
    }

    /// Sends as much of `output` as the kernel takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&self.output)?;
            self.output.clear();
            while tls.wants_write() {
                if unless_full(tls.write_tls(&mut self.socket))?.is_none() {
                    return Ok(());
                }
            }
            return Ok(());
        }
        while self.written < self.output.len() {
            match unless_full(self.socket.write(&self.output[self.written..]))? {
                Some(count) => self.written += count,
                None => return Ok(()),
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
            let count = match self.fill(&mut scratch[kept..])? {
                Some(0) => return Ok(Read::Closed),
                Some(count) => count,
                None => return Ok(Read::Drained),
            };
            let filled = kept + count;
            let used = digest(&mut self.sent, &scratch[..filled]);
            self.rest.clear();
            self.rest.extend_from_slice(&scratch[used..filled]);
            // A short read of a stream socket means that it is drained.
            if self.tls.is_none() && filled < scratch.len() {
                return Ok(Read::Drained);
            }
        }
    }

    /// One read; `None` if the kernel has nothing.
    fn fill(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return unless_full(self.socket.read(into));
        };
        loop {
            if let Some(count) = unless_full(tls.reader().read(into))? {
                return Ok(Some(count));
            }
            match unless_full(tls.read_tls(&mut self.socket))? {
                Some(0) => return Ok(Some(0)),
                Some(_) => tls.process_new_packets().map_err(io::Error::other)?,
                None => return Ok(None),
            };
        }
    }
}

/// The outcome of a call that would have to wait is `None`.
fn unless_full(outcome: io::Result<usize>) -> io::Result<Option<usize>> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.0.as_fd()
    }
}
