//! Look-ups over HTTP/1.1: requests as bytes, and where an answer ends.

use fingerpost_hashequiv_proto::types::encode_hex;
use memchr::memmem;

use super::wire::{Expected, Wire};

/// What the requests of HTTP are.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct HttpArgs {
    /// Over HTTP: ask for this path over and over, and for no keys. For other
    /// servers, which have files.
    #[arg(long)]
    http_path: Option<String>,
    /// Over HTTP: a header line of each request, `NAME: VALUE`.
    #[arg(long, value_parser = header)]
    http_header: Vec<String>,
    /// Over HTTP: every request has to be refused, with a status of 400 to 499.
    #[arg(long)]
    http_refused: bool,
}

/// The longest head of an answer that is understood.
const HEAD_BYTES_MAX: usize = 16 << 10;

impl HttpArgs {
    /// Appends a look-up of `key`; `present` tells whether the server has it.
    pub(super) fn push(&self, out: &mut Vec<u8>, wire: &Wire, key: u64, present: bool) -> Expected {
        out.extend_from_slice(b"GET ");
        match &self.http_path {
            Some(path) => out.extend_from_slice(path.as_bytes()),
            None => {
                out.extend_from_slice(b"/v1/unihashes/");
                out.extend_from_slice(wire.method.as_bytes());
                out.push(b'/');
                out.extend_from_slice(&encode_hex(&wire.keys.taskhash(key)));
            }
        }
        out.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\n");
        for line in &self.http_header {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        match &self.http_path {
            _ if self.http_refused || !present => Expected::Refused,
            Some(_) => Expected::File,
            None => Expected::Found(key),
        }
    }
}

/// One answer at the start of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// Zero if it has none.
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    /// Bytes of all of it.
    pub(super) length: usize,
}

/// Finds one answer, which has to tell the length of its body. `None`: not all of
/// it is there yet. What is no answer has the status zero and takes everything.
pub(super) fn answer(input: &[u8]) -> Option<Answer<'_>> {
    let nonsense = Answer {
        status: 0,
        body: &[],
        length: input.len(),
    };
    let searched = &input[..input.len().min(HEAD_BYTES_MAX)];
    let Some(end) = memmem::find(searched, b"\r\n\r\n") else {
        return (searched.len() == HEAD_BYTES_MAX).then_some(nonsense);
    };
    let head = &input[..end];
    let (Some(status), Some(len)) = (status(head), content_length(head)) else {
        return Some(nonsense);
    };
    let begin = end + 4;
    let length = begin.checked_add(len)?;
    let body = input.get(begin..length)?;
    Some(Answer {
        status,
        body,
        length,
    })
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        let value = name.eq_ignore_ascii_case(NAME).then_some(value)?;
        std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
    })
}

fn header(text: &str) -> Result<String, String> {
    let is_plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    if is_plain && text.contains(": ") {
        Ok(text.to_owned())
    } else {
        Err("expected NAME: VALUE".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::keys::{Keys, METHOD};

    fn pushed(args: &HttpArgs, present: bool) -> (String, Expected) {
        let wire = Wire {
            keys: Keys::new(1),
            method: METHOD.to_owned(),
        };
        let mut out = Vec::new();
        let expected = args.push(&mut out, &wire, 7, present);
        (String::from_utf8(out).unwrap(), expected)
    }

    #[test]
    fn a_key_or_a_file_is_asked_for() {
        let (text, expected) = pushed(&HttpArgs::default(), true);
        assert!(text.starts_with(&format!("GET /v1/unihashes/{METHOD}/")));
        assert!(text.ends_with(" HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        assert_eq!(expected, Expected::Found(7));
        assert_eq!(pushed(&HttpArgs::default(), false).1, Expected::Refused);
        let file = HttpArgs {
            http_path: Some("/answer".to_owned()),
            http_header: vec!["accept: a/b".to_owned()],
            http_refused: false,
        };
        let wanted = "GET /answer HTTP/1.1\r\nhost: localhost\r\naccept: a/b\r\n\r\n";
        assert_eq!(pushed(&file, true), (wanted.to_owned(), Expected::File));
    }

    #[test]
    fn answers_are_found_once_all_of_them_is_there() {
        let input = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1";
        let whole = input.len() - "HTTP/1.1".len();
        let found = answer(input).unwrap();
        assert_eq!(
            (found.status, found.body, found.length),
            (200, &b"abc"[..], whole)
        );
        for end in 0..whole {
            assert_eq!(answer(&input[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let check = |input: &[u8]| assert_eq!(answer(input).unwrap().status, 0);
        check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        check(b"SSH-2.0\r\n\r\n");
        check(&[b'x'; HEAD_BYTES_MAX]);
    }

    #[test]
    fn header_lines_cannot_end_themselves() {
        assert!(header("a: b c").is_ok());
        assert!(header("a: b\r\nc: d").is_err());
        assert!(header("nothing").is_err());
    }
}
