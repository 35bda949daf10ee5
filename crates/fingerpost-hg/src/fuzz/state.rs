//! Fuzz targets over the state of a repository.

use fingerpost_hg_proto::Node;

use crate::{
    Bookmarks, Changeset, Graph, Obsstore, PhaseRoots, Phases, Rev, View, changeset, dag, tags,
};

/// A changeset's text: what reads a part of it agrees with what reads it all.
pub fn fuzz_changeset(data: &[u8]) {
    let Ok(whole) = Changeset::parse(data) else {
        return;
    };
    assert_eq!(changeset::manifest_node(data), Ok(whole.manifest()));
    let files = changeset::files(data).map(Iterator::collect::<Vec<_>>);
    assert_eq!(files, Ok(whole.files().collect()));
    assert!(whole.extra().count() <= data.len());
    assert!(!whole.branch().is_empty());
}

/// `phaseroots`: what is read is written again, and read as the same. Every
/// line is a root, or the file is refused: none is passed over, for it may be
/// the one that makes something secret.
pub fn fuzz_phaseroots(data: &[u8]) {
    let Ok(roots) = PhaseRoots::parse(data) else {
        return;
    };
    let lines = data.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    assert_eq!(lines.count(), roots.iter().count());
    let number = |phase| match phase {
        crate::Phase::Public => 0,
        crate::Phase::Draft => 1,
        crate::Phase::Secret => 2,
        crate::Phase::Archived => 32,
        crate::Phase::Internal => 96,
    };
    let lines = roots
        .iter()
        .map(|(phase, node)| format!("{} {node}\n", number(phase)));
    let text: String = lines.collect();
    assert_eq!(PhaseRoots::parse(text.as_bytes()), Ok(roots));
}

/// `bookmarks`: what is read is written again, and read as the same.
pub fn fuzz_bookmarks(data: &[u8]) {
    let bookmarks = Bookmarks::parse(data);
    let mut text = Vec::new();
    for (name, node) in bookmarks.iter() {
        text.extend_from_slice(format!("{node} ").as_bytes());
        text.extend_from_slice(name);
        text.push(b'\n');
    }
    assert_eq!(Bookmarks::parse(&text), bookmarks);
}

/// `obsstore`: the same comes out however the file grew. The first byte says
/// where it is cut.
pub fn fuzz_obsstore(data: &[u8]) {
    let Some((&cut, file)) = data.split_first() else {
        return;
    };
    let whole = Obsstore::parse(file);
    let cut = usize::from(cut).min(file.len());
    let pieces = Obsstore::parse(&file[..cut]).and_then(|mut store| {
        let from = usize::try_from(store.parsed()).unwrap_or(file.len());
        store.extend(&file[from..]).map(|()| store)
    });
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole.parsed(), pieces.parsed());
            let nodes = file.windows(Node::BYTES).filter_map(Node::from_slice);
            for node in nodes {
                assert_eq!(whole.is_predecessor(&node), pieces.is_predecessor(&node));
            }
        }
        (whole, pieces) => assert_eq!(whole.err(), pieces.err()),
    }
}

/// `.hgtags`, in two versions with a NUL between them, merged.
pub fn fuzz_hgtags(data: &[u8]) {
    let cut = memchr::memchr(0, data).unwrap_or(data.len());
    let mut merging = tags::Merging::default();
    merging.add(&data[..cut]);
    merging.add(&data[cut..]);
    assert!(merging.finish().iter().all(|(_, node)| !node.is_null()));
}

/// A graph, phases and markers: two bytes for each changeset say how far back
/// its parents are and what it is.
pub fn fuzz_dag(data: &[u8]) {
    let graph = Bytes(data);
    let len = graph.len();
    let node = |rev: Rev| {
        let mut bytes = [1; 20];
        bytes[..4].copy_from_slice(&rev.0.to_be_bytes());
        Node::from_bytes(bytes)
    };
    let revs = || dag::ascending(0, len);
    let kind = |rev: Rev| data[rev.index() * 2 + 1] >> 5;
    let roots = revs().filter(|rev| matches!(kind(*rev), 1 | 2));
    let text: String = roots
        .map(|rev| format!("{} {}\n", kind(rev), node(rev)))
        .collect();
    let roots = PhaseRoots::parse(text.as_bytes()).expect("the lines are of the form");
    let phases = Phases::compute(&graph, &roots, |node| {
        let (number, _) = node.as_bytes().split_first_chunk()?;
        Rev::from_index(u32::from_be_bytes(*number) as usize)
    });
    let pinned: Vec<Rev> = revs().filter(|rev| kind(*rev) == 4).collect();
    let view = View::compute(&graph, &phases, |rev| kind(rev) == 3, &pinned);
    for rev in revs() {
        for parent in graph.parents(rev).into_iter().flatten() {
            assert!(phases.phase(parent) <= phases.phase(rev));
            assert!(!view.is_served(rev) || view.is_served(parent));
        }
    }
    let heads = crate::served_heads(&graph, &view, &phases, false);
    let served = revs().filter(|rev| view.is_served(*rev)).count();
    assert_eq!(dag::only(&graph, &heads, &[]).len(), served);
    assert!(dag::only(&graph, &heads, &heads).is_empty());
}

/// A graph written as bytes.
struct Bytes<'a>(&'a [u8]);

impl Graph for Bytes<'_> {
    fn len(&self) -> usize {
        self.0.len() / 2
    }

    fn parents(&self, rev: Rev) -> [Option<Rev>; 2] {
        let at = rev.index();
        let Some(&[first, second]) = self.0.as_chunks::<2>().0.get(at) else {
            return [None, None];
        };
        let back = |by: u8| at.checked_sub(usize::from(by)).and_then(Rev::from_index);
        let p1 = back(first).filter(|_| first > 0);
        let p2 = back(second & 31).filter(|_| second & 31 > 0);
        [p1, p2]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_target_takes_any_bytes(data in prop::collection::vec(any::<u8>(), 0..300),
                                        start in prop::sample::select(vec![
                                            &b""[..],
                                            b"ab6f6465b68b31ae30e4c3be9b7a36403a275cb3\nu\n0 0 ",
                                            b"1 ab6f6465b68b31ae30e4c3be9b7a36403a275cb3\n",
                                            b"ab6f6465b68b31ae30e4c3be9b7a36403a275cb3 x\n",
                                            b"\xff\x01\x00\x00\x00",
                                        ])) {
            let data = [start, &data].concat();
            for (_, target) in crate::fuzz::TARGETS {
                target(&data);
            }
        }
    }
}
