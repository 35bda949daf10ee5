//! The client's receiving half.

use crate::python;
use crate::wire::{Assembly, Frames, Framing, Limits, Misbehaved, announces_chunks};

/// Bytes in, the texts of answers out. The same for messages and for stream
/// lines: neither looks like the other's chunks.
#[derive(Debug)]
pub struct AnswerInbox {
    frames: Frames,
    limits: Limits,
    assembly: Assembly,
}

impl AnswerInbox {
    /// An empty inbox. Of `limits` the line and the message count.
    pub fn new(framing: Framing, limits: Limits) -> Self {
        Self {
            frames: Frames::new(framing, limits.line_bytes),
            limits,
            assembly: Assembly::default(),
        }
    }

    /// As [`Inbox::buffer`](crate::wire::Inbox::buffer).
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        debug_assert_eq!(self.frames.framing(), Framing::Lines);
        self.frames.buffer()
    }

    /// As [`Inbox::push_message`](crate::wire::Inbox::push_message).
    pub fn push_message(&mut self, message: &[u8]) -> Result<(), Misbehaved> {
        debug_assert_eq!(self.frames.framing(), Framing::Messages);
        if message.len() > self.limits.message_bytes {
            return Err(Misbehaved::MessageTooLong);
        }
        self.frames.push_message(message);
        Ok(())
    }

    /// Bytes that arrived and were not taken. Not zero when no answer is
    /// awaited: the connection is out of step and of no more use.
    pub fn pending(&self) -> usize {
        self.frames.pending()
            + if self.assembly.is_open() {
                self.assembly.message().len()
            } else {
                0
            }
    }

    /// Takes the next answer, a message with its chunks joined or a stream
    /// line, stripped at its end except on a WebSocket. `None`: more bytes are
    /// needed. After an error the connection is of no more use.
    pub fn next(&mut self) -> Result<Option<&str>, Misbehaved> {
        while let Some(frame) = self.frames.take()? {
            let text = self.frames.text(frame.clone())?;
            if self.assembly.is_open() {
                if self.assembly.piece(text, self.limits.message_bytes)? {
                    return Ok(Some(self.assembly.message()));
                }
            } else if self.frames.framing() == Framing::Messages {
                return Ok(Some(self.frames.text(frame)?));
            } else if announces_chunks(python::strip_end(text)) == Ok(true) {
                self.assembly.begin();
            } else {
                return Ok(Some(python::strip_end(self.frames.text(frame)?)));
            }
        }
        Ok(None)
    }
}
