//! Texts of files as they are stored: with metadata in front, where there is any.

use fingerpost_hg_proto::Node;
use memchr::memmem;

/// Marks both ends of the metadata.
const MARKER: &[u8] = b"\x01\n";

/// The parts of a stored file text. What goes over the wire is the stored text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileText<'a> {
    /// The lines `key: value` of the metadata; `None` where there is none.
    pub metadata: Option<&'a [u8]>,
    /// The content of the file.
    pub content: &'a [u8],
}

impl<'a> FileText<'a> {
    /// Takes a stored text apart. A text that begins like metadata and does not
    /// end them is all content.
    pub fn parse(text: &'a [u8]) -> Self {
        let none = Self {
            metadata: None,
            content: text,
        };
        let Some(rest) = text.strip_prefix(MARKER) else {
            return none;
        };
        match memmem::find(rest, MARKER) {
            Some(end) => Self {
                metadata: Some(&rest[..end]),
                content: &rest[end + MARKER.len()..],
            },
            None => none,
        }
    }

    /// The value of a key of the metadata.
    pub fn value(&self, key: &str) -> Option<&'a [u8]> {
        let lines = self.metadata?.split(|&byte| byte == b'\n');
        let mut values =
            lines.filter_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b": "));
        values.next()
    }

    /// The file that this one was copied from, and its revision.
    pub fn copied_from(&self) -> Option<(&'a [u8], Node)> {
        let node = Node::from_hex(self.value("copyrev")?)?;
        Some((self.value("copy")?, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_names_its_source() {
        let hex = "1234567890123456789012345678901234567890";
        let text = format!("\x01\ncopy: old name\ncopyrev: {hex}\n\x01\ncontent\n");
        let text = FileText::parse(text.as_bytes());
        assert_eq!(text.content, b"content\n");
        assert_eq!(
            text.copied_from(),
            Some((&b"old name"[..], hex.parse().unwrap()))
        );
        assert_eq!(text.value("cop"), None);
    }

    #[test]
    fn a_content_that_looks_like_metadata_is_in_an_empty_frame() {
        let text = FileText::parse(b"\x01\n\x01\n\x01\nreal\n");
        assert_eq!(
            (text.metadata, text.content),
            (Some(&b""[..]), &b"\x01\nreal\n"[..])
        );
        assert_eq!(text.copied_from(), None);
    }

    #[test]
    fn metadata_without_an_end_is_content() {
        for whole in [&b"plain"[..], b"", b"\x01\ncopy: x", b"\x01"] {
            let text = FileText::parse(whole);
            assert_eq!((text.metadata, text.content), (None, whole));
        }
    }

    #[test]
    fn a_bad_copy_revision_is_no_copy() {
        let text = FileText::parse(b"\x01\ncopy: x\ncopyrev: 12\n\x01\n");
        assert_eq!(text.copied_from(), None);
        assert_eq!(text.value("copy"), Some(&b"x"[..]));
    }
}
