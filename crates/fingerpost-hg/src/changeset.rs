//! The text of a changeset.

use std::borrow::Cow;

use fingerpost_hg_proto::Node;
use memchr::{memchr, memmem};

/// The text is no changeset; the message says which part is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a changeset's text is malformed: {0}")]
pub struct ChangesetError(&'static str);

/// A changeset, read out of the text that the changelog stores for it.
///
/// Everything is bytes: hg writes UTF-8, and nothing makes sure of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changeset<'a> {
    manifest: Node,
    user: &'a [u8],
    time: &'a [u8],
    offset: &'a [u8],
    extra: &'a [u8],
    files: &'a [u8],
    description: &'a [u8],
}

impl<'a> Changeset<'a> {
    /// Reads a changeset's text. The empty text, which old or converted
    /// repositories may hold, is a changeset with the null manifest and nothing
    /// in it.
    pub fn parse(text: &'a [u8]) -> Result<Self, ChangesetError> {
        if text.is_empty() {
            return Ok(Self::EMPTY);
        }
        let lines = Lines::of(text)?;
        let mut fields = lines.date.splitn(3, |byte| *byte == b' ');
        let mut field = || fields.next().unwrap_or_default();
        Ok(Self {
            manifest: hex_node(lines.manifest)?,
            user: lines.user,
            time: field(),
            offset: field(),
            extra: field(),
            files: lines.files,
            description: lines.description,
        })
    }

    const EMPTY: Self = Self {
        manifest: Node::NULL,
        user: b"",
        time: b"0",
        offset: b"0",
        extra: b"",
        files: b"",
        description: b"",
    };

    /// The node of the root manifest; null when there are no files at all.
    pub const fn manifest(&self) -> Node {
        self.manifest
    }

    /// Who made it.
    pub const fn user(&self) -> &'a [u8] {
        self.user
    }

    /// When it was made: whole seconds since 1970-01-01T00:00:00Z, a fraction
    /// in old data cut off. `None` for what is no number; hg reads everything
    /// else of such a changeset.
    pub fn time(&self) -> Option<i64> {
        let time: f64 = number(self.time)?;
        time.is_finite().then_some(time as i64)
    }

    /// The time zone: seconds west of UTC. Zero, as in hg, for what is no
    /// number.
    pub fn offset(&self) -> i32 {
        number(self.offset).unwrap_or(0)
    }

    /// The paths that the changeset changed or removed, in stored order, which
    /// is bytewise ascending in what hg writes.
    pub fn files(&self) -> Files<'a> {
        Files(self.files)
    }

    /// The commit message.
    pub const fn description(&self) -> &'a [u8] {
        self.description
    }

    /// The extra items as stored, in stored order, with escapes resolved. An
    /// item without a colon has an empty value.
    pub fn extra(&self) -> impl Iterator<Item = (Cow<'a, [u8]>, Cow<'a, [u8]>)> + use<'a> {
        let extra = self.extra;
        extra
            .split(|byte| *byte == 0)
            .filter(|item| !item.is_empty())
            .map(|item| match memchr(b':', item) {
                Some(colon) => (unescape(&item[..colon]), unescape(&item[colon + 1..])),
                None => (unescape(item), Cow::Borrowed(&b""[..])),
            })
    }

    /// The value of one extra item; of several with one key the last counts, as
    /// in hg.
    pub fn extra_value(&self, key: &[u8]) -> Option<Cow<'a, [u8]>> {
        self.extra()
            .filter(|(name, _)| **name == *key)
            .last()
            .map(|(_, value)| value)
    }

    /// The name of the branch, `default` when nothing is recorded.
    pub fn branch(&self) -> Cow<'a, [u8]> {
        self.extra_value(b"branch")
            .filter(|branch| !branch.is_empty())
            .unwrap_or(Cow::Borrowed(b"default"))
    }

    /// Whether the changeset closes its branch's head.
    pub fn closes_branch(&self) -> bool {
        self.extra_value(b"close").is_some()
    }
}

/// The manifest's node of a changeset's text, without looking at the rest. The
/// null node for the empty text.
pub fn manifest_node(text: &[u8]) -> Result<Node, ChangesetError> {
    if text.is_empty() {
        return Ok(Node::NULL);
    }
    hex_node(split_line(text).0)
}

/// The paths in a changeset's text, without looking at user, date and extra.
pub fn files(text: &[u8]) -> Result<Files<'_>, ChangesetError> {
    if text.is_empty() {
        return Ok(Files(b""));
    }
    Ok(Files(Lines::of(text)?.files))
}

/// The paths of a changeset, in stored order.
#[derive(Clone, Debug)]
pub struct Files<'a>(&'a [u8]);

impl<'a> Iterator for Files<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (line, rest) = split_line(self.0);
        self.0 = rest.unwrap_or_default();
        Some(line)
    }
}

/// The parts of a text, as they are.
struct Lines<'a> {
    manifest: &'a [u8],
    user: &'a [u8],
    date: &'a [u8],
    /// One on each line, the last without its newline.
    files: &'a [u8],
    description: &'a [u8],
}

impl<'a> Lines<'a> {
    fn of(text: &'a [u8]) -> Result<Self, ChangesetError> {
        let (manifest, rest) = split_line(text);
        let (user, rest) = split_line(rest.ok_or(ChangesetError("it has no user"))?);
        let (date, rest) = split_line(rest.ok_or(ChangesetError("it has no date"))?);
        let rest = rest.ok_or(ChangesetError(NO_END))?;
        // The empty line is looked for here only: a user may be empty too.
        let (files, description) = match rest.strip_prefix(b"\n") {
            Some(description) => (&b""[..], description),
            None => {
                let end = memmem::find(rest, b"\n\n").ok_or(ChangesetError(NO_END))?;
                (&rest[..end], &rest[end + 2..])
            }
        };
        Ok(Self {
            manifest,
            user,
            date,
            files,
            description,
        })
    }
}

const NO_END: &str = "no empty line ends its files";

/// The first line, and what follows its newline if it has one.
fn split_line(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'\n', text) {
        Some(end) => (&text[..end], Some(&text[end + 1..])),
        None => (text, None),
    }
}

fn hex_node(hex: &[u8]) -> Result<Node, ChangesetError> {
    Node::from_hex(hex).ok_or(ChangesetError("its first line is no manifest node"))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.trim_ascii().parse().ok()
}

/// Resolves the backslash pairs of an extra item. A backslash before any other
/// byte, or at the end, stands for itself.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'\\') => plain.push(b'\\'),
            Some(b'n') => plain.push(b'\n'),
            Some(b'r') => plain.push(b'\r'),
            Some(b'0') => plain.push(0),
            Some(other) => plain.extend([b'\\', other]),
            None => plain.push(b'\\'),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "ab6f6465b68b31ae30e4c3be9b7a36403a275cb3";

    fn text(rest: &str) -> Vec<u8> {
        format!("{HEX}\n{rest}").into_bytes()
    }

    #[test]
    fn every_part_is_read() {
        let text = text(
            "Ann <a@b>\n1700000000 -7200 branch:st\\\\able\0close:1\0x:a\\nb\\0c\nsrc/a\nz\n\nsubject\n\nbody",
        );
        let changeset = Changeset::parse(&text).unwrap();
        assert_eq!(changeset.manifest().to_string(), HEX);
        assert_eq!(changeset.user(), b"Ann <a@b>");
        assert_eq!(changeset.time(), Some(1_700_000_000));
        assert_eq!(changeset.offset(), -7200);
        assert_eq!(&*changeset.branch(), b"st\\able");
        assert!(changeset.closes_branch());
        assert_eq!(changeset.extra_value(b"x").unwrap(), &b"a\nb\0c"[..]);
        assert_eq!(changeset.files().collect::<Vec<_>>(), [&b"src/a"[..], b"z"]);
        assert_eq!(changeset.description(), b"subject\n\nbody");
        assert_eq!(files(&text).unwrap().count(), 2);
        assert_eq!(manifest_node(&text).unwrap().to_string(), HEX);
    }

    #[test]
    fn no_files_and_no_extra() {
        let text = text("u\n0 0\n\nd");
        let changeset = Changeset::parse(&text).unwrap();
        assert_eq!(changeset.files().count(), 0);
        assert_eq!(files(&text).unwrap().count(), 0);
        assert_eq!(&*changeset.branch(), b"default");
        assert!(!changeset.closes_branch());
        assert_eq!(changeset.description(), b"d");
    }

    #[test]
    fn the_empty_text_has_the_null_manifest() {
        let changeset = Changeset::parse(b"").unwrap();
        assert!(changeset.manifest().is_null());
        assert_eq!(&*changeset.branch(), b"default");
        assert!(manifest_node(b"").unwrap().is_null());
        assert_eq!(files(b"").unwrap().count(), 0);
    }

    #[test]
    fn a_date_is_read_as_far_as_it_is_one() {
        for (written, seconds, offset) in [
            ("12.75 0", Some(12), 0),
            ("-1.5 60", Some(-1), 60),
            ("1e9 x", Some(1_000_000_000), 0),
            ("x -60", None, -60),
            ("nan 99999999999", None, 0),
            ("0", Some(0), 0),
        ] {
            let text = text(&format!("u\n{written}\n\n"));
            let changeset = Changeset::parse(&text).unwrap();
            assert_eq!((changeset.time(), changeset.offset()), (seconds, offset));
        }
    }

    #[test]
    fn an_empty_user_does_not_end_the_files() {
        let text = text("\n0 0 branch:b\nf\n\nd");
        let changeset = Changeset::parse(&text).unwrap();
        assert_eq!(&*changeset.branch(), b"b");
        assert_eq!(changeset.user(), b"");
        assert_eq!(changeset.files().collect::<Vec<_>>(), [b"f"]);
        assert_eq!(changeset.description(), b"d");
    }

    #[test]
    fn malformed_texts_are_errors() {
        for wrong in [
            &b"x"[..],
            b"\n\n",
            b"nohex\nu\n0 0\n\nd",
            &text("u\n0 0\nfile"),
            &text("u\n\nd"),
            &text("\nd"),
        ] {
            assert!(Changeset::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_changeset_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let with_node = [text(""), bytes.clone()].concat();
            for bytes in [&bytes, &with_node] {
                let _ = manifest_node(bytes);
                let listed = files(bytes).map(Iterator::count);
                if let Ok(changeset) = Changeset::parse(bytes) {
                    prop_assert_eq!(listed, Ok(changeset.files().count()));
                    let _ = changeset.branch();
                }
            }
        }
    }
}
