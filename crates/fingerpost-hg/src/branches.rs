//! Named branches and their heads.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::changelog::Changelog;
use crate::dag::Graph;
use crate::introduced::bad_changeset;
use crate::{Changeset, Rev, RevSet, StoreError, Texts};

/// Branches that are looked at together when heads are told from ancestors: one
/// bit each of a word for every changeset.
const BATCH: usize = u64::BITS as usize;

/// The branch of each changeset, read out of the changelog's texts once and
/// extended as it grows: four bytes a changeset, and the names.
#[derive(Debug, Default)]
pub(crate) struct BranchColumn {
    lineage: Option<u64>,
    names: Vec<Arc<[u8]>>,
    ids: HashMap<Arc<[u8]>, u32>,
    /// For each changeset twice the number of its branch, plus one if it closes it.
    column: Vec<u32>,
}

/// The heads of each branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchHeads(BTreeMap<Arc<[u8]>, Branch>);

/// One branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Its heads, closed ones included, ascending. Never empty.
    pub heads: Vec<Rev>,
    /// The last head that is not closed; the last of all if all are.
    pub tip: Rev,
}

impl BranchHeads {
    /// The branches by name, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Branch)> {
        self.0.iter().map(|(name, branch)| (&name[..], branch))
    }

    /// The branch of this name.
    pub fn branch(&self, name: &[u8]) -> Option<&Branch> {
        self.0.get(name)
    }
}

impl BranchColumn {
    /// Reads what is missing up to the end of this changelog.
    pub(crate) fn extend(&mut self, changelog: &Changelog) -> Result<(), StoreError> {
        if self.lineage != Some(changelog.lineage()) {
            *self = Self {
                lineage: Some(changelog.lineage()),
                ..Self::default()
            };
        }
        let mut texts = Texts::new(0);
        for rev in changelog.revs().skip(self.column.len()) {
            let text = changelog.text(&mut texts, rev)?;
            let changeset =
                Changeset::parse(&text).map_err(|error| bad_changeset(changelog, rev, error))?;
            let id = self.id(&changeset.branch());
            self.column
                .push(id << 1 | u32::from(changeset.closes_branch()));
        }
        Ok(())
    }

    fn id(&mut self, name: &[u8]) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        // At most as many as there are changesets, fewer than 2^31.
        let id = self.names.len() as u32;
        let name: Arc<[u8]> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    fn branch(&self, rev: Rev) -> Option<u32> {
        self.column.get(rev.index()).map(|entry| entry >> 1)
    }

    fn closes(&self, rev: Rev) -> bool {
        self.column
            .get(rev.index())
            .is_some_and(|entry| entry & 1 == 1)
    }

    /// The heads of each branch among the members, which must be closed under
    /// ancestors: members without a descendant on their branch.
    pub(crate) fn heads(&self, graph: &impl Graph, is_member: impl Fn(Rev) -> bool) -> BranchHeads {
        let mut has_child = RevSet::new(graph.len());
        let mut has_child_on_branch = RevSet::new(graph.len());
        let members = || crate::dag::ascending(0, graph.len()).filter(|rev| is_member(*rev));
        for rev in members() {
            for parent in graph.parents(rev).into_iter().flatten() {
                has_child.insert(parent);
                if self.branch(parent) == self.branch(rev) {
                    has_child_on_branch.insert(parent);
                }
            }
        }
        let mut candidates: BTreeMap<u32, Vec<Rev>> = BTreeMap::new();
        for rev in members().filter(|rev| !has_child_on_branch.contains(*rev)) {
            if let Some(branch) = self.branch(rev) {
                candidates.entry(branch).or_default().push(rev);
            }
        }
        self.drop_ancestors(graph, &is_member, &has_child, &mut candidates);
        let named = candidates.into_iter().filter_map(|(id, heads)| {
            let name = self.names.get(id as usize)?;
            let open = heads.iter().rev().find(|head| !self.closes(**head));
            let tip = *open.or_else(|| heads.last())?;
            Some((Arc::clone(name), Branch { heads, tip }))
        });
        BranchHeads(named.collect())
    }

    /// Takes those candidates out that have a descendant on their branch
    /// although no child is on it: the branch was left and come back to.
    fn drop_ancestors(
        &self,
        graph: &impl Graph,
        is_member: &impl Fn(Rev) -> bool,
        has_child: &RevSet,
        candidates: &mut BTreeMap<u32, Vec<Rev>>,
    ) {
        let uncertain: Vec<u32> = candidates
            .iter()
            .filter(|(_, revs)| revs.len() > 1 && revs.iter().any(|rev| has_child.contains(*rev)))
            .map(|(branch, _)| *branch)
            .collect();
        for batch in uncertain.chunks(BATCH) {
            let bit = |rev: Rev| {
                let at = batch.binary_search(&self.branch(rev)?).ok()?;
                Some(1_u64 << at)
            };
            // Which branches of the batch have a changeset below each one.
            let mut below = vec![0_u64; graph.len()];
            for rev in crate::dag::ascending(0, graph.len()).rev() {
                if !is_member(rev) {
                    continue;
                }
                let own = below[rev.index()] | bit(rev).unwrap_or(0);
                for parent in graph.parents(rev).into_iter().flatten() {
                    if let Some(bits) = below.get_mut(parent.index()) {
                        *bits |= own;
                    }
                }
            }
            for branch in batch {
                if let Some(revs) = candidates.get_mut(branch) {
                    revs.retain(|rev| below[rev.index()] & bit(*rev).unwrap_or(0) == 0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dag;
    use crate::tests::graph::{any_graph, rev};

    fn column(branches: &[(u8, bool)]) -> BranchColumn {
        let mut column = BranchColumn::default();
        for (branch, closed) in branches {
            let id = column.id(&[b'a' + branch]);
            column.column.push(id << 1 | u32::from(*closed));
        }
        column
    }

    proptest! {
        #[test]
        fn a_head_has_no_descendant_on_its_branch(
            graph in any_graph(),
            branches in prop::collection::vec((0_u8..3, any::<bool>()), 24),
            hidden in any::<u32>(),
        ) {
            let column = column(&branches[..graph.0.len()]);
            // Members closed under ancestors: nothing that descends from a hidden one.
            let is_member = |at: Rev| dag::ancestors(&graph, &[at]).iter()
                .all(|above| above.index() % 3 != 0 || hidden >> above.index() & 1 == 0);
            let members: Vec<usize> = (0..graph.0.len()).filter(|at| is_member(rev(*at))).collect();
            let mut naive: BTreeMap<u8, Vec<Rev>> = BTreeMap::new();
            for at in &members {
                let descends = |other: &&usize| *other != at
                    && dag::ancestors(&graph, &[rev(**other)]).contains(rev(*at));
                let on_branch = |other: &&usize| branches[**other].0 == branches[*at].0;
                if !members.iter().filter(descends).any(|other| on_branch(&other)) {
                    naive.entry(branches[*at].0).or_default().push(rev(*at));
                }
            }
            let heads = column.heads(&graph, is_member);
            prop_assert_eq!(heads.iter().count(), naive.len());
            for (branch, revs) in naive {
                let found = heads.branch(&[b'a' + branch]).unwrap();
                prop_assert_eq!(&found.heads, &revs);
                let open = revs.iter().rev().find(|head| !branches[head.index()].1);
                prop_assert_eq!(found.tip, *open.unwrap_or_else(|| revs.last().unwrap()));
            }
        }
    }
}
