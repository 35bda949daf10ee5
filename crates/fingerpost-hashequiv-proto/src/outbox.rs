//! From answers to bytes: messages, stream lines, errors. Everything is
//! appended to a buffer of the caller's.
//!
//! On [`Framing::Messages`] one call writes one WebSocket message, without a
//! line end; the caller sends it before the next one.

use fingerpost_core::{Encode, Json};
use serde::Serialize;

use crate::python;
use crate::types::encode_hex;
use crate::wire::{Framing, LINE_BYTES};

/// The message that answers a stream command.
pub const STREAM_BEGIN: &str = "\"ok\"";

/// The line that answers the end of a stream; no quotes.
pub const STREAM_END: &str = "ok";

/// A message of this many bytes or more is sent in pieces of this many.
/// Ours are ASCII, so bytes are characters, which the reference counts.
pub const CHUNK_BYTES: usize = 32 * 1024 - 1;

/// Writes the server's header lines, of which there are none: an empty line.
pub fn write_headers(out: &mut Vec<u8>, framing: Framing) {
    end_line(out, framing);
}

/// Writes one message, in chunks when it is long.
///
/// `json` is one JSON value as [`Json`] spells it, or at least one that has no
/// white space outside of its texts that goes on for [`CHUNK_BYTES`].
pub fn write_message(out: &mut Vec<u8>, framing: Framing, json: &[u8]) {
    if framing == Framing::Messages {
        return out.extend_from_slice(json);
    }
    if json.len() >= CHUNK_BYTES {
        return write_chunks(out, &String::from_utf8_lossy(json));
    }
    let at = out.len();
    out.extend_from_slice(json);
    blank_line_ends(&mut out[at..]);
    out.push(b'\n');
}

/// Writes the told error `{"invoke-error": {"message": text}}`; the connection
/// is to be closed after it.
pub fn write_invoke_error(out: &mut Vec<u8>, framing: Framing, text: &str) {
    #[derive(Serialize)]
    struct Message<'a> {
        #[serde(rename = "invoke-error")]
        invoke_error: Told<'a>,
    }
    #[derive(Serialize)]
    struct Told<'a> {
        message: &'a str,
    }
    let mut json = Vec::with_capacity(text.len() + 40);
    Json(Message {
        invoke_error: Told { message: text },
    })
    .encode(&mut json);
    write_message(out, framing, &json);
}

/// Writes a stream line. A text that cannot be a line, because it has a line
/// end in it or is longer than the peer takes, is written as an empty one: an
/// answer too many would shift all that follow to the wrong question.
pub fn write_stream_line(out: &mut Vec<u8>, framing: Framing, line: &str) {
    let fits = line.len() <= LINE_BYTES && !line.contains('\n');
    out.extend_from_slice(if fits { line.as_bytes() } else { b"" });
    end_line(out, framing);
}

/// Writes a hash as a stream line.
#[inline]
pub fn write_hash_line(out: &mut Vec<u8>, framing: Framing, hash: &[u8; 32]) {
    let mut line = [b'\n'; 65];
    line[..64].copy_from_slice(&encode_hex(hash));
    match framing {
        Framing::Lines => out.extend_from_slice(&line),
        Framing::Messages => out.extend_from_slice(&line[..64]),
    }
}

fn end_line(out: &mut Vec<u8>, framing: Framing) {
    if framing == Framing::Lines {
        out.push(b'\n');
    }
}

/// Outside of texts a line end is white space like any other, and inside of
/// them it is not JSON.
fn blank_line_ends(json: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\n', &json[from..]) {
        json[from + at] = b' ';
        from += at + 1;
    }
}

/// Cuts a message into pieces. The reference strips every piece at its end, so
/// none may end in white space.
fn write_chunks(out: &mut Vec<u8>, json: &str) {
    out.reserve(json.len() + json.len() / CHUNK_BYTES * 2 + 64);
    out.extend_from_slice(b"{\"chunk-stream\": null}\n");
    let mut rest = json.trim_end_matches(python::is_blank);
    while !rest.is_empty() {
        let at = out.len();
        rest = write_piece(out, rest);
        blank_line_ends(&mut out[at..]);
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Writes a piece without its line end and gives back what remains.
fn write_piece<'a>(out: &mut Vec<u8>, rest: &'a str) -> &'a str {
    let (window, behind) = rest.split_at(rest.floor_char_boundary(CHUNK_BYTES));
    let piece = window.trim_end_matches(python::is_blank);
    if !piece.is_empty() {
        out.extend_from_slice(piece.as_bytes());
        return &rest[piece.len()..];
    }
    // Nothing but blanks as far as a piece reaches, so this is inside of a
    // text, and the last blank can be an escape.
    let mut blanks = window.chars();
    let last = u32::from(blanks.next_back().unwrap_or(' '));
    out.extend_from_slice(blanks.as_str().as_bytes());
    out.extend_from_slice(format!("\\u{last:04x}").as_bytes());
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &str) -> String {
        let mut out = Vec::new();
        write_message(&mut out, Framing::Lines, json.as_bytes());
        String::from_utf8(out).unwrap()
    }

    /// What the reference makes of a message: every line stripped at its end.
    fn received(wire: &str) -> String {
        let mut lines = wire
            .strip_suffix('\n')
            .unwrap()
            .split('\n')
            .map(python::strip_end);
        match lines.next().unwrap() {
            "{\"chunk-stream\": null}" => {}
            line => return line.to_owned(),
        }
        let pieces: Vec<_> = lines.collect();
        assert!(pieces.iter().all(|piece| piece.len() <= LINE_BYTES));
        let end = pieces.iter().position(|piece| piece.is_empty()).unwrap();
        assert_eq!(end, pieces.len() - 1, "an early end");
        pieces.concat()
    }

    fn text_of(length: usize) -> String {
        format!("\"{}\"", "0".repeat(length - 2))
    }

    #[test]
    fn messages_are_cut_from_32767_characters_on() {
        let short = text_of(32_766);
        assert_eq!(written(&short), format!("{short}\n"));
        let long = text_of(32_767);
        assert_eq!(
            written(&long),
            format!("{{\"chunk-stream\": null}}\n{long}\n\n")
        );
        let longer = text_of(32_768);
        let (piece, rest) = longer.split_at(32_767);
        assert_eq!(
            written(&longer),
            format!("{{\"chunk-stream\": null}}\n{piece}\n{rest}\n\n")
        );
    }

    #[test]
    fn no_piece_ends_in_white_space() {
        for blanks in [1, 2, 10, 32_766, 32_767, 32_768, 70_000, 200_000] {
            for before in [1, 32_000, 32_764, 32_765, 32_766, 32_767, 32_768] {
                let json = format!(
                    "\"{}{}{}\"",
                    "x".repeat(before),
                    " ".repeat(blanks),
                    "y".repeat(40_000)
                );
                let text: String = serde_json::from_str(&received(&written(&json))).unwrap();
                assert!(text == json[1..json.len() - 1], "{before} {blanks}");
            }
        }
    }

    #[test]
    fn characters_are_never_cut() {
        let json = format!("\"x{}\"", "é\u{2003}😀".repeat(20_000));
        assert_eq!(received(&written(&json)), json);
    }

    #[test]
    fn line_ends_of_the_spelling_do_not_reach_the_wire() {
        assert_eq!(written("{\n\n\"a\": 1\n}"), "{  \"a\": 1 }\n");
        let long = format!("[\n{}\n]\n", text_of(40_000));
        let value: Vec<String> = serde_json::from_str(&received(&written(&long))).unwrap();
        assert_eq!(value[0].len(), 39_998);
    }

    #[test]
    fn websocket_messages_are_whole() {
        let mut out = Vec::new();
        let long = text_of(200_000);
        write_message(&mut out, Framing::Messages, long.as_bytes());
        assert_eq!(out, long.as_bytes());
    }

    #[test]
    fn told_errors_are_spelled_as_the_reference_spells_them() {
        let mut out = Vec::new();
        write_invoke_error(&mut out, Framing::Lines, "No user named 'é' exists");
        let expected = "{\"invoke-error\": {\"message\": \"No user named '\\u00e9' exists\"}}\n";
        assert_eq!(out, expected.as_bytes());
    }

    #[test]
    fn stream_lines_are_always_one_line() {
        let line = |framing, text: &str| {
            let mut out = Vec::new();
            write_stream_line(&mut out, framing, text);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(Framing::Lines, "true"), "true\n");
        assert_eq!(line(Framing::Lines, ""), "\n");
        assert_eq!(line(Framing::Lines, "a\nb"), "\n");
        assert_eq!(line(Framing::Lines, &"x".repeat(65_537)), "\n");
        assert_eq!(line(Framing::Messages, "true"), "true");
        assert_eq!(line(Framing::Messages, ""), "");
    }

    #[test]
    fn hashes_and_headers_follow_the_framing() {
        let mut out = Vec::new();
        write_hash_line(&mut out, Framing::Lines, &[0xab; 32]);
        assert_eq!(out, format!("{}\n", "ab".repeat(32)).as_bytes());
        out.clear();
        write_hash_line(&mut out, Framing::Messages, &[0xab; 32]);
        assert_eq!(out, "ab".repeat(32).as_bytes());
        out.clear();
        write_headers(&mut out, Framing::Messages);
        assert_eq!(out, b"");
        write_headers(&mut out, Framing::Lines);
        assert_eq!(out, b"\n");
    }
}
