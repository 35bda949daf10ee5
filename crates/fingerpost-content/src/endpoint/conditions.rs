//! What a request asks for depending on what the client has: conditions and
//! ranges (RFC 9110, sections 13 and 14).

use std::ops::Range;

use axum::http::header::{self, HeaderMap, HeaderName};

use crate::Opened;

/// Hex digits of the name that tell entries apart; the requester knows them.
const TAG_DIGITS: usize = 32;

/// The strong tag of an entry. An entry never changes, so that its name and
/// its coding say everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag(String);

impl EntityTag {
    pub(crate) fn new(opened: &Opened) -> Self {
        let digits = &opened.name.to_hex()[..TAG_DIGITS];
        match opened.coding {
            None => Self(format!("\"{digits}\"")),
            Some(coding) => Self(format!("\"{digits}-{}\"", coding.name())),
        }
    }

    /// With its quotation marks.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the client has it already, by `If-None-Match`. Our tags have no
    /// commas, so a list may be split at any.
    pub(crate) fn is_none_match(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(header::IF_NONE_MATCH).iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.0)
    }
}

/// What of an entry is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, which may always be given instead of ranges.
    Whole,
    /// These bytes, at least one.
    Range(Range<u64>),
    /// Nothing that is there.
    Unsatisfiable,
}

/// What the headers of a GET ask of an entry of `len` bytes: a range if there
/// is exactly one, and if what the client has of the entry is of this one.
pub(crate) fn asked_part(headers: &HeaderMap, tag: &EntityTag, len: u64) -> Part {
    let Some(range) = only(headers, header::RANGE) else {
        return Part::Whole;
    };
    // A date is never right: entries have none.
    if headers.contains_key(header::IF_RANGE)
        && only(headers, header::IF_RANGE) != Some(tag.as_str())
    {
        return Part::Whole;
    }
    parse_range(range)
        .and_then(|asked| asked.of(len))
        .unwrap_or(Part::Whole)
}

/// The value of a header that comes once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut lines = headers.get_all(name).iter();
    let (line, more) = (lines.next()?, lines.next());
    more.is_none().then(|| line.to_str().ok()).flatten()
}

/// One range, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// `FIRST-LAST` and `FIRST-`.
    From { first: u64, last: u64 },
    /// `-LENGTH`.
    Last { bytes: u64 },
}

impl Asked {
    /// `None`: not a range at all.
    fn of(self, len: u64) -> Option<Part> {
        match self {
            Self::From { first, last } if first > last => None,
            Self::From { first, .. } if first >= len => Some(Part::Unsatisfiable),
            Self::From { first, last } => Some(Part::Range(first..last.saturating_add(1).min(len))),
            Self::Last { bytes: 0 } => Some(Part::Unsatisfiable),
            // Satisfiable, says the RFC, but no Content-Range can say it.
            Self::Last { .. } if len == 0 => None,
            Self::Last { bytes } => Some(Part::Range(len.saturating_sub(bytes)..len)),
        }
    }
}

fn parse_range(text: &str) -> Option<Asked> {
    let (unit, range) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    match (first, last) {
        ("", last) => Some(Asked::Last {
            bytes: number(last)?,
        }),
        (first, "") => Some(Asked::From {
            first: number(first)?,
            last: u64::MAX,
        }),
        (first, last) => Some(Asked::From {
            first: number(first)?,
            last: number(last)?,
        }),
    }
}

/// Digits and nothing else. A number that is too large is as good as the
/// largest: no entry is as long.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use fingerpost_core::EntryName;

    use super::*;
    use fingerpost_core::ContentCoding;

    fn tag(coding: Option<ContentCoding>) -> EntityTag {
        EntityTag::new(&Opened {
            name: EntryName::from_hex(&"ab".repeat(32)).unwrap(),
            coding,
            seconds_left: 1,
        })
    }

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let line = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn tags_tell_codings_apart() {
        assert_eq!(tag(None).as_str(), format!("\"{}\"", "ab".repeat(16)));
        let coded = format!("\"{}-zstd\"", "ab".repeat(16));
        assert_eq!(tag(Some(ContentCoding::Zstd)).as_str(), coded);
    }

    #[test]
    fn if_none_match_takes_lists_and_weak_tags() {
        let tag = tag(None);
        let check = |value: &str, expected| {
            let value = value.replace("TAG", tag.as_str());
            let headers = headers(&[(header::IF_NONE_MATCH, &value)]);
            assert_eq!(tag.is_none_match(&headers), expected, "{value}");
        };
        check("TAG", true);
        check("W/TAG", true);
        check("*", true);
        check("\"a\", W/\"b\" ,TAG", true);
        check("", false);
        check("\"a\"", false);
        check("x TAG", false);
        let other = headers(&[
            (header::IF_NONE_MATCH, "\"a\""),
            (header::IF_NONE_MATCH, tag.as_str()),
        ]);
        assert!(tag.is_none_match(&other));
        assert!(!tag.is_none_match(&HeaderMap::new()));
    }

    #[test]
    fn one_range_is_given_and_others_are_the_whole() {
        let check = |value: &str, expected| {
            let headers = headers(&[(header::RANGE, value)]);
            assert_eq!(asked_part(&headers, &tag(None), 10), expected, "{value}");
        };
        check("bytes=0-0", Part::Range(0..1));
        check("bytes=2-5", Part::Range(2..6));
        check("Bytes= 2-5 ", Part::Range(2..6));
        check("bytes=2-99", Part::Range(2..10));
        check("bytes=2-99999999999999999999999", Part::Range(2..10));
        check("bytes=2-18446744073709551615", Part::Range(2..10));
        check("bytes=9-", Part::Range(9..10));
        check("bytes=-3", Part::Range(7..10));
        check("bytes=-99", Part::Range(0..10));
        for behind in ["10-", "10-12", "99999999999999999999999-", "-0"] {
            check(&format!("bytes={behind}"), Part::Unsatisfiable);
        }
        for odd in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes 1-2",
            "lines=1-2",
            "bytes=0-0,2-2",
            "bytes=0-0,",
        ] {
            check(odd, Part::Whole);
        }
        let twice = headers(&[(header::RANGE, "bytes=0-0"), (header::RANGE, "bytes=0-0")]);
        assert_eq!(asked_part(&twice, &tag(None), 10), Part::Whole);
        assert_eq!(asked_part(&HeaderMap::new(), &tag(None), 10), Part::Whole);
    }

    #[test]
    fn an_empty_entry_has_no_ranges() {
        let check = |value: &str, expected| {
            let headers = headers(&[(header::RANGE, value)]);
            assert_eq!(asked_part(&headers, &tag(None), 0), expected, "{value}");
        };
        check("bytes=0-", Part::Unsatisfiable);
        check("bytes=0-0", Part::Unsatisfiable);
        check("bytes=-0", Part::Unsatisfiable);
        check("bytes=-1", Part::Whole);
    }

    #[test]
    fn if_range_needs_the_strong_tag() {
        let tag = tag(None);
        let check = |value: &str, expected| {
            let value = value.replace("TAG", tag.as_str());
            let headers = headers(&[(header::RANGE, "bytes=1-2"), (header::IF_RANGE, &value)]);
            assert_eq!(asked_part(&headers, &tag, 10), expected, "{value}");
        };
        check("TAG", Part::Range(1..3));
        check("W/TAG", Part::Whole);
        check("\"other\"", Part::Whole);
        check("Sun, 06 Nov 1994 08:49:37 GMT", Part::Whole);
    }
}
