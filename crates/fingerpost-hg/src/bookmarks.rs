//! The file `bookmarks`.

use std::collections::BTreeMap;

use fingerpost_hg_proto::Node;

/// Bookmarks by name, as the file lists them: names on unknown and on filtered
/// changesets included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bookmarks(BTreeMap<Vec<u8>, Node>);

impl Bookmarks {
    /// Reads the content of `bookmarks`: a line for each, 40 hex digits, a space
    /// and the name. A line of another form is left out, as hg does with a
    /// warning; of two lines with one name the later counts.
    pub fn parse(bytes: &[u8]) -> Self {
        let lines = bytes.split(|byte| *byte == b'\n');
        Self(lines.filter_map(parse_line).collect())
    }

    /// Name and node of each, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Node)> + '_ {
        self.0.iter().map(|(name, node)| (&name[..], *node))
    }

    /// The node under this exact name.
    pub fn node(&self, name: &[u8]) -> Option<Node> {
        self.0.get(name).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether the name is that of a divergent bookmark, such as `x@default`, which
/// is a repository's own affair and never listed to clients. A lone `@` and any
/// name that ends in it are ordinary.
pub fn is_divergent(name: &[u8]) -> bool {
    name.contains(&b'@') && !name.ends_with(b"@")
}

fn parse_line(line: &[u8]) -> Option<(Vec<u8>, Node)> {
    let line = line.trim_ascii();
    let space = memchr::memchr(b' ', line)?;
    let node = Node::from_hex(&line[..space])?;
    let name = &line[space + 1..];
    (!name.is_empty()).then(|| (name.to_vec(), node))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "f01eb1639989329c659f6fae6edb3fdcc799ae06";
    const OTHER: &str = "243f35e561924fd4b75df5c266ffd3c90919c4ac";

    #[test]
    fn names_may_hold_spaces_and_any_byte() {
        let bytes = format!("{HEX} @\n{HEX} to do\n{OTHER} gr\u{fc}n\n").into_bytes();
        let bookmarks = Bookmarks::parse(&bytes);
        let names: Vec<&[u8]> = bookmarks.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [b"@", "gr\u{fc}n".as_bytes(), b"to do"]);
        assert_eq!(bookmarks.node(b"@").unwrap().to_string(), HEX);
    }

    #[test]
    fn other_lines_are_left_out_and_the_later_name_counts() {
        let text = format!("\nnonsense\n{HEX}\n{HEX} \nab x\n{HEX} x\n{OTHER} x");
        let bookmarks = Bookmarks::parse(text.as_bytes());
        assert_eq!(bookmarks.len(), 1);
        assert_eq!(bookmarks.node(b"x").unwrap().to_string(), OTHER);
    }

    #[test]
    fn divergent_names_are_told_by_their_at_sign() {
        assert!(is_divergent(b"x@default"));
        assert!(is_divergent(b"@1"));
        assert!(!is_divergent(b"@"));
        assert!(!is_divergent(b"x@"));
        assert!(!is_divergent(b"x"));
    }
}
