//! A connection as both ends see it: answers or requests out, bytes or
//! messages in.

mod bytes;
mod websocket;

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use fingerpost_hashequiv_proto::client::AnswerInbox;
use fingerpost_hashequiv_proto::{Framing, Inbox, Misbehaved, outbox};

pub use bytes::ByteLink;
pub use websocket::{ClientSocket, ServerSocket};

/// Bytes that are taken in ahead of what was worked on; of a WebSocket one
/// message more.
pub const READ_AHEAD_BYTES: usize = 64 << 10;

/// Beyond this, what was sent is cut off in front of what is not.
const SENT_BYTES_KEPT: usize = 64 << 10;

/// An empty buffer that is larger is given back after a rest.
pub const IDLE_BYTES: usize = 4 << 10;

/// A transport. Sending and receiving are independent: neither end ever waits
/// for the other with both hands full.
pub trait Link: Send {
    /// How messages are told apart.
    fn framing(&self) -> Framing;

    /// Sends as much of `out` as the peer takes. Ready when all of it is gone.
    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<io::Result<()>>;

    /// Takes in what has arrived, at least something, and at most about
    /// [`READ_AHEAD_BYTES`]. Ready with `false` at the end of the peer's input.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut dyn Receive,
    ) -> Poll<Result<bool, Broken>>;
}

/// Why nothing more can be received.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came was refused.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaved),
}

/// Where received bytes go; see [`Inbox`].
pub trait Receive {
    /// Where bytes are appended.
    fn buffer(&mut self) -> &mut Vec<u8>;
    /// Takes in a whole message.
    fn push_message(&mut self, message: &[u8]) -> Result<(), Misbehaved>;
    /// Bytes that were not worked on yet.
    fn pending(&self) -> usize;
}

macro_rules! receive_by_own_methods {
    ($inbox:ty) => {
        impl Receive for $inbox {
            fn buffer(&mut self) -> &mut Vec<u8> {
                self.buffer()
            }

            fn push_message(&mut self, message: &[u8]) -> Result<(), Misbehaved> {
                self.push_message(message)
            }

            fn pending(&self) -> usize {
                self.pending()
            }
        }
    };
}

receive_by_own_methods!(Inbox);
receive_by_own_methods!(AnswerInbox);

/// Throws away what arrives.
#[derive(Debug, Default)]
pub struct Waste(Vec<u8>);

impl Receive for Waste {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self.0.clear();
        self.0.reserve(IDLE_BYTES);
        &mut self.0
    }

    fn push_message(&mut self, _: &[u8]) -> Result<(), Misbehaved> {
        Ok(())
    }

    fn pending(&self) -> usize {
        0
    }
}

/// What is to be sent, in order.
#[derive(Debug)]
pub struct Outgoing {
    framing: Framing,
    bytes: Vec<u8>,
    sent: usize,
    /// Lengths of the unsent messages; [`Framing::Messages`] only.
    lengths: VecDeque<usize>,
}

impl Outgoing {
    /// Nothing, to be sent in this form.
    pub const fn new(framing: Framing) -> Self {
        Self {
            framing,
            bytes: Vec::new(),
            sent: 0,
            lengths: VecDeque::new(),
        }
    }

    /// Bytes that are not sent yet.
    #[inline]
    pub const fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether there is nothing to send; an empty message is something.
    pub fn is_empty(&self) -> bool {
        self.pending() == 0 && self.lengths.is_empty()
    }

    /// Appends what `write` writes, as one message. It must write nothing when
    /// it fails.
    pub fn write<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>, Framing) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.bytes.len();
        write(&mut self.bytes, self.framing)?;
        if self.framing == Framing::Messages {
            self.lengths.push_back(self.bytes.len() - before);
        }
        Ok(())
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>, Framing)) {
        let Ok(()) = self.write(|bytes, framing| {
            write(bytes, framing);
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// Appends a JSON message, in chunks when it is long.
    pub fn message(&mut self, json: &[u8]) {
        self.append(|bytes, framing| outbox::write_message(bytes, framing, json));
    }

    /// Appends a stream line.
    pub fn line(&mut self, line: &str) {
        self.append(|bytes, framing| outbox::write_stream_line(bytes, framing, line));
    }

    /// Appends a hash as a stream line.
    #[inline]
    pub fn hash(&mut self, hash: &[u8; 32]) {
        self.append(|bytes, framing| outbox::write_hash_line(bytes, framing, hash));
    }

    /// Appends the server's header lines.
    pub fn headers(&mut self) {
        self.append(outbox::write_headers);
    }

    /// Appends a told error.
    pub fn invoke_error(&mut self, text: &str) {
        self.append(|bytes, framing| outbox::write_invoke_error(bytes, framing, text));
    }

    /// The bytes to send ([`Framing::Lines`]).
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Takes the next message to send ([`Framing::Messages`]).
    pub fn next_message(&mut self) -> Option<String> {
        let length = self.lengths.pop_front()?;
        let message = String::from_utf8_lossy(&self.unsent()[..length]).into_owned();
        self.advance(length);
        Some(message)
    }

    /// Notes that `count` bytes were sent.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent >= SENT_BYTES_KEPT && self.sent * 2 >= self.bytes.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Memory that is held.
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives memory back.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.lengths = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_cut_off_in_time() {
        let mut out = Outgoing::new(Framing::Lines);
        let text = "x".repeat(30_000);
        for _ in 0..10 {
            out.line(&text);
        }
        let total = out.pending();
        for sent in 1..=30 {
            out.advance(10_000);
            assert_eq!(out.pending(), total - sent * 10_000);
            assert!(out.sent <= SENT_BYTES_KEPT || out.sent * 2 < out.bytes.len());
        }
        out.advance(out.pending());
        assert!(out.is_empty());
    }

    #[test]
    fn messages_keep_their_borders() {
        let mut out = Outgoing::new(Framing::Messages);
        out.line("one");
        out.line("");
        out.message(b"{\"a\": 1}");
        let sent: Vec<_> = std::iter::from_fn(|| out.next_message()).collect();
        assert_eq!(sent, ["one", "", "{\"a\": 1}"]);
        assert!(out.is_empty());
    }
}
