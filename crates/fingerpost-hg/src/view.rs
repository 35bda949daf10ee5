//! Views: which changesets may be seen.

use crate::dag::{self, Graph};
use crate::phases::{Phase, Phases};
use crate::{Rev, RevSet};

/// What is taken out of a repository before it is served.
///
/// *Hidden* is what is obsolete (or archived, or internal), unless a bookmark
/// pins it or a visible mutable changeset descends from it. *Unserved* is what
/// is hidden, and what is secret or more. What remains is closed under
/// ancestors: the parents of a served changeset are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// `None` when everything is served, which is the usual case.
    unserved: Option<RevSet>,
    hidden: Option<RevSet>,
}

impl View {
    /// Computes the view. `is_obsolete` says of a mutable changeset whether a
    /// marker replaces it; `pinned` are the changesets that stay visible
    /// whatever the markers say.
    pub fn compute(
        graph: &impl Graph,
        phases: &Phases,
        is_obsolete: impl Fn(Rev) -> bool,
        pinned: &[Rev],
    ) -> Self {
        let mut hidden = RevSet::new(graph.len());
        for (rev, phase) in phases.mutable() {
            if phase >= Phase::Archived || is_obsolete(rev) {
                hidden.insert(rev);
            }
        }
        for rev in pinned {
            hidden.remove(*rev);
        }
        if !hidden.is_empty() {
            reveal_ancestors(graph, phases, &mut hidden);
        }
        let mut unserved = hidden.clone();
        for (rev, phase) in phases.mutable() {
            if !phase.is_exchanged() {
                unserved.insert(rev);
            }
        }
        Self {
            unserved: Some(unserved).filter(|set| !set.is_empty()),
            hidden: Some(hidden).filter(|set| !set.is_empty()),
        }
    }

    /// The same view with public changesets alone, of `len` altogether.
    #[must_use]
    pub fn public_only(mut self, len: usize, phases: &Phases) -> Self {
        let unserved = self.unserved.get_or_insert_with(|| RevSet::new(len));
        for (rev, _) in phases.mutable() {
            unserved.insert(rev);
        }
        self.unserved = self.unserved.filter(|set| !set.is_empty());
        self
    }

    /// Whether a changeset may be served. Says nothing of whether it exists.
    pub fn is_served(&self, rev: Rev) -> bool {
        self.unserved.as_ref().is_none_or(|set| !set.contains(rev))
    }

    /// Whether a changeset is hidden; a secret one that is not obsolete is not.
    pub fn is_hidden(&self, rev: Rev) -> bool {
        self.hidden.as_ref().is_some_and(|set| set.contains(rev))
    }

    /// Whether there is any changeset that is not served.
    pub const fn has_unserved(&self) -> bool {
        self.unserved.is_some()
    }

    /// The changesets that are not served, ascending.
    pub fn unserved(&self) -> impl Iterator<Item = Rev> + '_ {
        self.unserved.iter().flat_map(RevSet::iter)
    }

    /// The first changeset that is not served.
    pub fn first_unserved(&self) -> Option<Rev> {
        self.unserved.as_ref().and_then(RevSet::first)
    }
}

/// Takes out of `hidden` every ancestor of a mutable changeset that is not in it.
fn reveal_ancestors(graph: &impl Graph, phases: &Phases, hidden: &mut RevSet) {
    let mutable: Vec<(Rev, Phase)> = phases.mutable().collect();
    let mut visible = RevSet::new(graph.len());
    for (rev, _) in mutable.into_iter().rev() {
        if !hidden.contains(rev) {
            visible.insert(rev);
        }
        if visible.contains(rev) {
            hidden.remove(rev);
            for parent in graph.parents(rev).into_iter().flatten() {
                visible.insert(parent);
            }
        }
    }
}

/// The heads among the changesets that are served, or among the public ones,
/// descending.
pub fn served_heads(
    graph: &impl Graph,
    view: &View,
    phases: &Phases,
    public_only: bool,
) -> Vec<Rev> {
    dag::heads(graph, |rev| match public_only {
        true => phases.phase(rev) == Phase::Public,
        false => view.is_served(rev),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fingerpost_hg_proto::Node;
    use proptest::prelude::*;

    use super::*;
    use crate::phases::PhaseRoots;
    use crate::tests::graph::{ParentList, any_graph, rev};

    fn node(index: usize) -> Node {
        Node::from_bytes([u8::try_from(index).unwrap(); 20])
    }

    fn phases(graph: &ParentList, roots: &[(u8, usize)]) -> Phases {
        let lines = roots
            .iter()
            .map(|(phase, at)| format!("{phase} {}\n", node(*at)));
        let text: String = lines.collect();
        let roots = PhaseRoots::parse(text.as_bytes()).unwrap();
        Phases::compute(graph, &roots, |node| {
            Rev::from_index(node.as_bytes()[0].into())
        })
    }

    #[test]
    fn an_obsolete_changeset_with_a_visible_child_stays() {
        // 0 - 1 - 2, and 3 on 0; 1 and 3 are obsolete.
        let graph = ParentList(vec![
            [None, None],
            [Some(0), None],
            [Some(1), None],
            [Some(0), None],
        ]);
        let phases = phases(&graph, &[(1, 1), (1, 3)]);
        let obsolete = |at: Rev| at == rev(1) || at == rev(3);
        let view = View::compute(&graph, &phases, obsolete, &[]);
        assert!(view.is_served(rev(1)));
        assert!(!view.is_served(rev(3)));
        assert!(view.is_hidden(rev(3)));
        assert_eq!(served_heads(&graph, &view, &phases, false), [rev(2)]);
        assert_eq!(served_heads(&graph, &view, &phases, true), [rev(0)]);
        let pinned = View::compute(&graph, &phases, obsolete, &[rev(3)]);
        assert!(!pinned.has_unserved());
    }

    #[test]
    fn public_changesets_are_never_hidden() {
        let graph = ParentList(vec![[None, None]]);
        let view = View::compute(&graph, &Phases::default(), |_| true, &[]);
        assert!(!view.has_unserved());
    }

    #[test]
    fn secret_is_unserved_but_not_hidden() {
        let graph = ParentList(vec![[None, None], [Some(0), None], [Some(0), None]]);
        let phases = phases(&graph, &[(2, 1), (96, 2)]);
        let view = View::compute(&graph, &phases, |_| false, &[]);
        assert_eq!(view.unserved().collect::<Vec<_>>(), [rev(1), rev(2)]);
        assert!(!view.is_hidden(rev(1)));
        assert!(view.is_hidden(rev(2)));
        assert_eq!(view.first_unserved(), Some(rev(1)));
    }

    proptest! {
        #[test]
        fn the_view_is_what_the_definition_says(
            graph in any_graph(),
            roots in prop::collection::vec((0_usize..5, 0_usize..24), 0..5),
            obsolete in any::<u32>(),
            pins in any::<u32>(),
        ) {
            let numbers = [0, 1, 1, 2, 96];
            let roots: Vec<(u8, usize)> = roots.iter().map(|(phase, at)| (numbers[*phase], *at)).collect();
            let phases = phases(&graph, &roots);
            let all: BTreeSet<Rev> = (0..graph.0.len()).map(rev).collect();
            // Pins are few in life; here a pin needs two bits.
            let pinned: Vec<Rev> = all.iter().copied()
                .filter(|rev| pins >> rev.index() & 1 == 1 && pins >> (31 - rev.index()) & 1 == 1).collect();
            let is_obsolete = |rev: Rev| obsolete >> rev.index() & 1 == 1;
            let view = View::compute(&graph, &phases, is_obsolete, &pinned);

            let mutable = |rev: &Rev| phases.phase(*rev) > Phase::Public;
            let hideable: BTreeSet<Rev> = all.iter().copied().filter(mutable)
                .filter(|rev| is_obsolete(*rev) || phases.phase(*rev) >= Phase::Archived)
                .filter(|rev| !pinned.contains(rev)).collect();
            let visible: Vec<Rev> = all.iter().copied()
                .filter(mutable).filter(|rev| !hideable.contains(rev)).collect();
            let above = dag::ancestors(&graph, &visible);
            for rev in all {
                let hidden = hideable.contains(&rev) && !above.contains(rev);
                prop_assert_eq!(view.is_hidden(rev), hidden);
                prop_assert_eq!(view.is_served(rev), !hidden && phases.phase(rev) < Phase::Secret);
                if view.is_served(rev) {
                    for parent in graph.parents(rev).into_iter().flatten() {
                        prop_assert!(view.is_served(parent));
                    }
                }
            }
        }
    }
}
