//! Texts of files as they are stored: with metadata in front, where there is any.

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_in_front_of_the_content() {
        let text = FileText::parse(b"\x01\ncopy: old name\n\x01\ncontent\n");
        assert_eq!(text.metadata, Some(&b"copy: old name\n"[..]));
        assert_eq!(text.content, b"content\n");
    }

    #[test]
    fn a_content_that_looks_like_metadata_is_in_an_empty_frame() {
        let text = FileText::parse(b"\x01\n\x01\n\x01\nreal\n");
        assert_eq!(
            (text.metadata, text.content),
            (Some(&b""[..]), &b"\x01\nreal\n"[..])
        );
    }

    #[test]
    fn metadata_without_an_end_is_content() {
        for whole in [&b"plain"[..], b"", b"\x01\ncopy: x", b"\x01"] {
            let text = FileText::parse(whole);
            assert_eq!((text.metadata, text.content), (None, whole));
        }
    }
}
