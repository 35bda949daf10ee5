//! Manifests: which files, in which revisions, a changeset has.
//!
//! A manifest is lines, sorted by path: `{path}\0{40 hex digits}{flag}\n`.

use std::cmp::Ordering;

use fingerpost_hg_proto::Node;
use memchr::{memchr, memrchr};

mod chains;
mod lookup;
mod tree;

pub(crate) use chains::{ChainVerifier, Witness};
pub use lookup::manifest_entries;
pub use tree::{EachFile, Manifests, TREE_DEPTH_MAX};

/// Length of a node's text in bytes.
const HEX_BYTES: usize = 2 * Node::BYTES;

/// What kind of file an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestFlag {
    /// A plain file.
    Plain,
    /// An executable file, `x`.
    Executable,
    /// A symbolic link, `l`.
    Symlink,
    /// A directory with a manifest of its own, `t`.
    Tree,
}

impl ManifestFlag {
    /// The flag as it is in a manifest, none or one byte.
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Plain => b"",
            Self::Executable => b"x",
            Self::Symlink => b"l",
            Self::Tree => b"t",
        }
    }
}

/// One line of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestEntry<'a> {
    /// The path, relative to the directory whose manifest it is.
    pub path: &'a [u8],
    /// The revision of the file or of the directory's manifest.
    pub node: Node,
    /// What it is.
    pub flag: ManifestFlag,
}

/// What is wrong with a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A line is not of the form.
    #[error("it has a line that is no manifest entry")]
    Line,
    /// A path does not come after the one before it.
    #[error("its paths are not in order")]
    Order,
}

/// The entries of a manifest in order, each checked as it comes.
#[derive(Clone, Debug)]
pub struct ManifestEntries<'a> {
    rest: &'a [u8],
    last: Option<&'a [u8]>,
}

/// The entries of a manifest's text.
pub fn parse_manifest(text: &[u8]) -> ManifestEntries<'_> {
    ManifestEntries {
        rest: text,
        last: None,
    }
}

impl<'a> ManifestEntries<'a> {
    fn take(&mut self) -> Result<ManifestEntry<'a>, ManifestError> {
        let (entry, rest) = take_line(self.rest).ok_or(ManifestError::Line)?;
        if self.last.is_some_and(|last| last >= entry.path) {
            return Err(ManifestError::Order);
        }
        (self.rest, self.last) = (rest, Some(entry.path));
        Ok(entry)
    }
}

impl<'a> Iterator for ManifestEntries<'a> {
    type Item = Result<ManifestEntry<'a>, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.take();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

/// Takes one line off the front.
fn take_line(text: &[u8]) -> Option<(ManifestEntry<'_>, &[u8])> {
    let (path, rest) = text.split_at_checked(memchr(0, text)?)?;
    let (hex, rest) = rest.get(1..)?.split_at_checked(HEX_BYTES)?;
    let (flag, rest) = match rest {
        [b'\n', rest @ ..] => (ManifestFlag::Plain, rest),
        [b'x', b'\n', rest @ ..] => (ManifestFlag::Executable, rest),
        [b'l', b'\n', rest @ ..] => (ManifestFlag::Symlink, rest),
        [b't', b'\n', rest @ ..] => (ManifestFlag::Tree, rest),
        _ => return None,
    };
    let node = Node::from_hex(hex)?;
    if path.is_empty() || memchr(b'\n', path).is_some() {
        return None;
    }
    Some((ManifestEntry { path, node, flag }, rest))
}

/// Looks one path up in a manifest's text, which is sorted. It looks at few
/// lines, and only those are checked.
///
/// # Errors
///
/// Returns an error if one of these lines is not of the form.
pub fn find_in_manifest<'a>(
    text: &'a [u8],
    path: &[u8],
) -> Result<Option<ManifestEntry<'a>>, ManifestError> {
    let (mut low, mut high) = (0, text.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = memrchr(b'\n', &text[low..middle]).map_or(low, |at| low + at + 1);
        let (entry, rest) = take_line(&text[start..]).ok_or(ManifestError::Line)?;
        match entry.path.cmp(path) {
            Ordering::Equal => return Ok(Some(entry)),
            Ordering::Less => low = text.len() - rest.len(),
            Ordering::Greater => high = start,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
