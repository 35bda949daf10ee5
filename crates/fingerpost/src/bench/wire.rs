//! Requests as bytes and answers as expectations, in both protocols.

use fingerpost_hashequiv_proto::types::encode_hex;
use memchr::{memchr, memmem};

use super::http;
use super::keys::Keys;

/// What a client says before its first request. The server answers nothing.
pub(super) const HANDSHAKE: &[u8] = b"OEHASHEQUIV 1.1\nneeds-headers: false\n\n";
pub(super) const ENTER_STREAM: &[u8] = b"{\"get-stream\": null}\n";
pub(super) const LEAVE_STREAM: &[u8] = b"END\n";

/// Writes requests about keys of one method.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) keys: Keys,
    pub(super) method: String,
}

impl Wire {
    /// A line of a get-stream, `METHOD TASKHASH`.
    pub(super) fn push_stream_line(&self, out: &mut Vec<u8>, key: u64) {
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(&encode_hex(&self.keys.taskhash(key)));
        out.push(b'\n');
    }

    /// `get` as BitBake's client spells it.
    pub(super) fn push_get(&self, out: &mut Vec<u8>, key: u64) {
        out.extend_from_slice(b"{\"get\": {\"taskhash\": \"");
        out.extend_from_slice(&encode_hex(&self.keys.taskhash(key)));
        out.extend_from_slice(b"\", \"method\": \"");
        out.extend_from_slice(self.method.as_bytes());
        out.extend_from_slice(b"\", \"all\": false}}\n");
    }

    pub(super) fn push_report_equiv(&self, out: &mut Vec<u8>, key: u64) {
        out.extend_from_slice(b"{\"report-equiv\": {\"taskhash\": \"");
        out.extend_from_slice(&encode_hex(&self.keys.taskhash(key)));
        out.extend_from_slice(b"\", \"method\": \"");
        out.extend_from_slice(self.method.as_bytes());
        out.extend_from_slice(b"\", \"unihash\": \"");
        out.extend_from_slice(&encode_hex(&self.keys.unihash(key)));
        out.extend_from_slice(b"\"}}\n");
    }

    /// Redis' GET of `METHOD:TASKHASH`.
    pub(super) fn push_redis_get(&self, out: &mut Vec<u8>, key: u64) {
        out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
        self.push_redis_key(out, key);
    }

    /// Redis' SET of `METHOD:TASKHASH` to the unihash.
    pub(super) fn push_redis_set(&self, out: &mut Vec<u8>, key: u64) {
        out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
        self.push_redis_key(out, key);
        out.extend_from_slice(b"$64\r\n");
        out.extend_from_slice(&encode_hex(&self.keys.unihash(key)));
        out.extend_from_slice(b"\r\n");
    }

    fn push_redis_key(&self, out: &mut Vec<u8>, key: u64) {
        let length = self.method.len() + 1 + 64;
        out.extend_from_slice(format!("${length}\r\n{}:", self.method).as_bytes());
        out.extend_from_slice(&encode_hex(&self.keys.taskhash(key)));
        out.extend_from_slice(b"\r\n");
    }
}

/// What the next answer on a connection must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// `"ok"`: the stream mode was entered. Not counted as a request.
    Entered,
    /// `ok`: the stream mode was left. Not counted as a request.
    Left,
    /// A line that is the unihash of this key.
    Line(u64),
    /// An empty line: unknown.
    Blank,
    /// A JSON object that holds the unihash of this key.
    Row(u64),
    /// JSON's `null`: unknown.
    Null,
    /// Redis: the unihash of this key.
    Bulk(u64),
    /// Redis: unknown.
    Nil,
    /// Redis: stored.
    Stored,
    /// HTTP: a JSON object that holds the unihash of this key.
    Found(u64),
    /// HTTP: a body.
    File,
    /// HTTP: a status that says the request was wrong.
    Refused,
}

impl Expected {
    /// Whether the answer counts as one request.
    pub(super) const fn counts(self) -> bool {
        !matches!(self, Self::Entered | Self::Left)
    }

    /// Looks for one answer at the start of `input`. `None`: not all of it is
    /// there yet. The content of a hash is compared when `thorough`, else only
    /// the answer's length.
    pub(super) fn check(self, input: &[u8], keys: Keys, thorough: bool) -> Option<Checked> {
        match self {
            Self::Line(key) if input.get(64) == Some(&b'\n') => {
                let right = !thorough || input[..64] == hex_of(keys, key);
                Some(Checked { length: 65, right })
            }
            Self::Bulk(key) if input.starts_with(b"$64\r\n") => {
                let text = input.get(5..71)?;
                let right =
                    text.ends_with(b"\r\n") && (!thorough || text[..64] == hex_of(keys, key));
                Some(Checked { length: 71, right })
            }
            Self::Found(_) | Self::File | Self::Refused => {
                let answer = http::answer(input)?;
                Some(Checked {
                    length: answer.length,
                    right: self.is_answer(&answer, keys, thorough),
                })
            }
            _ => {
                let end = memchr(b'\n', input)?;
                let right = self.is_line(input[..end].trim_ascii_end(), keys, thorough);
                Some(Checked {
                    length: end + 1,
                    right,
                })
            }
        }
    }

    fn is_answer(self, answer: &http::Answer<'_>, keys: Keys, thorough: bool) -> bool {
        let http::Answer { status, body, .. } = *answer;
        match self {
            Self::Found(key) => {
                let holds = || memmem::find(body, &hex_of(keys, key)).is_some();
                status == 200 && (!thorough || holds())
            }
            Self::File => status == 200,
            Self::Refused => (400..500).contains(&status),
            _ => false,
        }
    }

    fn is_line(self, line: &[u8], keys: Keys, thorough: bool) -> bool {
        match self {
            Self::Entered => line == b"\"ok\"",
            Self::Left => line == b"ok",
            Self::Blank => line.is_empty(),
            Self::Null => line == b"null",
            Self::Nil => line == b"$-1",
            Self::Stored => line == b"+OK",
            Self::Row(key) => {
                let object = line.starts_with(b"{") && line.ends_with(b"}") && line.len() > 200;
                object && (!thorough || memmem::find(line, &hex_of(keys, key)).is_some())
            }
            _ => false,
        }
    }
}

/// An answer that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// Bytes that it takes.
    pub(super) length: usize,
    pub(super) right: bool,
}

fn hex_of(keys: Keys, key: u64) -> [u8; 64] {
    encode_hex(&keys.unihash(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::keys::METHOD;

    fn wire() -> Wire {
        Wire {
            keys: Keys::new(1),
            method: METHOD.to_owned(),
        }
    }

    fn text(key: u64) -> String {
        String::from_utf8(hex_of(Keys::new(1), key).to_vec()).unwrap()
    }

    fn check(expected: Expected, input: &str) -> Option<(usize, bool)> {
        let checked = expected.check(input.as_bytes(), Keys::new(1), true);
        checked.map(|checked| (checked.length, checked.right))
    }

    #[test]
    fn requests_have_the_lengths_of_real_ones() {
        let mut line = Vec::new();
        wire().push_stream_line(&mut line, 7);
        assert_eq!(line.len(), 53 + 1 + 64 + 1);
        let mut get = Vec::new();
        wire().push_redis_get(&mut get, 7);
        assert!(get.starts_with(b"*2\r\n$3\r\nGET\r\n$118\r\n"));
        assert_eq!(get.len(), 19 + 118 + 2);
    }

    #[test]
    fn answers_are_found_once_complete() {
        let line = format!("{}\n", text(7));
        assert_eq!(check(Expected::Line(7), &line), Some((65, true)));
        assert_eq!(check(Expected::Line(7), &line[..64]), None);
        let bulk = format!("$64\r\n{}\r\n", text(7));
        assert_eq!(check(Expected::Bulk(7), &bulk), Some((71, true)));
        assert_eq!(check(Expected::Bulk(7), &bulk[..70]), None);
        let row = format!(
            "{{\"method\": \"{METHOD}\", \"taskhash\": \"{}\", \"unihash\": \"{}\"}}\n",
            text(9),
            text(7)
        );
        assert_eq!(check(Expected::Row(7), &row), Some((row.len(), true)));
        assert_eq!(check(Expected::Blank, "\nnext"), Some((1, true)));
        assert_eq!(check(Expected::Nil, "$-1\r\n"), Some((5, true)));
    }

    #[test]
    fn wrong_answers_are_told_and_skipped() {
        assert_eq!(
            check(Expected::Line(8), &format!("{}\n", text(7))),
            Some((65, false))
        );
        assert_eq!(check(Expected::Line(8), "\nmore"), Some((1, false)));
        assert_eq!(check(Expected::Bulk(8), "$-1\r\n"), Some((5, false)));
        assert_eq!(check(Expected::Row(8), "null\n"), Some((5, false)));
        assert_eq!(
            check(Expected::Blank, &format!("{}\n", text(7))),
            Some((65, false))
        );
    }
}
