//! The identity of a revision.

use std::fmt;
use std::str::FromStr;

/// A node: 20 bytes, the SHA-1 of a revision's parents and text. Its text form
/// is 40 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node([u8; 20]);

impl Node {
    /// Length in bytes.
    pub const BYTES: usize = 20;
    /// The null node: the parent of a root, 20 zero bytes.
    pub const NULL: Self = Self([0; 20]);

    /// The node of these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Reads a node of exactly 20 raw bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads 40 hex digits of either case; `None` for anything else.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let mut bytes = [0; 20];
        (hex.len() == 40 && faster_hex::hex_decode(hex, &mut bytes).is_ok()).then_some(Self(bytes))
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The 40 lower-case hex digits.
    pub fn to_hex(self) -> [u8; 40] {
        let mut hex = [0; 40];
        faster_hex::hex_encode(&self.0, &mut hex).expect("40 digits hold 20 bytes");
        hex
    }

    /// Whether this is the null node.
    pub fn is_null(&self) -> bool {
        *self == Self::NULL
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.to_hex();
        f.write_str(std::str::from_utf8(&hex).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({self})")
    }
}

/// The text is no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no node: 40 hex digits are one")]
pub struct ParseNodeError(pub String);

impl FromStr for Node {
    type Err = ParseNodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_hex(text.as_bytes()).ok_or_else(|| ParseNodeError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_both_ways() {
        let text = "ab6f6465b68b31ae30e4c3be9b7a36403a275cb3";
        let node: Node = text.parse().unwrap();
        assert_eq!(node.to_string(), text);
        assert_eq!(Node::from_hex(text.to_uppercase().as_bytes()), Some(node));
        assert_eq!(Node::from_slice(node.as_bytes()), Some(node));
    }

    #[test]
    fn other_lengths_are_no_nodes() {
        assert_eq!(Node::from_hex(b"ab"), None);
        assert_eq!(Node::from_hex(&[b'g'; 40]), None);
        assert_eq!(Node::from_slice(&[0; 19]), None);
        assert!("".parse::<Node>().is_err());
    }
}
