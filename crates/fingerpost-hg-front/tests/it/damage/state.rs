//! Damage to what makes changesets secret or hidden.
//!
//! None of these files has a checksum, so what is damaged into something that
//! is right in form is believed, as hg believes it: a root of another phase, a
//! root or a marker of a changeset that does not exist, and a file that ends
//! between two entries. Everything else must be refused. The model here is
//! written anew, from the formats' description, and says which is which.

use std::collections::BTreeSet;

use fingerpost_hg::{Limits, Rev, Revlog};
use fingerpost_hg_proto::Node;

use super::faults::Fault;
use super::runner::Subject;
use crate::world::World;

/// The changesets of a repository, served or not.
struct History(Revlog);

impl History {
    fn of(subject: &Subject) -> Self {
        let bytes = std::fs::read(subject.dot_hg().join("store/00changelog.i")).unwrap();
        Self(Revlog::from_bytes("00changelog.i", bytes, Vec::new(), Limits::default()).unwrap())
    }

    fn nodes(&self) -> Vec<Node> {
        self.0.revs().map(|rev| self.0.node(rev)).collect()
    }

    /// Those of `revs` and all that descend from them.
    fn descendants(&self, mut revs: BTreeSet<Rev>) -> BTreeSet<Rev> {
        for rev in self.0.revs() {
            let mut parents = self.0.parents(rev).into_iter().flatten();
            if parents.any(|parent| revs.contains(&parent)) {
                revs.insert(rev);
            }
        }
        revs
    }

    fn ancestors(&self, mut revs: BTreeSet<Rev>) -> BTreeSet<Rev> {
        for rev in self.0.revs().rev() {
            if revs.contains(&rev) {
                revs.extend(self.0.parents(rev).into_iter().flatten());
            }
        }
        revs
    }

    /// The changesets that are served by these files; `None` if one of them is
    /// no file of its format.
    fn served(
        &self,
        phaseroots: &[u8],
        obsstore: &[u8],
        bookmarks: &[u8],
    ) -> Option<BTreeSet<Node>> {
        let roots = roots(phaseroots)?;
        let obsolete = predecessors(obsstore)?;
        let of_phase = |from: u8| {
            let roots = roots.iter().filter(|(phase, _)| *phase >= from);
            let revs = roots.filter_map(|(_, node)| self.0.rev(node));
            self.descendants(revs.collect())
        };
        let (mutable, secret, archived) = (of_phase(1), of_phase(2), of_phase(32));
        let pinned: BTreeSet<Rev> = marked(bookmarks)
            .iter()
            .filter_map(|node| self.0.rev(node))
            .collect();
        let hideable = |rev: &Rev| {
            let is_obsolete = obsolete.contains(&self.0.node(*rev)) || archived.contains(rev);
            is_obsolete && !pinned.contains(rev)
        };
        let (hidden, visible): (BTreeSet<_>, BTreeSet<_>) =
            mutable.iter().copied().partition(hideable);
        let shown = self.ancestors(visible);
        let is_served =
            |rev: &Rev| !secret.contains(rev) && (!hidden.contains(rev) || shown.contains(rev));
        Some(
            self.0
                .revs()
                .filter(is_served)
                .map(|rev| self.0.node(rev))
                .collect(),
        )
    }
}

fn node_of(hex: &[u8]) -> Option<Node> {
    let is_hex = hex.len() == 40 && hex.iter().all(u8::is_ascii_hexdigit);
    is_hex
        .then(|| Node::from_hex(&hex.to_ascii_lowercase()))
        .flatten()
}

/// Phase and node of each line.
fn roots(file: &[u8]) -> Option<Vec<(u8, Node)>> {
    let lines = file
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let root = |line: &[u8]| {
        let text = std::str::from_utf8(line).ok()?;
        let (phase, node) = text.split_once(' ')?;
        let phase = ["0", "1", "2", "32", "96"]
            .iter()
            .find(|known| **known == phase)?;
        Some((
            phase.parse().unwrap(),
            node_of(node.trim_ascii_end().as_bytes())?,
        ))
    };
    lines.map(root).collect()
}

/// The predecessors in version 1 markers that are all there.
fn predecessors(file: &[u8]) -> Option<BTreeSet<Node>> {
    let mut found = BTreeSet::new();
    let Some((version, mut rest)) = file.split_first() else {
        return Some(found);
    };
    if *version == 0 {
        // Lengths of a version 1 file read as those of version 0 end anywhere.
        return predecessors_v0(rest);
    }
    if *version != 1 {
        return None;
    }
    while !rest.is_empty() {
        let size = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let marker = rest.get(..size).filter(|marker| marker.len() >= 19)?;
        let node_bytes = if marker[15] & 2 != 0 { 32 } else { 20 };
        let [successors, parents, texts] = [marker[16], marker[17], marker[18]].map(usize::from);
        let parents = if parents == 3 { 0 } else { parents };
        let nodes = 19 + node_bytes * (1 + successors + parents);
        let lengths = marker.get(nodes..nodes + 2 * texts)?;
        let bytes: usize = lengths.iter().map(|len| usize::from(*len)).sum();
        marker.get(nodes + 2 * texts + bytes..)?;
        found.extend(Node::from_slice(&marker[19..19 + node_bytes]));
        rest = &rest[size..];
    }
    Some(found)
}

fn predecessors_v0(mut rest: &[u8]) -> Option<BTreeSet<Node>> {
    let mut found = BTreeSet::new();
    while !rest.is_empty() {
        let successors = usize::from(rest[0]);
        let metadata = u32::from_be_bytes(*rest.get(1..)?.first_chunk()?) as usize;
        let size = 26 + 20 * successors + metadata;
        found.extend(Node::from_slice(rest.get(6..26)?));
        rest = rest.get(size..)?;
    }
    Some(found)
}

/// The nodes under bookmarks; lines of another form are none.
fn marked(file: &[u8]) -> Vec<Node> {
    let lines = file.split(|byte| *byte == b'\n');
    let node = |line: &[u8]| {
        let line = line.trim_ascii();
        let space = line.iter().position(|byte| *byte == b' ')?;
        node_of(&line[..space]).filter(|_| line.len() > space + 1)
    };
    lines.filter_map(node).collect()
}

/// A bit of each byte, and what makes one digit another; and every cut.
fn faults(len: usize) -> Vec<Fault> {
    let flips = (0..len).flat_map(|at| [1 << (at % 8), 3].map(|bits| Fault::Flip(at, bits)));
    flips.chain((0..len).map(Fault::Truncate)).collect()
}

const FILES: [&str; 3] = ["store/phaseroots", "store/obsstore", "bookmarks"];

#[tokio::test(flavor = "multi_thread")]
async fn damage_reveals_nothing_that_its_form_does_not_allow() {
    let hgrc = "[phases]\npublish = no\n[experimental]\nevolution = all\n";
    let mut subject = Subject::new(World::recorded("sample-dothg", hgrc)).await;
    let history = History::of(&subject);
    // Asked about by node, the secret and the hidden ones too.
    subject.known.changesets = history.nodes();
    let contents = FILES.map(|file| std::fs::read(subject.dot_hg().join(file)).unwrap());
    let whole = history
        .served(&contents[0], &contents[1], &contents[2])
        .unwrap();
    assert_eq!(
        whole.len() + 2,
        history.nodes().len(),
        "one is secret and one hidden"
    );
    let of_file = |(file, content): (&&str, &Vec<u8>)| {
        let faults = faults(content.len()).into_iter();
        faults
            .map(|fault| ((*file).to_owned(), fault))
            .collect::<Vec<_>>()
    };
    let cases = FILES.iter().zip(&contents).flat_map(of_file).collect();
    let (mut refused, mut revealed) = (0, 0);
    for outcome in subject.run(cases).await {
        let mut damaged = contents.clone();
        let index = FILES
            .iter()
            .position(|file| **file == outcome.file)
            .unwrap();
        match outcome.fault {
            Fault::Flip(at, bits) => damaged[index][at] ^= bits,
            Fault::Truncate(len) => damaged[index].truncate(len),
            _ => {}
        }
        let case = format!("{}, {:?}", outcome.file, outcome.fault);
        let Some(served) = history.served(&damaged[0], &damaged[1], &damaged[2]) else {
            let answered = outcome.seen.expect_err(&case);
            assert!(
                answered
                    .text()
                    .contains(outcome.file.trim_start_matches("store/")),
                "{case}"
            );
            refused += 1;
            continue;
        };
        let seen = outcome
            .seen
            .unwrap_or_else(|answered| panic!("{case}: {answered:?}"));
        let expected: Vec<u8> = history
            .nodes()
            .iter()
            .map(|node| b'0' + u8::from(served.contains(node)))
            .collect();
        assert_eq!(seen.known.as_deref(), Some(&expected[..]), "{case}");
        let sent = seen.texts.keys().filter(|(log, _)| log == b"changelog");
        for (_, node) in sent {
            assert!(served.contains(node), "{case}: {node} is not served");
        }
        revealed += usize::from(!served.is_subset(&whole));
    }
    // Rights of form are few; the rest was refused, or changed nothing.
    assert!(
        refused > 300 && revealed > 0,
        "{refused} refused, {revealed} reveal"
    );
}
