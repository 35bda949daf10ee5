//! The persistent nodemap: a tree on disk from nodes to revisions.
//!
//! `00changelog.n` says which file `00changelog-{id}.nd` is the tree, how long
//! it is, and up to which revision it goes. The tree is blocks of 16 signed
//! 32 bit integers, one for each hex digit, the root last: -1 is nothing, a
//! number from zero on is another block, and one below -1 is a revision, -2 the
//! first.
//!
//! It saves building a table in memory, which takes some milliseconds for a
//! hundred thousand revisions. Nothing depends on its being right: what it
//! finds is compared, and what it does not find is looked up in the table.

use std::fs::File;
use std::os::unix::fs::FileExt;

use fingerpost_hg_proto::Node;

use super::{Rev, Revlog};
use crate::store::{Store, read_new};

/// The version of the format.
const VERSION: u8 = 1;
/// The longest docket that is read, in bytes.
const DOCKET_BYTES_MAX: u64 = 512;
const BLOCK_BYTES: u64 = 64;

/// An opened nodemap. It is read in place, four bytes for each digit.
#[derive(Debug)]
pub(crate) struct NodeMap {
    file: File,
    /// How many blocks there are.
    blocks: u64,
}

/// What the docket says.
#[derive(Debug, PartialEq, Eq)]
struct Docket<'a> {
    id: &'a str,
    tip: u64,
    tip_node: Node,
    /// Length of the tree in bytes.
    bytes: u64,
}

impl NodeMap {
    /// Opens the nodemap of a revlog of this name, `00changelog` or
    /// `00manifest`; `None` if there is none or it is not of this revlog.
    pub(crate) fn open(store: &Store, name: &str, revlog: &Revlog) -> Option<Self> {
        let file = store.open_file(&format!("{name}.n")).ok()??;
        let len = file.stamp.size.min(DOCKET_BYTES_MAX);
        let docket = read_new(&file.file, len as usize, 0).ok()?;
        let docket = Docket::parse(&docket)?;
        let tip = revlog.checked(u32::try_from(docket.tip).ok()?)?;
        if revlog.node(tip) != docket.tip_node {
            return None;
        }
        let tree = store
            .open_file(&format!("{name}-{}.nd", docket.id))
            .ok()??;
        (docket.bytes <= tree.stamp.size).then_some(Self {
            file: tree.file,
            blocks: docket.bytes / BLOCK_BYTES,
        })
    }

    /// The revision that the tree has for a node: that of the node, if it is
    /// there, or of any other.
    pub(crate) fn candidate(&self, node: &Node) -> Option<Rev> {
        let mut block = self.blocks.checked_sub(1)?;
        let digits = node
            .as_bytes()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 0xf]);
        for digit in digits {
            let at = block * BLOCK_BYTES + 4 * u64::from(digit);
            let mut number = [0; 4];
            self.file.read_exact_at(&mut number, at).ok()?;
            match i32::from_be_bytes(number) {
                -1 => return None,
                number if number < -1 => return Some(Rev((-2 - number).unsigned_abs())),
                number => block = u64::from(number.unsigned_abs()),
            }
            if block >= self.blocks {
                return None;
            }
        }
        None
    }
}

impl<'a> Docket<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, id_len], rest) = bytes.split_first_chunk()?;
        let (numbers, rest) = rest.split_first_chunk::<32>()?;
        let (tip, numbers) = numbers.split_first_chunk()?;
        let (len, numbers) = numbers.split_first_chunk()?;
        let node_len = numbers.last_chunk()?;
        let (id, rest) = rest.split_at_checked(usize::from(id_len))?;
        let node_len = usize::try_from(u64::from_be_bytes(*node_len)).ok()?;
        let docket = Self {
            id: std::str::from_utf8(id).ok()?,
            tip: u64::from_be_bytes(*tip),
            tip_node: Node::from_slice(rest.get(..node_len)?)?,
            bytes: u64::from_be_bytes(*len),
        };
        // The id becomes part of a file's name.
        let is_name = !id.is_empty() && id.iter().all(u8::is_ascii_alphanumeric);
        let is_whole = docket.bytes.is_multiple_of(BLOCK_BYTES);
        (version == VERSION && is_name && is_whole).then_some(docket)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::revlog::RevlogName;
    use crate::testing::{REQUIRES, Revision, RevlogWriter, empty_repository, open_store};

    /// Blocks of the tree over these revisions, the root last; what begins with
    /// the same digits shares blocks.
    fn add_block(nodes: &[(Rev, Node)], depth: usize, out: &mut Vec<[i32; 16]>) -> i32 {
        let mut block = [-1; 16];
        for (number, wanted) in block.iter_mut().zip(b"0123456789abcdef") {
            let byte = |node: &Node| node.to_hex()[depth];
            let below: Vec<_> = nodes
                .iter()
                .filter(|(_, node)| byte(node) == *wanted)
                .copied()
                .collect();
            *number = match below[..] {
                [] => -1,
                [(rev, _)] => -2 - rev.0 as i32,
                _ => add_block(&below, depth + 1, out),
            };
        }
        out.push(block);
        out.len() as i32 - 1
    }

    /// A changelog in a store, with a nodemap up to `mapped` revisions.
    fn mapped(dir: &Path, len: u32, mapped: u32) -> RevlogWriter {
        let store = empty_repository(dir);
        let requires = format!("{REQUIRES}persistent-nodemap\n");
        fs::write(dir.join(".hg/requires"), requires).unwrap();
        let mut writer = RevlogWriter::new(false, true);
        let text = |rev: u32| format!("changeset {rev}");
        for rev in 0..len {
            writer.add(Revision::root(text(rev).as_bytes(), rev));
        }
        writer.write(&store, "00changelog.i", "00changelog.d");
        let nodes: Vec<_> = (0..mapped)
            .map(|rev| (Rev(rev), writer.node(Rev(rev))))
            .collect();
        let mut blocks = Vec::new();
        add_block(&nodes, 0, &mut blocks);
        let tree: Vec<u8> = blocks
            .concat()
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
        let mut docket = vec![VERSION, 8];
        let numbers = [u64::from(mapped - 1), tree.len() as u64, 0, 20];
        docket.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        docket.extend(b"0123abcd");
        docket.extend(nodes.last().unwrap().1.as_bytes());
        fs::write(store.join("00changelog.n"), docket).unwrap();
        fs::write(store.join("00changelog-0123abcd.nd"), tree).unwrap();
        writer
    }

    #[test]
    fn every_node_is_found_without_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let writer = mapped(dir.path(), 300, 300);
        let revlog = Revlog::open(&open_store(dir.path()), RevlogName::Changelog).unwrap();
        for rev in revlog.revs() {
            assert_eq!(revlog.rev(&writer.node(rev)), Some(rev));
        }
        assert!(!revlog.index.has_table());
        assert_eq!(revlog.rev(&Node::from_bytes([7; 20])), None);
    }

    #[test]
    fn later_revisions_are_found_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let writer = mapped(dir.path(), 300, 200);
        let revlog = Revlog::open(&open_store(dir.path()), RevlogName::Changelog).unwrap();
        assert_eq!(revlog.rev(&writer.node(Rev(150))), Some(Rev(150)));
        assert!(!revlog.index.has_table());
        assert_eq!(revlog.rev(&writer.node(Rev(250))), Some(Rev(250)));
    }

    #[test]
    fn a_damaged_map_changes_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let writer = mapped(dir.path(), 100, 100);
        let store = dir.path().join(".hg/store");
        for name in ["00changelog.n", "00changelog-0123abcd.nd"] {
            let whole = fs::read(store.join(name)).unwrap();
            for at in (0..whole.len()).step_by(whole.len() / 60 + 1) {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x11;
                damaged.truncate(whole.len() - at % 2);
                fs::write(store.join(name), damaged).unwrap();
                let revlog = Revlog::open(&open_store(dir.path()), RevlogName::Changelog).unwrap();
                for rev in revlog.revs() {
                    assert_eq!(
                        revlog.rev(&writer.node(rev)),
                        Some(rev),
                        "{name}: byte {at}"
                    );
                }
            }
            fs::write(store.join(name), whole).unwrap();
        }
    }

    #[test]
    fn a_docket_of_mercurial_is_read() {
        // Of a repository of 3,000 changesets by 6.0.3.
        let hex = "01080000000000000bb70000000000010d4000000000000000000000000000000014\
                   353562303764636371807fc18435c47f452f541644a55f8474578519";
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let docket = Docket::parse(&bytes).unwrap();
        let tip_node = "71807fc18435c47f452f541644a55f8474578519".parse().unwrap();
        let expected = Docket {
            id: "55b07dcc",
            tip: 2999,
            tip_node,
            bytes: 68928,
        };
        assert_eq!(docket, expected);
        for len in 0..bytes.len() {
            assert_eq!(Docket::parse(&bytes[..len]), None);
        }
    }

    #[test]
    fn an_id_cannot_leave_the_store() {
        let mut docket = vec![VERSION, 8];
        docket.extend([0_u8; 31]);
        docket.push(20);
        docket.extend(b"../../xx");
        docket.extend([0; 20]);
        assert_eq!(Docket::parse(&docket), None);
    }
}
