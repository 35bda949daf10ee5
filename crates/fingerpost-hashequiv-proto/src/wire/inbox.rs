//! The server's receiving half of one connection.

use super::chunks::announces_chunks;
use super::handshake::{Handshake, Opened};
use super::{Assembly, Frames, Framing, Limits, Misbehaved, StreamLines};
use crate::python;
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
    /// The text of a message, for [`request::select`](crate::request::select);
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
    frames: Frames,
    limits: Limits,
    handshake: Option<Handshake>,
    assembly: Assembly,
}

impl Inbox {
    /// An inbox that awaits a handshake.
    pub fn new(framing: Framing, limits: Limits) -> Self {
        Self {
            frames: Frames::new(framing, limits.line_bytes),
            limits,
            handshake: Some(Handshake::default()),
            assembly: Assembly::default(),
        }
    }

    /// The buffer that a socket reads into ([`Framing::Lines`]). New bytes go
    /// to its end; what is in it must not be touched. Has spare room of 4 to
    /// 64 KiB for a read. To be called right before a read, and when all
    /// complete lines are taken: the owner bounds what it reads ahead.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        debug_assert_eq!(self.frames.framing(), Framing::Lines);
        self.frames.buffer()
    }

    /// Copies bytes to the end of [`Inbox::buffer`]; for those that were read
    /// before the protocol was known.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// Takes in one WebSocket message ([`Framing::Messages`]). More than
    /// [`Limits::message_bytes`] are refused.
    pub fn push_message(&mut self, message: &[u8]) -> Result<(), Misbehaved> {
        debug_assert_eq!(self.frames.framing(), Framing::Messages);
        if message.len() > self.limits.message_bytes {
            return Err(Misbehaved::MessageTooLong);
        }
        self.frames.push_message(message);
        Ok(())
    }

    /// Bytes that arrived and were not taken, unfinished chunks included.
    pub fn pending(&self) -> usize {
        self.frames.pending()
            + if self.assembly.is_open() {
                self.assembly.message().len()
            } else {
                0
            }
    }

    /// Whether the handshake is done.
    pub const fn is_open(&self) -> bool {
        self.handshake.is_none()
    }

    /// Gives memory back that is not needed now; for a connection that has
    /// been silent for a while.
    pub fn release(&mut self) {
        self.frames.release();
        if !self.assembly.is_open() {
            self.assembly.release();
        }
    }

    /// Takes what is complete next, or `None` when more bytes are needed.
    pub fn next(&mut self, mode: Mode) -> Result<Option<Inbound<'_>>, Misbehaved> {
        if self.handshake.is_some() {
            let opened = self.next_of_handshake()?;
            return Ok(opened.map(|Opened { needs_headers }| Inbound::Opened { needs_headers }));
        }
        match mode {
            Mode::Requests => self.next_request(),
            Mode::Stream => self.next_line(),
        }
    }

    /// The complete lines of a stream, to be taken in a loop without a copy:
    /// the same lines as [`Inbox::next`] gives in [`Mode::Stream`]. To be
    /// called when the handshake is done.
    pub fn stream_lines(&mut self) -> StreamLines<'_> {
        debug_assert!(self.is_open());
        self.frames.stream_lines()
    }

    fn next_of_handshake(&mut self) -> Result<Option<Opened>, Misbehaved> {
        while let (Some(handshake), Some(frame)) = (&mut self.handshake, self.frames.take()?) {
            let text = self.frames.text(frame)?;
            let line = match self.frames.framing() {
                Framing::Lines => python::strip_end(text),
                Framing::Messages => text,
            };
            if let Some(opened) = handshake.line(line, &self.limits)? {
                self.handshake = None;
                return Ok(Some(opened));
            }
        }
        Ok(None)
    }

    fn next_request(&mut self) -> Result<Option<Inbound<'_>>, Misbehaved> {
        while let Some(frame) = self.frames.take()? {
            let text = self.frames.text(frame.clone())?;
            if self.assembly.is_open() {
                if self.assembly.piece(text, self.limits.message_bytes)? {
                    return Ok(Some(message(self.assembly.message())));
                }
            } else if self.frames.framing() == Framing::Messages {
                return Ok(Some(message(self.frames.text(frame)?)));
            } else if announces_chunks(python::strip_end(text))? {
                self.assembly.begin();
            } else {
                return Ok(Some(message(python::strip_end(self.frames.text(frame)?))));
            }
        }
        Ok(None)
    }

    fn next_line(&mut self) -> Result<Option<Inbound<'_>>, Misbehaved> {
        let Some(frame) = self.frames.take()? else {
            return Ok(None);
        };
        let line = Line::read(self.frames.bytes(frame), self.frames.framing())?;
        Ok(Some(match line {
            Line::End => Inbound::StreamEnd,
            Line::Text(line) => {
                Inbound::Line(std::str::from_utf8(line).map_err(|_| Misbehaved::NotUtf8)?)
            }
        }))
    }
}

/// Tells the goodbye from requests.
fn message(text: &str) -> Inbound<'_> {
    const JSON_BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
    match text.trim_matches(JSON_BLANKS) {
        "null" => Inbound::Goodbye,
        _ => Inbound::Request(text),
    }
}
