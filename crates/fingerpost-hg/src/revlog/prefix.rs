//! Looking nodes up by the beginning of their hex digits.

use fingerpost_hg_proto::Node;

use super::{Rev, Revlog};

/// The beginning of a node: 1 to 40 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePrefix {
    /// The digits, and zeros after them.
    bytes: [u8; Node::BYTES],
    digits: usize,
}

impl NodePrefix {
    /// Reads 1 to 40 hex digits of either case; `None` for anything else.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        let mut padded = [b'0'; 2 * Node::BYTES];
        padded.get_mut(..hex.len())?.copy_from_slice(hex);
        let bytes = *Node::from_hex(&padded)?.as_bytes();
        let digits = hex.len();
        (digits > 0).then_some(Self { bytes, digits })
    }

    /// Whether a node begins with these digits.
    pub fn matches(&self, node: &Node) -> bool {
        let whole = self.digits / 2;
        let node = node.as_bytes();
        node[..whole] == self.bytes[..whole]
            && (self.digits.is_multiple_of(2) || (node[whole] ^ self.bytes[whole]) < 0x10)
    }
}

impl Revlog {
    /// The revisions whose nodes begin with these digits, in ascending order.
    /// It looks at every node, some milliseconds for a million of them.
    pub fn revs_with_prefix(&self, prefix: NodePrefix) -> impl Iterator<Item = Rev> {
        self.revs()
            .filter(move |rev| prefix.matches(&self.node(*rev)))
    }
}
