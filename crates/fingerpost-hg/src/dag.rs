//! Questions about the graph of changesets.
//!
//! A parent always has a smaller number than its child, so one walk over the
//! numbers visits every changeset after all of its children (descending) or
//! after all of its parents (ascending). Every function here is such a walk:
//! no recursion, memory in bits, time linear in the numbers walked over.

use crate::{Rev, RevSet};

/// A graph of numbered changesets in which parents have smaller numbers than
/// their children.
pub trait Graph {
    /// How many changesets there are; they are numbered from 0.
    fn len(&self) -> usize;

    /// The parents of a changeset. None for a revision beyond the length.
    fn parents(&self, rev: Rev) -> [Option<Rev>; 2];

    /// Whether there is no changeset.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The numbers below `end`, descending.
fn descending(end: usize) -> impl Iterator<Item = Rev> {
    (0..end).rev().filter_map(Rev::from_index)
}

/// The numbers from `start` and below `end`, ascending.
pub(crate) fn ascending(start: usize, end: usize) -> impl DoubleEndedIterator<Item = Rev> {
    (start..end).filter_map(Rev::from_index)
}

/// One past the largest of these revisions that exist in the graph.
fn end_of(graph: &impl Graph, revs: &[Rev]) -> usize {
    let end = revs.iter().map(|rev| rev.index().saturating_add(1)).max();
    end.unwrap_or(0).min(graph.len())
}

/// The members that are a parent of no member, descending.
pub fn heads(graph: &impl Graph, is_member: impl Fn(Rev) -> bool) -> Vec<Rev> {
    let mut is_parent = RevSet::new(graph.len());
    let mut heads = Vec::new();
    for rev in descending(graph.len()).filter(|rev| is_member(*rev)) {
        if !is_parent.contains(rev) {
            heads.push(rev);
        }
        for parent in graph.parents(rev).into_iter().flatten() {
            is_parent.insert(parent);
        }
    }
    heads
}

/// These revisions and everything that they descend from.
pub fn ancestors(graph: &impl Graph, revs: &[Rev]) -> RevSet {
    let end = end_of(graph, revs);
    let mut found = RevSet::from_revs(end, revs.iter().copied());
    for rev in descending(end) {
        if found.contains(rev) {
            for parent in graph.parents(rev).into_iter().flatten() {
                found.insert(parent);
            }
        }
    }
    found
}

/// `heads` and their ancestors without `roots` and theirs, ascending: what a
/// client that has `roots` lacks of `heads`.
///
/// The walk goes down from the largest number and ends as soon as nothing
/// wanted is left, so what is asked about the newest changesets is answered
/// without looking at the oldest.
pub fn only(graph: &impl Graph, heads: &[Rev], roots: &[Rev]) -> Vec<Rev> {
    counted_only(graph, heads, roots).0
}

/// [`only`], and how many numbers were walked over.
pub(crate) fn counted_only(graph: &impl Graph, heads: &[Rev], roots: &[Rev]) -> (Vec<Rev>, usize) {
    let end = end_of(graph, heads).max(end_of(graph, roots));
    let mut wanted = RevSet::from_revs(end, heads.iter().copied());
    let mut excluded = RevSet::from_revs(end, roots.iter().copied());
    let mut pending = heads
        .iter()
        .filter(|head| wanted.contains(**head) && !excluded.contains(**head))
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    let mut found = Vec::new();
    let mut walked = 0;
    for rev in descending(end) {
        if pending == 0 {
            break;
        }
        walked += 1;
        let is_excluded = excluded.contains(rev);
        if !is_excluded && !wanted.contains(rev) {
            continue;
        }
        if !is_excluded {
            found.push(rev);
            pending -= 1;
        }
        for parent in graph.parents(rev).into_iter().flatten() {
            if is_excluded {
                let new = excluded.insert(parent);
                pending -= usize::from(new && wanted.contains(parent));
            } else {
                let new = wanted.insert(parent);
                pending += usize::from(new && !excluded.contains(parent));
            }
        }
    }
    found.reverse();
    (found, walked)
}

/// These revisions and their ancestors within `generations - 1` steps,
/// ascending: one generation is the revisions themselves, none is nothing.
pub fn ancestors_within(graph: &impl Graph, revs: &[Rev], generations: u64) -> Vec<Rev> {
    let mut found = RevSet::new(end_of(graph, revs));
    let mut generation: Vec<Rev> = revs.to_vec();
    let mut left = generations;
    while left > 0 && !generation.is_empty() {
        generation.retain(|rev| found.insert(*rev));
        generation = generation
            .iter()
            .flat_map(|rev| graph.parents(*rev))
            .flatten()
            .collect();
        left -= 1;
    }
    found.iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::tests::graph::{ParentList, any_graph, rev};

    fn revs(indexes: impl IntoIterator<Item = usize>) -> Vec<Rev> {
        indexes.into_iter().map(rev).collect()
    }

    fn naive_ancestors(graph: &ParentList, of: &[usize]) -> BTreeSet<usize> {
        let mut found: BTreeSet<usize> = of.iter().copied().collect();
        loop {
            let parents: Vec<usize> = found
                .iter()
                .flat_map(|at| graph.0[*at].into_iter().flatten())
                .collect();
            let before = found.len();
            found.extend(parents);
            if found.len() == before {
                return found;
            }
        }
    }

    fn some_of(graph: &ParentList, choices: &[u16]) -> Vec<usize> {
        let len = graph.0.len();
        let chosen = choices.iter().filter(|_| len > 0);
        chosen.map(|choice| usize::from(*choice) % len).collect()
    }

    #[test]
    fn nothing_is_left_of_what_one_has() {
        let line = ParentList(vec![[None, None], [Some(0), None], [Some(1), None]]);
        assert_eq!(only(&line, &revs([2]), &revs([2])), []);
        assert_eq!(only(&line, &revs([1]), &revs([2])), []);
        assert_eq!(only(&line, &revs([2, 2]), &revs([0])), revs([1, 2]));
        assert_eq!(only(&line, &[], &revs([2])), []);
    }

    #[test]
    fn revisions_beyond_the_graph_are_ignored() {
        let line = ParentList(vec![[None, None]]);
        assert_eq!(only(&line, &revs([0, 9]), &revs([7])), revs([0]));
        assert_eq!(ancestors(&line, &revs([9])).count(), 0);
        assert_eq!(ancestors_within(&line, &revs([9, 0]), 3), revs([0]));
    }

    proptest! {
        #[test]
        fn walks_agree_with_sets(graph in any_graph(),
                                 left in prop::collection::vec(any::<u16>(), 0..4),
                                 right in prop::collection::vec(any::<u16>(), 0..4)) {
            let left = some_of(&graph, &left);
            let right = some_of(&graph, &right);
            let of_left = naive_ancestors(&graph, &left);
            let of_right = naive_ancestors(&graph, &right);
            let walked = ancestors(&graph, &revs(left.clone()));
            prop_assert_eq!(walked.iter().collect::<Vec<_>>(), revs(of_left.clone()));
            prop_assert_eq!(
                only(&graph, &revs(left), &revs(right)),
                revs(of_left.difference(&of_right).copied())
            );
        }

        #[test]
        fn heads_have_no_child_in_the_set(graph in any_graph(), mask in any::<u32>()) {
            let members: Vec<usize> = (0..graph.0.len()).filter(|at| mask >> at & 1 == 1).collect();
            let mut naive: Vec<usize> = members.iter().copied()
                .filter(|at| members.iter().all(|child| !graph.0[*child].contains(&Some(*at))))
                .collect();
            naive.reverse();
            prop_assert_eq!(heads(&graph, |rev| mask >> rev.index() & 1 == 1), revs(naive));
        }

        #[test]
        fn depth_counts_generations(graph in any_graph(),
                                    from in prop::collection::vec(any::<u16>(), 0..3),
                                    generations in 0_u64..6) {
            let from = some_of(&graph, &from);
            let mut naive = BTreeSet::new();
            let mut generation: BTreeSet<usize> = from.iter().copied().collect();
            for _ in 0..generations {
                naive.extend(generation.iter().copied());
                generation = generation.iter().flat_map(|at| graph.0[*at].into_iter().flatten()).collect();
            }
            prop_assert_eq!(ancestors_within(&graph, &revs(from), generations), revs(naive));
        }
    }
}
