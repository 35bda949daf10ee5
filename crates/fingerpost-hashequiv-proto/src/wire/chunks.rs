//! Messages that are longer than a line.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::Misbehaved;
use crate::request;

/// The key that announces chunks.
pub(crate) const CHUNK_STREAM: &str = "chunk-stream";

/// A joined message of more than this is not kept for the next one.
const KEPT_BYTES: usize = 256 << 10;

/// Joins the pieces of a chunked message.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    joined: String,
    open: bool,
}

impl Assembly {
    /// Whether pieces are awaited.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// Begins a message; the one before is forgotten.
    pub(crate) fn begin(&mut self) {
        self.release();
        self.open = true;
    }

    /// Forgets the message before, and gives its memory back if it was large.
    pub(crate) fn release(&mut self) {
        self.joined.clear();
        if self.joined.capacity() > KEPT_BYTES {
            self.joined = String::new();
        }
    }

    /// Adds the piece in `line`, which has lost its `\n` only; one `\r` more
    /// goes here, and nothing else: the reference loses white space at the end
    /// of a piece. Says whether the line was the empty one that ends the message.
    pub(crate) fn piece(&mut self, line: &str, message_bytes: usize) -> Result<bool, Misbehaved> {
        let piece = line.strip_suffix('\r').unwrap_or(line);
        if self.joined.len() + piece.len() > message_bytes {
            return Err(Misbehaved::MessageTooLong);
        }
        self.joined.push_str(piece);
        self.open = !piece.is_empty();
        Ok(piece.is_empty())
    }

    /// The pieces joined.
    pub(crate) fn message(&self) -> &str {
        &self.joined
    }
}

/// Whether the message is an object with the key `chunk-stream`, whatever its
/// value and however the key is spelled.
///
/// Nearly every message is told apart by two searches: a key that is not
/// spelled out needs `\u00` escapes.
pub(crate) fn announces_chunks(message: &str) -> Result<bool, Misbehaved> {
    static PLAIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CHUNK_STREAM));
    static ESCAPED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));
    let bytes = message.as_bytes();
    if PLAIN.find(bytes).is_none() && ESCAPED.find(bytes).is_none() {
        return Ok(false);
    }
    request::has_key(message, CHUNK_STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_spelling_of_the_key_announces_chunks() {
        for message in [
            "{\"chunk-stream\": null}",
            " { \"chunk-stream\" : [7], \"get\": 1}",
            "{\"get\": 1, \"chunk-stream\": {}}",
            "{\"chunk\\u002dstream\": null}",
            "{\"\\u0063hunk-stream\": null}",
        ] {
            assert_eq!(announces_chunks(message), Ok(true), "{message}");
        }
        for message in [
            "{\"ping\": {}}",
            "{\"get\": {\"chunk-stream\": null}}",
            "{\"get\": \"chunk-stream\"}",
            "[\"chunk-stream\"]",
            "\"chunk-stream\"",
            "{\"Chunk-Stream\": 1}",
            "",
        ] {
            assert_eq!(announces_chunks(message), Ok(false), "{message}");
        }
        assert_eq!(
            announces_chunks("{\"chunk-stream\": null} x"),
            Err(Misbehaved::NotJson)
        );
    }

    #[test]
    fn pieces_keep_their_blanks() {
        let mut assembly = Assembly::default();
        assembly.begin();
        for piece in ["one   ", " \r\r", "   ", "two\r"] {
            assert_eq!(assembly.piece(piece, 100), Ok(false));
        }
        assert_eq!(assembly.piece("\r", 100), Ok(true));
        assert!(!assembly.is_open());
        assert_eq!(assembly.message(), "one    \r   two");
    }

    #[test]
    fn a_message_is_limited() {
        let mut assembly = Assembly::default();
        assembly.begin();
        assert_eq!(assembly.piece("12345", 10), Ok(false));
        assert_eq!(assembly.piece("12345", 10), Ok(false));
        assert_eq!(assembly.piece("6", 10), Err(Misbehaved::MessageTooLong));
    }
}
