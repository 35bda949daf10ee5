//! The file `obsstore`: which changesets were replaced by others.

use fingerpost_hg_proto::Node;
use hashbrown::HashSet;

/// Flag of a version 1 marker whose nodes are SHA-256 hashes.
const FLAG_SHA256: u16 = 2;
/// Number of parents that says that none were recorded.
const PARENTS_NOT_RECORDED: u8 = 3;
/// Fixed part of a version 1 marker: size, date, time zone, flags, counts.
const FIXED_V1: usize = 4 + 8 + 2 + 2 + 3;
/// Fixed part of a version 0 marker: count, size of the metadata, flags, predecessor.
const FIXED_V0: usize = 1 + 4 + 1 + Node::BYTES;

/// The file breaks its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObsstoreError {
    /// The first byte is no version that is known.
    #[error("version {0} is not supported")]
    Version(u8),
    /// A marker says that it is shorter than its parts are.
    #[error("the marker at byte {0} is shorter than its parts")]
    Marker(u64),
}

/// The predecessors in the markers read so far. The file only grows, and so
/// does this: [`Obsstore::extend`] takes the next bytes however they are cut.
#[derive(Clone, Debug, Default)]
pub struct Obsstore {
    predecessors: HashSet<Node>,
    version: Option<Version>,
    /// Bytes of the file that were understood: up to the last whole marker.
    parsed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V0,
    V1,
}

impl Obsstore {
    /// The predecessors in a whole file. A last marker that is not all there is
    /// left out: it is being written.
    pub fn parse(bytes: &[u8]) -> Result<Self, ObsstoreError> {
        let mut store = Self::default();
        store.extend(bytes)?;
        Ok(store)
    }

    /// Reads on. `bytes` are those of the file from [`Obsstore::parsed`] on;
    /// markers that are not all there are not taken, and are to be given again.
    pub fn extend(&mut self, mut bytes: &[u8]) -> Result<(), ObsstoreError> {
        if self.version.is_none() {
            let Some((version, rest)) = bytes.split_first() else {
                return Ok(());
            };
            self.version = Some(match version {
                0 => Version::V0,
                1 => Version::V1,
                other => return Err(ObsstoreError::Version(*other)),
            });
            self.parsed = 1;
            bytes = rest;
        }
        while let Some((predecessor, size)) = self.marker(bytes)? {
            self.predecessors.extend(predecessor);
            self.parsed += size as u64;
            bytes = &bytes[size..];
        }
        Ok(())
    }

    /// Whether some marker replaces this changeset.
    pub fn is_predecessor(&self, node: &Node) -> bool {
        self.predecessors.contains(node)
    }

    /// Whether there is no marker.
    pub fn is_empty(&self) -> bool {
        self.predecessors.is_empty()
    }

    /// How many bytes of the file were understood.
    pub const fn parsed(&self) -> u64 {
        self.parsed
    }

    /// The first marker in `bytes`: its predecessor, if it is a SHA-1 node, and
    /// its size, which is never zero. `None` when it is not all there.
    fn marker(&self, bytes: &[u8]) -> Result<Option<(Option<Node>, usize)>, ObsstoreError> {
        match self.version {
            Some(Version::V1) => self.marker_v1(bytes),
            Some(Version::V0) => Ok(marker_v0(bytes)),
            None => Ok(None),
        }
    }

    fn marker_v1(&self, bytes: &[u8]) -> Result<Option<(Option<Node>, usize)>, ObsstoreError> {
        let too_short = ObsstoreError::Marker(self.parsed);
        let Some(size) = u32_at(bytes, 0) else {
            return Ok(None);
        };
        if size < FIXED_V1 {
            return Err(too_short);
        }
        let Some(marker) = bytes.get(..size) else {
            return Ok(None);
        };
        let flags = u16::from_be_bytes([marker[14], marker[15]]);
        let [successors, parents, texts] = [marker[16], marker[17], marker[18]].map(usize::from);
        let parents = match parents == usize::from(PARENTS_NOT_RECORDED) {
            true => 0,
            false => parents,
        };
        let sha256 = flags & FLAG_SHA256 != 0;
        let node_bytes = if sha256 { 32 } else { Node::BYTES };
        let nodes_end = FIXED_V1 + node_bytes * (1 + successors + parents);
        let lengths = marker
            .get(nodes_end..nodes_end + 2 * texts)
            .ok_or(too_short)?;
        let texts_bytes: usize = lengths.iter().copied().map(usize::from).sum();
        if nodes_end + 2 * texts + texts_bytes > size {
            return Err(too_short);
        }
        let predecessor = Node::from_slice(&marker[FIXED_V1..FIXED_V1 + node_bytes]);
        Ok(Some((predecessor, size)))
    }
}

/// A version 0 marker cannot contradict itself: every part has its length.
fn marker_v0(bytes: &[u8]) -> Option<(Option<Node>, usize)> {
    let successors = usize::from(*bytes.first()?);
    let metadata = u32_at(bytes, 1)?;
    let size = (FIXED_V0 + Node::BYTES * successors).checked_add(metadata)?;
    let marker = bytes.get(..size)?;
    Some((Node::from_slice(&marker[6..FIXED_V0]), size))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(number)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::world::marker_v1;

    fn node(first: u8) -> Node {
        Node::from_bytes([first; 20])
    }

    fn marker_v0(predecessor: Node, successors: &[Node], metadata: &[u8]) -> Vec<u8> {
        let mut marker = vec![u8::try_from(successors.len()).unwrap()];
        marker.extend(u32::try_from(metadata.len()).unwrap().to_be_bytes());
        marker.push(0);
        marker.extend(predecessor.as_bytes());
        for successor in successors {
            marker.extend(successor.as_bytes());
        }
        marker.extend(metadata);
        marker
    }

    #[test]
    fn a_marker_written_by_hg_is_read() {
        // `hg debugobsolete` 6.0.3 with recorded parents and a user.
        let hex = "010000005840911c000000000000000000000101d38e2bcf174d0d60c56dc7c5 \
                   add818817cff226f804c11cbe204fedd37687379d158f07efb8cd33204177573 \
                   657254657374203c74657374406578616d706c652e636f6d3e";
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let store = Obsstore::parse(&bytes).unwrap();
        let pruned: Node = "d38e2bcf174d0d60c56dc7c5add818817cff226f".parse().unwrap();
        assert!(store.is_predecessor(&pruned));
        assert_eq!(store.predecessors.len(), 1);
        assert_eq!(store.parsed(), bytes.len() as u64);
    }

    #[test]
    fn a_torn_last_marker_is_left_out_until_it_is_whole() {
        let first = [vec![1], marker_v1(node(1), &[node(2)])].concat();
        let whole = [first.clone(), marker_v1(node(3), &[])].concat();
        for end in first.len()..whole.len() {
            let mut store = Obsstore::parse(&whole[..end]).unwrap();
            assert!(store.is_predecessor(&node(1)));
            assert!(!store.is_predecessor(&node(3)));
            assert_eq!(store.parsed(), first.len() as u64);
            store.extend(&whole[first.len()..]).unwrap();
            assert!(store.is_predecessor(&node(3)));
        }
    }

    #[test]
    fn version_0_is_read() {
        let bytes = [
            vec![0],
            marker_v0(node(1), &[node(2), node(3)], b"user:x"),
            marker_v0(node(4), &[], b""),
        ]
        .concat();
        let store = Obsstore::parse(&bytes).unwrap();
        assert!(store.is_predecessor(&node(1)));
        assert!(store.is_predecessor(&node(4)));
        assert!(!store.is_predecessor(&node(2)));
        let torn = Obsstore::parse(&bytes[..bytes.len() - 1]).unwrap();
        assert!(!torn.is_predecessor(&node(4)));
    }

    #[test]
    fn no_file_and_an_empty_file_have_no_markers() {
        assert!(Obsstore::parse(b"").unwrap().is_empty());
        assert!(Obsstore::parse(&[1]).unwrap().is_empty());
    }

    #[test]
    fn an_unknown_version_and_a_marker_too_short_are_errors() {
        assert_eq!(
            Obsstore::parse(&[2]).unwrap_err(),
            ObsstoreError::Version(2)
        );
        let mut bytes = [vec![1], marker_v1(node(1), &[node(2)])].concat();
        bytes[1 + 16] = 5;
        assert_eq!(
            Obsstore::parse(&bytes).unwrap_err(),
            ObsstoreError::Marker(1)
        );
        let zero = [1, 0, 0, 0, 0];
        assert_eq!(
            Obsstore::parse(&zero).unwrap_err(),
            ObsstoreError::Marker(1)
        );
    }

    #[test]
    fn nodes_of_another_hash_are_skipped() {
        let mut marker = marker_v1(node(1), &[]);
        marker.extend([9; 12]);
        marker[15] = 2;
        let size = u32::try_from(marker.len()).unwrap();
        marker[..4].copy_from_slice(&size.to_be_bytes());
        let store = Obsstore::parse(&[vec![1], marker].concat()).unwrap();
        assert!(store.is_empty());
    }

    proptest! {
        #[test]
        fn any_cut_reads_the_same(bytes in prop::collection::vec(any::<u8>(), 0..120),
                                  version in 0_u8..3, good in 0_u8..4, cut in 0_usize..400) {
            let mut file = vec![version];
            for at in 0..good {
                file.extend(match version {
                    0 => marker_v0(node(at), &[node(9)], b"a:b"),
                    _ => marker_v1(node(at), &[node(9)]),
                });
            }
            file.extend(bytes);
            let whole = Obsstore::parse(&file);
            let cut = cut.min(file.len());
            let pieces = Obsstore::parse(&file[..cut]).and_then(|mut store| {
                let from = usize::try_from(store.parsed()).unwrap();
                store.extend(&file[from..]).map(|()| store)
            });
            match (whole, pieces) {
                (Ok(whole), Ok(pieces)) => {
                    prop_assert_eq!(whole.parsed(), pieces.parsed());
                    prop_assert_eq!(whole.predecessors, pieces.predecessors);
                }
                (whole, pieces) => prop_assert_eq!(whole.err(), pieces.err()),
            }
        }
    }
}
