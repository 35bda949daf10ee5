//! The opening of a session, as the server reads it.

use super::{Limits, Misbehaved};
use crate::python;

/// Name of the protocol, the first word of a session.
pub(crate) const PROTOCOL: &str = "OEHASHEQUIV";

/// Reads the lines of a handshake.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    begun: bool,
    bytes: usize,
    headers: usize,
    needs_headers: bool,
}

/// Whether the client wants header lines in return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) needs_headers: bool,
}

impl Handshake {
    /// Takes one line, already stripped at its end. Says when it was the last.
    pub(super) fn line(
        &mut self,
        line: &str,
        limits: &Limits,
    ) -> Result<Option<Opened>, Misbehaved> {
        self.bytes += line.len();
        if self.bytes > limits.handshake_bytes {
            return Err(Misbehaved::HandshakeTooLong);
        }
        if !self.begun {
            self.begun = true;
            return check_first_line(line).map(|()| None);
        }
        if line.is_empty() {
            return Ok(Some(Opened {
                needs_headers: self.needs_headers,
            }));
        }
        self.headers += 1;
        if self.headers > limits.header_lines {
            return Err(Misbehaved::HandshakeTooLong);
        }
        self.header(line).map(|()| None)
    }

    fn header(&mut self, line: &str) -> Result<(), Misbehaved> {
        let (tag, value) = line.split_once(':').ok_or(Misbehaved::Header)?;
        if tag.eq_ignore_ascii_case("needs-headers") {
            self.needs_headers = value.trim_matches(python::is_blank) == "true";
        }
        Ok(())
    }
}

fn check_first_line(line: &str) -> Result<(), Misbehaved> {
    let (protocol, version) = python::two_words(line).ok_or(Misbehaved::FirstLine)?;
    if protocol != PROTOCOL {
        return Err(Misbehaved::Protocol);
    }
    is_supported(version)
        .then_some(())
        .ok_or(Misbehaved::Version)
}

/// Versions are lists of integers; above 1.0 and at most 1.1 is ours. Lists
/// compare item by item and a list is above its own beginning, so 1.0.1 is
/// supported and 1.1.0 is not.
fn is_supported(version: &str) -> bool {
    let numbers: Option<Vec<i64>> = version.split('.').map(python::parse_int).collect();
    numbers.is_some_and(|numbers| *numbers > [1, 0][..] && *numbers <= [1, 1][..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<Opened>, Misbehaved> {
        let mut handshake = Handshake::default();
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(handshake.line(line, &Limits::default())?, None);
        }
        handshake.line(last, &Limits::default())
    }

    const PLAIN: Result<Option<Opened>, Misbehaved> = Ok(Some(Opened {
        needs_headers: false,
    }));
    const WANTS: Result<Option<Opened>, Misbehaved> = Ok(Some(Opened {
        needs_headers: true,
    }));

    #[test]
    fn versions_above_1_0_up_to_1_1_are_accepted() {
        for version in [
            "1.1",
            "1.0.1",
            "1.0.0",
            "01.1",
            "+1.1",
            "1.0.-1",
            "1.0.99999999999999999999",
        ] {
            assert_eq!(
                read(&[&format!("OEHASHEQUIV {version}"), ""]),
                PLAIN,
                "{version}"
            );
        }
        for version in [
            "1.0", "1", "1.2", "1.1.0", "2.0", "0.9", "abc", "1.", ".1", "1..1", "1.1.", "-1.1",
            "1_1", "1.1a", "9.1",
        ] {
            assert_eq!(
                read(&[&format!("OEHASHEQUIV {version}")]),
                Err(Misbehaved::Version),
                "{version}"
            );
        }
    }

    #[test]
    fn the_first_line_is_two_words() {
        assert_eq!(read(&["  OEHASHEQUIV \t 1.1  ", ""]), PLAIN);
        assert_eq!(read(&["OEHASHEQUIV\u{2003}1.1", ""]), PLAIN);
        for line in ["", "OEHASHEQUIV", "OEHASHEQUIV 1.1 x", " "] {
            assert_eq!(read(&[line]), Err(Misbehaved::FirstLine), "{line}");
        }
        for line in ["PRSERVICE 1.0", "oehashequiv 1.1", "{\"ping\": {}}"] {
            assert_eq!(read(&[line]), Err(Misbehaved::Protocol), "{line}");
        }
    }

    #[test]
    fn needs_headers_is_exactly_true() {
        for line in [
            "needs-headers: true",
            "NEEDS-headers:   true  ",
            "needs-headers:true\u{3000}",
        ] {
            assert_eq!(read(&["OEHASHEQUIV 1.1", line, ""]), WANTS, "{line}");
        }
        for line in [
            "needs-headers: True",
            "needs-headers: 1",
            "needs-headers:",
            " needs-headers: true",
            "x: true",
        ] {
            assert_eq!(read(&["OEHASHEQUIV 1.1", line, ""]), PLAIN, "{line}");
        }
    }

    #[test]
    fn the_last_of_equal_headers_counts() {
        assert_eq!(
            read(&[
                "OEHASHEQUIV 1.1",
                "needs-headers: true",
                "needs-headers: no",
                ""
            ]),
            PLAIN
        );
        assert_eq!(
            read(&[
                "OEHASHEQUIV 1.1",
                "needs-headers: no",
                "needs-headers: true",
                ""
            ]),
            WANTS
        );
    }

    #[test]
    fn a_header_has_a_colon() {
        assert_eq!(read(&["OEHASHEQUIV 1.1", "X-Other: a:b:c", ":", ""]), PLAIN);
        assert_eq!(read(&["OEHASHEQUIV 1.1", "foo"]), Err(Misbehaved::Header));
    }

    #[test]
    fn headers_are_limited_in_number_and_size() {
        let limits = Limits {
            header_lines: 2,
            handshake_bytes: 25,
            ..Limits::default()
        };
        let feed = |headers: &[&str]| {
            let mut handshake = Handshake::default();
            handshake.line("OEHASHEQUIV 1.1", &limits).unwrap();
            headers
                .iter()
                .try_fold(None, |_, line| handshake.line(line, &limits))
        };
        assert_eq!(feed(&["a:", "b:", ""]), PLAIN);
        assert_eq!(feed(&["a:", "b:", "c:"]), Err(Misbehaved::HandshakeTooLong));
        assert_eq!(feed(&["a:12345678", ""]), PLAIN);
        assert_eq!(feed(&["a:123456789"]), Err(Misbehaved::HandshakeTooLong));
    }
}
