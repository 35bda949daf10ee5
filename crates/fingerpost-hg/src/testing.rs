//! Stores written for tests: revlogs in every layout, from nothing but texts.
//! Never for a server, which only reads.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fingerpost_hg_proto::Node;

use crate::revlog::Rev;
use crate::store::{Limits, PathEncoding, Store};
use crate::texts::hash;
use crate::verified::Verified;

/// What `hg` 6.0.3 requires of a new repository.
pub const REQUIRES: &str = "dotencode\nfncache\ngeneraldelta\nrevlog-compression-zstd\n\
                            revlogv1\nsparserevlog\nstore\n";

/// How a revision's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As they are, marked where they must be.
    Literal,
    /// A zlib stream.
    Zlib,
    /// A zstd frame that records its length.
    Zstd,
    /// A zstd frame that does not, as those of long texts.
    ZstdStream,
}

/// What a revision is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The full text.
    Full,
    /// A delta against an earlier revision.
    Delta(Rev),
}

/// A revision to write.
#[derive(Clone, Copy, Debug)]
pub struct Revision<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// Its parents.
    pub parents: [Option<Rev>; 2],
    /// Its link revision.
    pub link_rev: u32,
    /// Its flags.
    pub flags: u16,
    /// What it is stored as.
    pub stored: Stored,
    /// How that is packed.
    pub packing: Packing,
}

impl<'a> Revision<'a> {
    /// A root that is stored as its text, without flags.
    pub fn root(text: &'a [u8], link_rev: u32) -> Self {
        Self {
            text,
            parents: [None, None],
            link_rev,
            flags: 0,
            stored: Stored::Full,
            packing: Packing::Literal,
        }
    }

    /// A child of `parent` that is stored as a delta against it.
    pub fn child(parent: Rev, text: &'a [u8], link_rev: u32) -> Self {
        Self {
            parents: [Some(parent), None],
            stored: Stored::Delta(parent),
            ..Self::root(text, link_rev)
        }
    }
}

/// Writes a revlog in memory.
#[derive(Clone, Debug)]
pub struct RevlogWriter {
    inline: bool,
    general_delta: bool,
    texts: Vec<Vec<u8>>,
    nodes: Vec<Node>,
    bases: Vec<u32>,
    entries: Vec<[u8; 64]>,
    chunks: Vec<Vec<u8>>,
    data_len: usize,
}

impl RevlogWriter {
    /// An empty revlog. `inline`: the data is in the index.
    pub fn new(inline: bool, general_delta: bool) -> Self {
        Self {
            inline,
            general_delta,
            texts: Vec::new(),
            nodes: Vec::new(),
            bases: Vec::new(),
            entries: Vec::new(),
            chunks: Vec::new(),
            data_len: 0,
        }
    }

    /// How many revisions were added.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node of a revision that was added.
    pub fn node(&self, rev: Rev) -> Node {
        self.nodes[rev.index()]
    }

    /// The entries, to be damaged.
    pub fn entries_mut(&mut self) -> &mut [[u8; 64]] {
        &mut self.entries
    }

    /// The stored bytes, to be damaged.
    pub fn chunks_mut(&mut self) -> &mut [Vec<u8>] {
        &mut self.chunks
    }

    /// Adds a revision. Without general deltas a delta is against the revision
    /// before, whatever is asked for.
    pub fn add(&mut self, revision: Revision<'_>) -> Rev {
        let base = match revision.stored {
            Stored::Full => None,
            Stored::Delta(_) if !self.general_delta => Some(Rev(self.len() as u32 - 1)),
            Stored::Delta(base) => Some(base),
        };
        let bytes = match base {
            None => revision.text.to_vec(),
            Some(base) => delta(&self.texts[base.index()], revision.text),
        };
        self.add_stored(revision, base, &bytes)
    }

    /// Adds a revision that is stored as these bytes, right or not.
    pub fn add_stored(&mut self, revision: Revision<'_>, base: Option<Rev>, bytes: &[u8]) -> Rev {
        let rev = self.len() as u32;
        let node_of = |parent: Option<Rev>| parent.map_or(Node::NULL, |parent| self.node(parent));
        let node = hash(revision.parents.map(node_of), revision.text);
        let chunk = packed(bytes, revision.packing);
        let offset = self.data_len;
        let base_field = match base {
            None => rev,
            Some(base) if self.general_delta => base.0,
            Some(before) => self.bases[before.index()],
        };
        let parents = revision
            .parents
            .map(|parent| parent.map_or(u32::MAX, |parent| parent.0));
        let mut entry = Vec::with_capacity(64);
        entry.extend_from_slice(&((offset as u64) << 16 | u64::from(revision.flags)).to_be_bytes());
        let numbers = [
            chunk.len() as u32,
            revision.text.len() as u32,
            base_field,
            revision.link_rev,
        ];
        for number in numbers.into_iter().chain(parents) {
            entry.extend_from_slice(&number.to_be_bytes());
        }
        entry.extend_from_slice(node.as_bytes());
        entry.resize(64, 0);
        if rev == 0 {
            let flags = u32::from(self.inline) << 16 | u32::from(self.general_delta) << 17;
            entry[..4].copy_from_slice(&(flags | 1).to_be_bytes());
        }
        self.data_len += chunk.len();
        self.entries.push(entry.try_into().unwrap());
        self.chunks.push(chunk);
        self.texts.push(revision.text.to_vec());
        self.nodes.push(node);
        self.bases.push(base_field);
        Rev(rev)
    }

    /// The bytes of the index and of the data, which an inline revlog has none of.
    pub fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        if !self.inline {
            return (self.entries.concat(), self.chunks.concat());
        }
        let revisions = self.entries.iter().zip(&self.chunks);
        let index = revisions.flat_map(|(entry, chunk)| [entry.as_slice(), chunk].concat());
        (index.collect(), Vec::new())
    }

    /// Writes the revlog into the directory `store` under these names.
    pub fn write(&self, store: &Path, index_file: &str, data_file: &str) {
        let (index, data) = self.bytes();
        let path = store.join(index_file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !self.inline {
            fs::write(store.join(data_file), data).unwrap();
        }
        fs::write(path, index).unwrap();
    }

    /// Writes the revlog as the one of a tracked file.
    pub fn write_filelog(&self, store: &Path, path: &str) {
        let [index, data] = ["i", "d"].map(|suffix| {
            PathEncoding::Dotencode.encode(format!("data/{path}.{suffix}").as_bytes())
        });
        self.write(store, &index, &data);
    }
}

/// Makes a repository without revisions in a directory, and returns its
/// directory `store`.
pub fn empty_repository(dir: &Path) -> PathBuf {
    let store = dir.join(".hg/store");
    fs::create_dir_all(&store).unwrap();
    fs::write(dir.join(".hg/requires"), REQUIRES).unwrap();
    store
}

/// Opens the store of the repository in a directory, with a memory of its own.
pub fn open_store(dir: &Path) -> Store {
    Store::open(&dir.join(".hg"), None, Limits::default(), Arc::default()).unwrap()
}

/// Unpacks one of the recorded repositories, `sample-dothg` or `censored`,
/// into a directory.
pub fn unpack_fixture(name: &str, dir: &Path) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let tar = fixtures.join(format!("hg-v2-examples/{name}.tar"));
    let status = Command::new("tar")
        .arg("-xf")
        .arg(tar)
        .arg("-C")
        .arg(dir)
        .status();
    assert!(status.unwrap().success(), "tar cannot unpack {name}");
}

/// A memory of verified revisions that is not the process's.
pub fn fresh_memory() -> Arc<Verified> {
    Arc::default()
}

/// A delta of whole lines: a replacement for each run of lines that differ if
/// both texts have the same number of lines, one replacement otherwise.
pub fn delta(base: &[u8], text: &[u8]) -> Vec<u8> {
    fn lines(text: &[u8]) -> Vec<&[u8]> {
        text.split_inclusive(|&byte| byte == b'\n').collect()
    }
    let (old, new) = (lines(base), lines(text));
    if old.len() == new.len() {
        return delta_of_runs(&old, &new);
    }
    let same = |(old, new): &(&&[u8], &&[u8])| old == new;
    let head = old.iter().zip(&new).take_while(same).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let ends = old_rest.iter().rev().zip(new_rest.iter().rev());
    let tail = ends.take_while(same).count();
    let start = old[..head].concat().len();
    let end = base.len() - old_rest[old_rest.len() - tail..].concat().len();
    hunk(start, end, &new_rest[..new_rest.len() - tail].concat())
}

fn delta_of_runs(old: &[&[u8]], new: &[&[u8]]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    let pairs: Vec<_> = old.iter().zip(new).collect();
    for run in pairs.chunk_by(|one, other| (one.0 == one.1) == (other.0 == other.1)) {
        let end = at + run.iter().map(|(old, _)| old.len()).sum::<usize>();
        if run.iter().any(|(old, new)| old != new) {
            let data: Vec<u8> = run
                .iter()
                .flat_map(|(_, new)| new.iter().copied())
                .collect();
            out.extend(hunk(at, end, &data));
        }
        at = end;
    }
    out
}

/// One replacement of a delta.
pub fn hunk(start: usize, end: usize, data: &[u8]) -> Vec<u8> {
    let numbers = [start, end, data.len()].map(|number| (number as u32).to_be_bytes());
    [&numbers.concat(), data].concat()
}

fn packed(bytes: &[u8], packing: Packing) -> Vec<u8> {
    match (packing, bytes.first()) {
        (_, None) => Vec::new(),
        (Packing::Literal, Some(0)) => bytes.to_vec(),
        (Packing::Literal, Some(_)) => [b"u", bytes].concat(),
        (Packing::Zlib, _) => {
            let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            zlib.write_all(bytes).unwrap();
            zlib.finish().unwrap()
        }
        (Packing::Zstd, _) => zstd::bulk::compress(bytes, 3).unwrap(),
        (Packing::ZstdStream, _) => {
            let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            zstd.write_all(bytes).unwrap();
            zstd.finish().unwrap()
        }
    }
}
