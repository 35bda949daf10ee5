//! Lines of a stream, as a client writes and reads them.
//!
//! A batch may be sent whole before its answers are read, but they must be
//! read while it is sent, or both ends may wait for each other. Answers are
//! matched by position only.

use fingerpost_core::{Encode, Json};

use super::request::{Mark, Where};
use super::{ServerError, answer};
use crate::outbox;
use crate::python;
use crate::wire::{Framing, LINE_BYTES};

/// The line that leaves a stream; answered by [`outbox::STREAM_END`].
pub const END: &str = "END";

/// A question that has no form as a stream line. The server would close the
/// connection on it or answer something else; ask with a message instead, or
/// take it for unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this cannot be asked in a stream")]
pub struct Unaskable;

/// Writes a line of a get-stream. Method and taskhash must be one word each,
/// and short enough together.
pub fn write_get(
    out: &mut Vec<u8>,
    framing: Framing,
    method: &str,
    taskhash: &str,
) -> Result<(), Unaskable> {
    let word = |text: &str| !text.is_empty() && !text.contains(python::is_blank);
    if !word(method) || !word(taskhash) || method.len() + 1 + taskhash.len() > LINE_BYTES {
        return Err(Unaskable);
    }
    for part in [method, " ", taskhash] {
        out.extend_from_slice(part.as_bytes());
    }
    if framing == Framing::Lines {
        out.push(b'\n');
    }
    Ok(())
}

/// Writes a line of an exists-stream.
pub fn write_exists(out: &mut Vec<u8>, framing: Framing, unihash: &str) -> Result<(), Unaskable> {
    write_line(out, framing, unihash)
}

/// Writes a line of a gc-mark-stream.
pub fn write_gc_mark(
    out: &mut Vec<u8>,
    framing: Framing,
    mark: &str,
    conditions: &Where,
) -> Result<(), Unaskable> {
    let mut json = Vec::with_capacity(128);
    Json(Mark::new(mark, conditions)).encode(&mut json);
    write_line(
        out,
        framing,
        std::str::from_utf8(&json).map_err(|_| Unaskable)?,
    )
}

/// Writes a line of a gc-mark-stream that somebody else made.
pub fn write_gc_mark_line(
    out: &mut Vec<u8>,
    framing: Framing,
    line: &str,
) -> Result<(), Unaskable> {
    write_line(out, framing, line)
}

/// Writes [`END`].
pub fn write_end(out: &mut Vec<u8>, framing: Framing) {
    outbox::write_stream_line(out, framing, END);
}

/// Reads an answer of a get-stream: a unihash, or `None` if there is none. The
/// text of the unihash is as the server has it and may be invalid.
pub fn read_unihash(line: &str) -> Result<Option<&str>, ServerError> {
    if let Some(told) = answer::told(line) {
        return Err(ServerError::Told(told));
    }
    Ok((!line.is_empty()).then_some(line))
}

/// Reads an answer of an exists-stream.
pub fn read_exists(line: &str) -> Result<bool, ServerError> {
    match line {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(refusal(other)),
    }
}

/// Reads the answer to [`END`].
pub fn read_end(line: &str) -> Result<(), ServerError> {
    if line == outbox::STREAM_END {
        Ok(())
    } else {
        Err(refusal(line))
    }
}

/// Writes what arrives at the server as it is: not stripped, not cut, and not
/// taken for the end of the stream.
fn write_line(out: &mut Vec<u8>, framing: Framing, line: &str) -> Result<(), Unaskable> {
    let is_kept = python::strip_end(line).len() == line.len();
    if line.is_empty() || line == END || !is_kept || line.contains('\n') || line.len() > LINE_BYTES
    {
        return Err(Unaskable);
    }
    outbox::write_stream_line(out, framing, line);
    Ok(())
}

fn refusal(line: &str) -> ServerError {
    answer::told(line).map_or_else(
        || ServerError::Senseless(format!("unexpected stream line {:?}", shortened(line))),
        ServerError::Told,
    )
}

/// The beginning of a text, for an error message.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unaskable>) -> Option<String> {
        let mut out = Vec::new();
        let result = write(&mut out);
        assert!(result.is_ok() || out.is_empty());
        result.ok().map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn keys_are_two_words() {
        let get =
            |method, taskhash| written(|out| write_get(out, Framing::Lines, method, taskhash));
        assert_eq!(get("m:x", "t").as_deref(), Some("m:x t\n"));
        assert_eq!(get("END", "é").as_deref(), Some("END é\n"));
        for (method, taskhash) in [
            ("", "t"),
            ("m", ""),
            ("m x", "t"),
            ("m", "t\n"),
            ("m", "\u{a0}"),
            ("m\x1c", "t"),
        ] {
            assert_eq!(get(method, taskhash), None, "{method:?} {taskhash:?}");
        }
        let (longest, longer) = ("t".repeat(65_534), "t".repeat(65_535));
        assert_eq!(get("m", &longest).map(|line| line.len()), Some(65_537));
        assert_eq!(get("m", &longer), None);
        assert_eq!(
            written(|out| write_get(out, Framing::Messages, "m", "t")).as_deref(),
            Some("m t")
        );
    }

    #[test]
    fn what_would_not_arrive_as_it_is_cannot_be_asked() {
        let exists = |unihash| written(|out| write_exists(out, Framing::Lines, unihash));
        assert_eq!(exists(" any text").as_deref(), Some(" any text\n"));
        for unihash in ["", "END", "x ", "x\u{2003}", "a\nb"] {
            assert_eq!(exists(unihash), None, "{unihash:?}");
        }
        assert_eq!(exists(&"x".repeat(65_537)), None);
    }

    #[test]
    fn marks_are_json() {
        let conditions = [("unihash".to_owned(), "é".to_owned())];
        let line = written(|out| write_gc_mark(out, Framing::Lines, "K", &conditions));
        assert_eq!(
            line.as_deref(),
            Some("{\"mark\": \"K\", \"where\": {\"unihash\": \"\\u00e9\"}}\n")
        );
        let mut out = Vec::new();
        write_end(&mut out, Framing::Lines);
        assert_eq!(out, b"END\n");
    }

    #[test]
    fn answers_are_read_by_their_stream() {
        assert_eq!(read_unihash(""), Ok(None));
        assert_eq!(read_unihash("abc"), Ok(Some("abc")));
        assert_eq!(read_exists("true"), Ok(true));
        assert_eq!(read_exists("false"), Ok(false));
        assert_eq!(read_end("ok"), Ok(()));
        for line in ["True", "", "\"ok\"", "{}"] {
            assert!(matches!(read_exists(line), Err(ServerError::Senseless(_))));
            assert!(matches!(read_end(line), Err(ServerError::Senseless(_))));
        }
        let told = "{\"invoke-error\": {\"message\": \"no\"}}";
        assert_eq!(read_unihash(told), Err(ServerError::Told("no".to_owned())));
        assert_eq!(read_exists(told), Err(ServerError::Told("no".to_owned())));
        assert_eq!(read_end(told), Err(ServerError::Told("no".to_owned())));
    }
}
