//! Lines of a stream.

use crate::python;
use crate::wire::{Framing, Misbehaved};

/// One line of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// `END` or an empty line: the client leaves the stream.
    End,
    /// Anything else, as bytes that may not be UTF-8.
    Text(&'a [u8]),
}

impl<'a> Line<'a> {
    /// Reads a line without its line end. On [`Framing::Lines`] it is stripped
    /// at its end first; that fails when it ends in bytes that need decoding
    /// and is not UTF-8.
    #[inline]
    pub(crate) fn read(line: &'a [u8], framing: Framing) -> Result<Self, Misbehaved> {
        match (framing, line.last()) {
            (Framing::Lines, Some(&last)) if !python::is_plain(last) => {
                let text = std::str::from_utf8(line).map_err(|_| Misbehaved::NotUtf8)?;
                Ok(Self::of_stripped(python::strip_end(text).as_bytes()))
            }
            _ => Ok(Self::of_stripped(line)),
        }
    }

    #[inline]
    pub(crate) const fn of_stripped(line: &'a [u8]) -> Self {
        match line {
            b"" | b"END" => Self::End,
            line => Self::Text(line),
        }
    }
}

/// The key in a line of a get-stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GetLine<'a> {
    /// The first word.
    pub method: &'a str,
    /// The second word. Usually 64 lower-case hex digits, see
    /// [`decode_hex`](crate::types::decode_hex).
    pub taskhash: &'a str,
}

/// Reads a line of a get-stream: two words between any blanks, Unicode ones
/// included.
///
/// Lines of printable ASCII with one blank, which is what clients send, take
/// three vectorised passes and no decoding. Fails with [`Misbehaved::NotUtf8`]
/// or, when there are not two words, [`Misbehaved::StreamLine`].
#[inline]
pub fn parse_get_line(line: &[u8]) -> Result<GetLine<'_>, Misbehaved> {
    let text = std::str::from_utf8(line).map_err(|_| Misbehaved::NotUtf8)?;
    if let Some(at) = memchr::memchr(b' ', line) {
        let (method, taskhash) = (&text[..at], &text[at + 1..]);
        if is_plain_word(method) && is_plain_word(taskhash) {
            return Ok(GetLine { method, taskhash });
        }
    }
    let (method, taskhash) = python::two_words(text).ok_or(Misbehaved::StreamLine)?;
    Ok(GetLine { method, taskhash })
}

/// Not empty, and without anything that could be a blank. No early exit, so
/// that the compiler can look at many bytes at once.
#[inline]
fn is_plain_word(word: &str) -> bool {
    let odd = word
        .bytes()
        .fold(false, |odd, byte| odd | !python::is_plain(byte));
    !odd && !word.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8]) -> Result<(&str, &str), Misbehaved> {
        parse_get_line(line).map(|key| (key.method, key.taskhash))
    }

    #[test]
    fn two_words_are_a_key() {
        assert_eq!(read(b"TestMethod 1234"), Ok(("TestMethod", "1234")));
        assert_eq!(read(b" \t m\x1c\x0b t "), Ok(("m", "t")));
        assert_eq!(read("é\u{2003}ü\u{85}".as_bytes()), Ok(("é", "ü")));
        assert_eq!(read("m\u{a0}t".as_bytes()), Ok(("m", "t")));
        assert_eq!(read(b"{\"ping\": {}}"), Ok(("{\"ping\":", "{}}")));
        assert_eq!(read(b"m\0\x01 t\x7f"), Ok(("m\0\x01", "t\x7f")));
    }

    #[test]
    fn other_numbers_of_words_are_refused() {
        for line in [
            "",
            " ",
            "END ",
            " one",
            "m t x",
            "m t\u{2003}x",
            "m  t x",
            "m\u{a0}t x",
        ] {
            assert_eq!(
                read(line.as_bytes()),
                Err(Misbehaved::StreamLine),
                "{line:?}"
            );
        }
    }

    #[test]
    fn invalid_utf8_is_refused() {
        for line in [&b"m t\xff"[..], b"\xc3 t", b"m\x80 t", b"\xed\xa0\x80 t"] {
            assert_eq!(read(line), Err(Misbehaved::NotUtf8));
        }
    }

    #[test]
    fn lines_are_stripped_and_messages_are_not() {
        let lines = |line| Line::read(line, Framing::Lines);
        let messages = |line| Line::read(line, Framing::Messages);
        assert_eq!(lines(b"END \r"), Ok(Line::End));
        assert_eq!(lines("\u{3000}".as_bytes()), Ok(Line::End));
        assert_eq!(lines(b"a b\t"), Ok(Line::Text(b"a b")));
        assert_eq!(lines(b" END"), Ok(Line::Text(b" END")));
        assert_eq!(lines(b"a\xff"), Err(Misbehaved::NotUtf8));
        assert_eq!(messages(b"END"), Ok(Line::End));
        assert_eq!(messages(b""), Ok(Line::End));
        assert_eq!(messages(b"END "), Ok(Line::Text(b"END ")));
        assert_eq!(messages(b" "), Ok(Line::Text(b" ")));
    }
}
