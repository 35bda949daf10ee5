//! Phases: how far a changeset has been published.

use std::fmt;

use fingerpost_hg_proto::Node;

use crate::dag::{self, Graph};
use crate::{Rev, RevSet};

/// The phase of a changeset. A descendant's phase is never smaller than that of
/// its ancestors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Immutable and shared. What is not below any root is public.
    #[default]
    Public,
    /// Mutable and exchanged.
    Draft,
    /// Mutable and never exchanged.
    Secret,
    /// Put away; never exchanged. Number 32 on disk.
    Archived,
    /// Made by hg for itself; never exchanged. Number 96 on disk.
    Internal,
}

impl Phase {
    /// The phase with this number in `phaseroots`.
    pub fn from_number(number: &[u8]) -> Option<Self> {
        Some(match number {
            b"0" => Self::Public,
            b"1" => Self::Draft,
            b"2" => Self::Secret,
            b"32" => Self::Archived,
            b"96" => Self::Internal,
            _ => return None,
        })
    }

    /// The name that clients read: `public`, `draft`, `secret`, `archived` or
    /// `internal`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Draft => "draft",
            Self::Secret => "secret",
            Self::Archived => "archived",
            Self::Internal => "internal",
        }
    }

    /// Whether changesets of this phase may be exchanged at all.
    pub const fn is_exchanged(self) -> bool {
        matches!(self, Self::Public | Self::Draft)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The file `phaseroots` breaks its format. Nothing may be served then: a root
/// that was not understood may be a secret one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no phase number and node")]
pub struct PhaseRootsError {
    /// The line, counted from 1.
    pub line: usize,
}

/// The phase roots, as the file `phaseroots` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhaseRoots(Vec<(Phase, Node)>);

impl PhaseRoots {
    /// Reads the content of `phaseroots`: a line for each root, its phase's
    /// number, a space, 40 hex digits.
    pub fn parse(bytes: &[u8]) -> Result<Self, PhaseRootsError> {
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        let roots = lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(at, line)| parse_line(line).ok_or(PhaseRootsError { line: at + 1 }));
        Ok(Self(roots.collect::<Result<_, _>>()?))
    }

    /// The roots in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Node)> + '_ {
        self.0.iter().copied()
    }
}

fn parse_line(line: &[u8]) -> Option<(Phase, Node)> {
    let space = memchr::memchr(b' ', line)?;
    let phase = Phase::from_number(&line[..space])?;
    let node = Node::from_hex(line[space + 1..].trim_ascii_end())?;
    Some((phase, node))
}

/// The phase of every changeset.
///
/// Takes a byte for each changeset from the first mutable one on: mutable
/// changesets are few and young.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Everything below is public.
    first: usize,
    phases: Vec<Phase>,
    draft_roots: Vec<Rev>,
}

impl Phases {
    /// Computes the phase of every changeset in one ascending pass. `rev` finds
    /// the number of a node; a root that it does not know is ignored.
    pub fn compute(
        graph: &impl Graph,
        roots: &PhaseRoots,
        rev: impl Fn(&Node) -> Option<Rev>,
    ) -> Self {
        let known: Vec<(Rev, Phase)> = roots
            .iter()
            .filter(|(phase, _)| *phase > Phase::Public)
            .filter_map(|(phase, node)| Some((rev(&node)?, phase)))
            .filter(|(rev, _)| rev.index() < graph.len())
            .collect();
        let first = known.iter().map(|(rev, _)| rev.index()).min();
        let first = first.unwrap_or_else(|| graph.len());
        let mut phases = vec![Phase::Public; graph.len() - first];
        for (rev, phase) in &known {
            let own = &mut phases[rev.index() - first];
            *own = (*own).max(*phase);
        }
        for at in 0..phases.len() {
            let parents = Rev::from_index(first + at).map(|rev| graph.parents(rev));
            let inherited = parents
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|parent| phases.get(parent.index().checked_sub(first)?))
                .max()
                .copied();
            phases[at] = phases[at].max(inherited.unwrap_or_default());
        }
        let mut draft_roots: Vec<Rev> = known
            .iter()
            .filter(|(_, phase)| *phase == Phase::Draft)
            .map(|(rev, _)| *rev)
            .collect();
        draft_roots.sort_unstable();
        draft_roots.dedup();
        Self {
            first,
            phases,
            draft_roots,
        }
    }

    /// The phase of a changeset, as its repository has it.
    pub fn phase(&self, rev: Rev) -> Phase {
        let at = rev.index().checked_sub(self.first);
        at.and_then(|at| self.phases.get(at))
            .copied()
            .unwrap_or_default()
    }

    /// The changesets that are not public, ascending.
    pub fn mutable(&self) -> impl Iterator<Item = (Rev, Phase)> + '_ {
        dag::ascending(self.first, self.first + self.phases.len())
            .zip(self.phases.iter().copied())
            .filter(|(_, phase)| *phase > Phase::Public)
    }

    /// The roots recorded as draft that the repository knows, ascending.
    pub fn draft_roots(&self) -> &[Rev] {
        &self.draft_roots
    }

    /// Everything that is public, as a set over revisions below `len`.
    pub fn public(&self, len: usize) -> RevSet {
        let revs = dag::ascending(0, len).filter(|rev| self.phase(*rev) == Phase::Public);
        RevSet::from_revs(len, revs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::graph::{ParentList, any_graph, rev};

    fn node(index: usize) -> Node {
        let mut bytes = [0xaa; 20];
        bytes[0] = u8::try_from(index).unwrap();
        Node::from_bytes(bytes)
    }

    fn rev_of(node: &Node) -> Option<Rev> {
        Rev::from_index(usize::from(node.as_bytes()[0]))
    }

    fn file(roots: &[(u8, usize)]) -> Vec<u8> {
        let lines = roots
            .iter()
            .map(|(phase, at)| format!("{phase} {}\n", node(*at)));
        lines.collect::<String>().into_bytes()
    }

    #[test]
    fn descendants_inherit_the_largest_phase() {
        // 0 - 1 - 2 - 4
        //  \- 3 -----/
        let graph = ParentList(vec![
            [None, None],
            [Some(0), None],
            [Some(1), None],
            [Some(0), None],
            [Some(2), Some(3)],
        ]);
        let roots = PhaseRoots::parse(&file(&[(1, 1), (2, 3), (1, 9)])).unwrap();
        let phases = Phases::compute(&graph, &roots, rev_of);
        let all: Vec<Phase> = (0..5).map(|at| phases.phase(rev(at))).collect();
        use Phase::{Draft, Public, Secret};
        assert_eq!(all, [Public, Draft, Draft, Secret, Secret]);
        assert_eq!(phases.draft_roots(), [rev(1)]);
        assert_eq!(phases.mutable().count(), 4);
        assert_eq!(phases.public(5).count(), 1);
    }

    #[test]
    fn no_file_means_all_public() {
        let graph = ParentList(vec![[None, None]]);
        let phases = Phases::compute(&graph, &PhaseRoots::default(), rev_of);
        assert_eq!(phases.phase(rev(0)), Phase::Public);
        assert_eq!(phases.mutable().count(), 0);
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        let good = String::from_utf8(file(&[(1, 1)])).unwrap();
        for wrong in ["3 ", "1", "x", "1 ab", "-1 "] {
            let bytes = format!("{good}{wrong}{}\n", if wrong.len() > 1 { "" } else { "y" });
            assert_eq!(
                PhaseRoots::parse(bytes.as_bytes()),
                Err(PhaseRootsError { line: 2 }),
                "{wrong}"
            );
        }
        assert_eq!(
            PhaseRoots::parse(&good.as_bytes()[..30]),
            Err(PhaseRootsError { line: 1 })
        );
    }

    #[test]
    fn archived_and_internal_are_known() {
        let roots = PhaseRoots::parse(&file(&[(32, 1), (96, 2), (0, 3)])).unwrap();
        let phases: Vec<Phase> = roots.iter().map(|(phase, _)| phase).collect();
        assert_eq!(phases, [Phase::Archived, Phase::Internal, Phase::Public]);
        assert!(phases[2].is_exchanged());
        assert!(!phases[0].is_exchanged());
    }

    proptest! {
        #[test]
        fn a_phase_is_the_largest_of_the_roots_above(
            graph in any_graph(),
            roots in prop::collection::vec((0_usize..5, 0_usize..24), 0..5),
        ) {
            let numbers = [0, 1, 2, 32, 96];
            let roots: Vec<(u8, usize)> = roots.iter().map(|(phase, at)| (numbers[*phase], *at)).collect();
            let parsed = PhaseRoots::parse(&file(&roots)).unwrap();
            let phases = Phases::compute(&graph, &parsed, rev_of);
            for at in 0..graph.0.len() {
                let above = dag::ancestors(&graph, &[rev(at)]);
                let naive = parsed.iter()
                    .filter(|(_, root)| above.contains(rev_of(root).unwrap()))
                    .map(|(phase, _)| phase).max().unwrap_or_default();
                prop_assert_eq!(phases.phase(rev(at)), naive);
            }
        }
    }
}
