//! Repositories written for a test: a line of changesets, in revlogs that can
//! be damaged before they are written.

use std::collections::BTreeMap;
use std::path::Path;

use fingerpost_hg::Rev;
use fingerpost_hg::testing::{Packing, Revision, RevlogWriter, empty_repository};
use fingerpost_hg_proto::Node;

/// A repository before it is on disk.
pub(crate) struct Written {
    inline: bool,
    pub(crate) changelog: RevlogWriter,
    pub(crate) manifests: RevlogWriter,
    pub(crate) filelogs: BTreeMap<String, RevlogWriter>,
    tree: BTreeMap<String, Node>,
}

impl Written {
    /// Without changesets yet. `inline`: the data is in the indexes.
    pub(crate) fn new(inline: bool) -> Self {
        Self {
            inline,
            changelog: RevlogWriter::new(inline, true),
            manifests: RevlogWriter::new(inline, true),
            filelogs: BTreeMap::new(),
            tree: BTreeMap::new(),
        }
    }

    /// Adds a changeset that changes these files.
    pub(crate) fn commit(&mut self, files: &[(&str, &[u8])]) {
        let link = self.changelog.len() as u32;
        for (path, content) in files {
            let inline = self.inline;
            let filelog = self.filelogs.entry((*path).to_owned());
            let filelog = filelog.or_insert_with(|| RevlogWriter::new(inline, true));
            let node = add(filelog, content, link);
            self.tree.insert((*path).to_owned(), node);
        }
        let lines = self
            .tree
            .iter()
            .map(|(path, node)| format!("{path}\0{node}\n"));
        let manifest = add(
            &mut self.manifests,
            lines.collect::<String>().as_bytes(),
            link,
        );
        let paths = files.iter().map(|(path, _)| format!("{path}\n"));
        let paths: String = paths.collect();
        let text = format!("{manifest}\ntest\n{link} 0\n{paths}\nchangeset {link}");
        add(&mut self.changelog, text.as_bytes(), link);
    }

    /// Writes the repository into a directory.
    pub(crate) fn write(&self, root: &Path) {
        let store = empty_repository(root);
        for (path, filelog) in &self.filelogs {
            filelog.write_filelog(&store, path);
        }
        self.manifests.write(&store, "00manifest.i", "00manifest.d");
        self.changelog
            .write(&store, "00changelog.i", "00changelog.d");
    }

    /// The nodes of the changesets.
    pub(crate) fn changesets(&self) -> Vec<Node> {
        nodes(&self.changelog)
    }
}

/// The nodes of a revlog.
pub(crate) fn nodes(revlog: &RevlogWriter) -> Vec<Node> {
    let revs = (0..revlog.len()).filter_map(Rev::from_index);
    revs.map(|rev| revlog.node(rev)).collect()
}

/// Adds a child of the last revision, packed in another way than that one.
fn add(revlog: &mut RevlogWriter, text: &[u8], link: u32) -> Node {
    let packing = match revlog.len() % 4 {
        0 => Packing::Zstd,
        1 => Packing::Literal,
        2 => Packing::Zlib,
        _ => Packing::ZstdStream,
    };
    let revision = match revlog.len().checked_sub(1).and_then(Rev::from_index) {
        None => Revision::root(text, link),
        Some(parent) => Revision::child(parent, text, link),
    };
    let rev = revlog.add(Revision {
        packing,
        ..revision
    });
    revlog.node(rev)
}
