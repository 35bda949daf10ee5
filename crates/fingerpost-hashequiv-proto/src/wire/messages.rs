//! The layer above frames, shared by both ends: messages, with their chunks
//! joined, and lines.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::frames::Frames;
use super::{Framing, Limits, Misbehaved, StreamLines};
use crate::{python, request};

/// The key that announces chunks.
const CHUNK_STREAM: &str = "chunk-stream";

/// A joined message of more than this is not kept for the next one.
const KEPT_BYTES: usize = 256 << 10;

/// Bytes in, texts out.
#[derive(Debug)]
pub(crate) struct Messages {
    frames: Frames,
    message_bytes: usize,
    /// The chunks of a message, joined.
    joined: String,
    /// Whether more chunks are awaited.
    open: bool,
}

impl Messages {
    pub(crate) const fn new(framing: Framing, limits: &Limits) -> Self {
        Self {
            frames: Frames::new(framing, limits.line_bytes),
            message_bytes: limits.message_bytes,
            joined: String::new(),
            open: false,
        }
    }

    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        debug_assert_eq!(self.frames.framing(), Framing::Lines);
        self.frames.buffer()
    }

    pub(crate) fn push_message(&mut self, message: &[u8]) -> Result<(), Misbehaved> {
        debug_assert_eq!(self.frames.framing(), Framing::Messages);
        if message.len() > self.message_bytes {
            return Err(Misbehaved::MessageTooLong);
        }
        self.frames.push_message(message);
        Ok(())
    }

    pub(crate) fn pending(&self) -> usize {
        self.frames.pending() + if self.open { self.joined.len() } else { 0 }
    }

    pub(crate) fn release(&mut self) {
        self.frames.release();
        if !self.open {
            self.joined = String::new();
        }
    }

    pub(crate) fn stream_lines(&mut self) -> StreamLines<'_> {
        self.frames.stream_lines()
    }

    /// Takes the next line, stripped at its end, or WebSocket message as it is.
    pub(crate) fn next_line(&mut self) -> Result<Option<&str>, Misbehaved> {
        match self.frames.take()? {
            Some(frame) => self.text(frame).map(Some),
            None => Ok(None),
        }
    }

    /// Takes the next message: a line stripped at its end, chunks joined, or a
    /// WebSocket message as it is.
    pub(crate) fn next_message(&mut self) -> Result<Option<&str>, Misbehaved> {
        match self.take_whole()? {
            Some(Whole::Frame(frame)) => self.text(frame).map(Some),
            Some(Whole::Joined) => Ok(Some(&self.joined)),
            None => Ok(None),
        }
    }

    fn take_whole(&mut self) -> Result<Option<Whole>, Misbehaved> {
        while let Some(frame) = self.frames.take()? {
            let bytes = self.frames.bytes(frame.clone());
            if self.open {
                if join(&mut self.joined, utf8(bytes)?, self.message_bytes)? {
                    self.open = false;
                    return Ok(Some(Whole::Joined));
                }
            } else if self.frames.framing() == Framing::Lines && announces_chunks(bytes) {
                self.open = true;
                self.joined.clear();
                self.joined.shrink_to(KEPT_BYTES);
            } else {
                return Ok(Some(Whole::Frame(frame)));
            }
        }
        Ok(None)
    }

    fn text(&self, frame: Range<usize>) -> Result<&str, Misbehaved> {
        let text = utf8(self.frames.bytes(frame))?;
        Ok(match self.frames.framing() {
            Framing::Lines => python::strip_end(text),
            Framing::Messages => text,
        })
    }
}

/// Where a whole message lies.
enum Whole {
    Frame(Range<usize>),
    Joined,
}

fn utf8(bytes: &[u8]) -> Result<&str, Misbehaved> {
    std::str::from_utf8(bytes).map_err(|_| Misbehaved::NotUtf8)
}

/// Appends the piece in `line`, which has lost its `\n`. One `\r` more goes
/// here and nothing else, unlike in the reference, which strips every piece.
/// Says whether the line was the empty one that ends the message.
fn join(joined: &mut String, line: &str, message_bytes: usize) -> Result<bool, Misbehaved> {
    let piece = line.strip_suffix('\r').unwrap_or(line);
    if joined.len() + piece.len() > message_bytes {
        return Err(Misbehaved::MessageTooLong);
    }
    joined.push_str(piece);
    Ok(piece.is_empty())
}

/// Whether the line is an object with the key `chunk-stream`, whatever its
/// value and however the key is spelled.
///
/// Nearly every message is told apart by two searches: a key that is not
/// written out needs escapes that begin with `\u00`.
fn announces_chunks(line: &[u8]) -> bool {
    static PLAIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CHUNK_STREAM));
    static ESCAPED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));
    let possible = PLAIN.find(line).is_some() || ESCAPED.find(line).is_some();
    possible && utf8(line).is_ok_and(|text| request::has_key(python::strip_end(text), CHUNK_STREAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_spelling_of_the_key_announces_chunks() {
        for line in [
            "{\"chunk-stream\": null}",
            " { \"chunk-stream\" : [7], \"get\": 1} \u{3000}\r",
            "{\"get\": 1, \"chunk-stream\": {}}",
            "{\"chunk\\u002dstream\": null}",
            "{\"\\u0063hunk-stream\": null}",
        ] {
            assert!(announces_chunks(line.as_bytes()), "{line}");
        }
        for line in [
            "{\"ping\": {}}",
            "{\"get\": {\"chunk-stream\": null}}",
            "{\"get\": \"chunk-stream\"}",
            "[\"chunk-stream\"]",
            "\"chunk-stream\"",
            "{\"Chunk-Stream\": 1}",
            "{\"chunk-stream\": null} x",
            "",
        ] {
            assert!(!announces_chunks(line.as_bytes()), "{line}");
        }
        assert!(!announces_chunks(b"{\"chunk-stream\": \"\xff\"}"));
    }

    #[test]
    fn pieces_keep_their_blanks() {
        let mut joined = String::new();
        for piece in ["one   ", " \r\r", "   ", "two\r"] {
            assert_eq!(join(&mut joined, piece, 100), Ok(false));
        }
        assert_eq!(join(&mut joined, "\r", 100), Ok(true));
        assert_eq!(joined, "one    \r   two");
    }

    #[test]
    fn a_message_is_limited() {
        let mut joined = String::new();
        assert_eq!(join(&mut joined, "12345", 10), Ok(false));
        assert_eq!(join(&mut joined, "12345", 10), Ok(false));
        assert_eq!(join(&mut joined, "6", 10), Err(Misbehaved::MessageTooLong));
    }
}
