//! The server's receiving half of one connection.

use super::handshake::{Handshake, Opened};
use super::{Framing, Limits, Messages, Misbehaved, StreamLines};
use crate::request;
use crate::stream::Line;

/// What the owner of the connection expects next. After the answer to a stream
/// command it is [`Mode::Stream`], after the end of the stream
/// [`Mode::Requests`] again. During the handshake the mode does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// JSON messages.
    Requests,
    /// Plain text lines.
    Stream,
}

/// Something complete that arrived. Texts are borrowed from the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// The handshake is done; comes once, first.
    Opened {
        /// The client waits for header lines:
        /// [`outbox::write_headers`](crate::outbox::write_headers).
        needs_headers: bool,
    },
    /// The text of a message, for [`request::select`];
    /// chunks are joined. Not known to be JSON yet, possibly empty.
    Request(&'a str),
    /// The JSON value `null`: the client leaves, close.
    Goodbye,
    /// A line in stream mode; stripped at its end, except on a WebSocket.
    Line(&'a str),
    /// `END` or an empty line in stream mode: answer
    /// [`outbox::STREAM_END`](crate::outbox::STREAM_END) and go back to
    /// [`Mode::Requests`].
    StreamEnd,
}

/// Bytes in, requests out. Holds at most what was pushed and not taken, and one
/// chunked message; see [`Limits`]. After an error the connection is to be
/// closed and the inbox dropped.
#[derive(Debug)]
pub struct Inbox {
    messages: Messages,
    limits: Limits,
    /// Until it is done.
    handshake: Option<Handshake>,
}

impl Inbox {
    /// An inbox that awaits a handshake.
    pub fn new(framing: Framing, limits: Limits) -> Self {
        Self {
            messages: Messages::new(framing, &limits),
            limits,
            handshake: Some(Handshake::default()),
        }
    }

    /// The buffer that a socket reads into ([`Framing::Lines`]). New bytes go
    /// to its end; what is in it must not be touched. Has spare room of 4 to
    /// 64 KiB for a read. To be called right before a read, best when all
    /// complete lines are taken: the owner bounds what it reads ahead.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.messages.buffer()
    }

    /// Copies bytes to the end of [`Inbox::buffer`]; for those that were read
    /// before the protocol was known.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// Takes in one WebSocket message ([`Framing::Messages`]). More than
    /// [`Limits::message_bytes`] are refused.
    pub fn push_message(&mut self, message: &[u8]) -> Result<(), Misbehaved> {
        self.messages.push_message(message)
    }

    /// Bytes that arrived and were not taken, unfinished chunks included.
    pub fn pending(&self) -> usize {
        self.messages.pending()
    }

    /// Whether the handshake is done.
    pub const fn is_open(&self) -> bool {
        self.handshake.is_none()
    }

    /// Gives memory back that is not needed now; for a connection that has
    /// been silent for a while.
    pub fn release(&mut self) {
        self.messages.release();
    }

    /// Takes what is complete next, or `None` when more bytes are needed.
    pub fn next(&mut self, mode: Mode) -> Result<Option<Inbound<'_>>, Misbehaved> {
        if self.handshake.is_some() {
            return self.next_of_handshake();
        }
        Ok(match mode {
            Mode::Requests => self.messages.next_message()?.map(Inbound::of_message),
            Mode::Stream => self.messages.next_line()?.map(Inbound::of_line),
        })
    }

    /// The complete lines of a stream, to be taken in a loop without a copy:
    /// the same lines as [`Inbox::next`] gives in [`Mode::Stream`]. To be
    /// called when the handshake is done.
    pub fn stream_lines(&mut self) -> StreamLines<'_> {
        debug_assert!(self.is_open());
        self.messages.stream_lines()
    }

    fn next_of_handshake(&mut self) -> Result<Option<Inbound<'_>>, Misbehaved> {
        while let Some(handshake) = &mut self.handshake {
            let Some(line) = self.messages.next_line()? else {
                break;
            };
            if let Some(Opened { needs_headers }) = handshake.line(line, &self.limits)? {
                self.handshake = None;
                return Ok(Some(Inbound::Opened { needs_headers }));
            }
        }
        Ok(None)
    }
}

impl<'a> Inbound<'a> {
    /// Tells the goodbye from requests.
    fn of_message(text: &'a str) -> Self {
        match text.trim_matches(request::JSON_BLANKS) {
            "null" => Self::Goodbye,
            _ => Self::Request(text),
        }
    }

    fn of_line(line: &'a str) -> Self {
        match Line::of_stripped(line.as_bytes()) {
            Line::End => Self::StreamEnd,
            Line::Text(_) => Self::Line(line),
        }
    }
}

#[cfg(test)]
mod tests;
