//! One consistent state of a repository.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use fingerpost_hg_proto::Node;
use parking_lot::Mutex;

use crate::branches::BranchColumn;
use crate::inputs::Inputs;
use crate::introduced::Touched;
use crate::state_token::NodesDigest;
use crate::tags::{HeadTags, Tags};
use crate::{
    Bookmarks, BranchHeads, Changelog, Generation, LookupError, Phase, Phases, Refreshed, Rev,
    Revlog, RevlogName, StateToken, Store, StoreError, View, dag, is_divergent, lookup,
};

/// What a repository is served as; part of the state that answers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) publishing: bool,
    pub(crate) public_only: bool,
    pub(crate) marker_exchange: bool,
}

/// What the snapshots of one repository share: derived from content that does
/// not change, and extended as the repository grows. Each part is checked
/// against the lineage of the changelog before it is used.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) branches: Mutex<BranchColumn>,
    pub(crate) nodes: Mutex<NodesDigest>,
    pub(crate) head_tags: Mutex<HeadTags>,
    pub(crate) touched: Mutex<Touched>,
    manifests: Mutex<Option<(u64, Arc<Revlog>)>>,
}

/// One consistent state of a repository, and everything that may be known of
/// it. It never changes, and costs nothing to hold but memory.
///
/// *Served* is what clients may see: neither secret, archived or internal, nor
/// hidden by obsolescence. Every method that takes a node treats one that is
/// not served as one that does not exist.
///
/// Bookmarks pin what they are on. The working copy's parents and local tags,
/// which hg counts as well, do not: what a server shows should not depend on
/// who last updated in its directory.
#[derive(Debug)]
pub struct Snapshot {
    inputs: Inputs,
    terms: Terms,
    generation: Generation,
    pub(crate) shared: Arc<Shared>,
    phases: Phases,
    view: View,
    all_bookmarks: Bookmarks,
    bookmarks: BTreeMap<Vec<u8>, Node>,
    heads: [OnceLock<Vec<Rev>>; 2],
    branch_heads: OnceLock<Arc<BranchHeads>>,
    tags: OnceLock<Arc<Tags>>,
    token: OnceLock<StateToken>,
    pub(crate) reused_manifests: OnceLock<crate::introduced::ReusedManifests>,
}

impl Snapshot {
    pub(crate) fn new(
        inputs: Inputs,
        terms: Terms,
        generation: Generation,
        shared: Arc<Shared>,
    ) -> Result<Self, StoreError> {
        let changelog = &*inputs.changelog;
        let roots = inputs.phase_roots()?;
        let phases = Phases::compute(changelog, &roots, |node| changelog.rev(node));
        let all_bookmarks = inputs.bookmarks();
        let pinned: Vec<Rev> = all_bookmarks
            .iter()
            .filter_map(|(_, node)| changelog.rev(&node))
            .collect();
        let markers = inputs.markers();
        let is_obsolete = |rev| markers.is_predecessor(&changelog.node(rev));
        let view = View::compute(changelog, &phases, is_obsolete, &pinned);
        let view = match terms.public_only {
            true => view.public_only(changelog.len(), &phases),
            false => view,
        };
        let is_listed = |node: &Node| {
            node.is_null() || changelog.rev(node).is_some_and(|rev| view.is_served(rev))
        };
        let bookmarks = all_bookmarks
            .iter()
            .filter(|(name, node)| !is_divergent(name) && is_listed(node))
            .map(|(name, node)| (name.to_vec(), node))
            .collect();
        Ok(Self {
            phases,
            view,
            all_bookmarks,
            bookmarks,
            inputs,
            terms,
            generation,
            shared,
            heads: Default::default(),
            branch_heads: OnceLock::new(),
            tags: OnceLock::new(),
            token: OnceLock::new(),
            reused_manifests: OnceLock::new(),
        })
    }

    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The store that the snapshot is of; filelogs are opened in it.
    pub fn store(&self) -> &Arc<Store> {
        self.inputs.open.store()
    }

    /// The changelog, with what is not served.
    pub fn changelog(&self) -> &Changelog {
        &self.inputs.changelog
    }

    /// How many changesets the snapshot holds, served or not. Whatever has a
    /// link revision at or beyond this is not part of it.
    pub fn len(&self) -> usize {
        self.inputs.changelog.len()
    }

    /// Whether there is no changeset at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a changeset exists and is served.
    pub fn is_served(&self, rev: Rev) -> bool {
        rev.index() < self.len() && self.view.is_served(rev)
    }

    /// The served changesets, ascending.
    pub fn served(&self) -> impl DoubleEndedIterator<Item = Rev> + '_ {
        let revs = self.changelog().revs();
        revs.filter(|rev| self.view.is_served(*rev))
    }

    /// Whether any changeset exists that is not served. Then whole store files
    /// must not be given out.
    pub fn has_unserved(&self) -> bool {
        self.view.has_unserved()
    }

    /// The first changeset that is not served.
    pub fn first_unserved(&self) -> Option<Rev> {
        self.view.first_unserved()
    }

    /// The number of a served changeset. None for the null node, which is a
    /// parent and never a changeset.
    pub fn rev(&self, node: &Node) -> Option<Rev> {
        let rev = self.changelog().rev(node)?;
        self.is_served(rev).then_some(rev)
    }

    /// The number of a changeset that exists and is not served: for the log of
    /// the server, never for an answer.
    pub fn unserved_rev(&self, node: &Node) -> Option<Rev> {
        let rev = self.changelog().rev(node)?;
        (!self.is_served(rev)).then_some(rev)
    }

    /// The node of a changeset; null beyond the last.
    pub fn node(&self, rev: Rev) -> Node {
        self.changelog().node(rev)
    }

    /// Whether a client that asks may be told that it is known here: it is
    /// served, or the null node, which everybody has.
    pub fn is_known(&self, node: &Node) -> bool {
        node.is_null() || self.rev(node).is_some()
    }

    /// The phase of a changeset as it is announced to clients: public for
    /// everything served by a publishing repository.
    pub fn phase(&self, rev: Rev) -> Phase {
        match self.terms.publishing {
            true if self.is_served(rev) => Phase::Public,
            _ => self.raw_phase(rev),
        }
    }

    /// The phase of a changeset as the repository itself has it.
    pub fn raw_phase(&self, rev: Rev) -> Phase {
        self.phases.phase(rev)
    }

    /// Whether the repository publishes what it serves.
    pub const fn is_publishing(&self) -> bool {
        self.terms.publishing
    }

    /// The served heads, descending; with `public_only` those among the
    /// changesets that are public in the repository itself.
    pub fn heads(&self, public_only: bool) -> &[Rev] {
        self.heads[usize::from(public_only)].get_or_init(|| {
            crate::served_heads(self.changelog(), &self.view, &self.phases, public_only)
        })
    }

    /// The last served changeset.
    pub fn tip(&self) -> Option<Rev> {
        self.served().next_back()
    }

    /// The bookmarks that are listed to clients, by name: those on served
    /// changesets and on the null revision, where stripping leaves them, with
    /// names that are not divergent.
    pub fn bookmarks(&self) -> &BTreeMap<Vec<u8>, Node> {
        &self.bookmarks
    }

    /// The served changeset, or the null node, under a bookmark's name, listed
    /// or divergent.
    pub(crate) fn bookmark(&self, name: &[u8]) -> Option<Node> {
        let node = self.all_bookmarks.node(name)?;
        (node.is_null() || self.rev(&node).is_some()).then_some(node)
    }

    /// What `listkeys` answers for a namespace; nothing for one that is unknown.
    ///
    /// `phases` lists the served draft roots as the repository has them, also
    /// if it publishes.
    pub fn listkeys(&self, namespace: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        match namespace {
            b"bookmarks" => {
                let marks = self.bookmarks.iter();
                marks
                    .map(|(name, node)| (name.clone(), node.to_hex().to_vec()))
                    .collect()
            }
            b"phases" => {
                let roots = self.phases.draft_roots().iter();
                let served = roots.filter(|rev| self.is_served(**rev));
                let mut keys: BTreeMap<_, _> = served
                    .map(|rev| (self.node(*rev).to_hex().to_vec(), b"1".to_vec()))
                    .collect();
                if self.terms.publishing {
                    keys.insert(b"publishing".to_vec(), b"True".to_vec());
                }
                keys
            }
            b"namespaces" => {
                let names: &[&[u8]] = match self.terms.marker_exchange {
                    true => &[b"bookmarks", b"namespaces", b"obsolete", b"phases"],
                    false => &[b"bookmarks", b"namespaces", b"phases"],
                };
                names
                    .iter()
                    .map(|name| (name.to_vec(), Vec::new()))
                    .collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// The heads of every branch among the served changesets, closed ones
    /// included. The first call reads the text of every changeset that no
    /// earlier snapshot has read.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a changeset's text.
    pub fn branch_heads(&self) -> Result<Arc<BranchHeads>, StoreError> {
        if let Some(heads) = self.branch_heads.get() {
            return Ok(Arc::clone(heads));
        }
        let mut column = self.shared.branches.lock();
        column.extend(self.changelog())?;
        let heads = column.heads(self.changelog(), |rev| self.view.is_served(rev));
        drop(column);
        Ok(Arc::clone(
            self.branch_heads.get_or_init(|| Arc::new(heads)),
        ))
    }

    /// What `branchmap` answers: the nodes of the heads of every branch,
    /// ascending by revision.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::branch_heads`].
    pub fn branchmap(&self) -> Result<BTreeMap<Vec<u8>, Vec<Node>>, StoreError> {
        let heads = self.branch_heads()?;
        let nodes = |heads: &[Rev]| heads.iter().map(|head| self.node(*head)).collect();
        let branches = heads.iter();
        Ok(branches
            .map(|(name, branch)| (name.to_vec(), nodes(&branch.heads)))
            .collect())
    }

    /// The tags in `.hgtags` of the served heads. The first call reads a
    /// manifest for each head that no earlier snapshot has looked at.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with a manifest or `.hgtags`.
    pub fn tags(&self) -> Result<Arc<Tags>, StoreError> {
        if let Some(tags) = self.tags.get() {
            return Ok(Arc::clone(tags));
        }
        let tags = Arc::new(Tags::read(self)?);
        Ok(Arc::clone(self.tags.get_or_init(|| tags)))
    }

    /// Finds the changeset that a name stands for; [`crate::LookupError`] says
    /// what is told to the client otherwise. `null` is the null node, and so is
    /// `tip` where nothing is served.
    ///
    /// # Errors
    ///
    /// Returns that the name is unknown or ambiguous, or what is wrong with a
    /// file that had to be read.
    pub fn lookup(&self, key: &[u8]) -> Result<Node, LookupError> {
        lookup::lookup(self, key)
    }

    /// `heads` and their ancestors without `roots` and theirs, ascending; and
    /// how many changesets were walked over to find them.
    pub(crate) fn only(&self, heads: &[Rev], roots: &[Rev]) -> (Vec<Rev>, usize) {
        dag::counted_only(self.changelog(), heads, roots)
    }

    /// `revs` and their ancestors within `generations - 1` steps, ascending.
    pub fn ancestors_within(&self, revs: &[Rev], generations: u64) -> Vec<Rev> {
        dag::ancestors_within(self.changelog(), revs, generations)
    }

    /// The manifest's revlog, opened or refreshed after the changelog, so it
    /// holds at least what the snapshot needs, and maybe more: revisions with
    /// link revisions from [`Snapshot::len`] on are not part of it.
    ///
    /// # Errors
    ///
    /// As [`Revlog::open`].
    pub fn manifests(&self) -> Result<Arc<Revlog>, StoreError> {
        let lineage = self.changelog().lineage();
        let mut cached = self.shared.manifests.lock();
        let fresh = match &*cached {
            Some((of, revlog)) if *of == lineage => {
                match revlog.refresh(self.store(), RevlogName::Manifest)? {
                    Refreshed::Unchanged => return Ok(Arc::clone(revlog)),
                    Refreshed::Grown(revlog) | Refreshed::Replaced(revlog) => revlog,
                }
            }
            _ => Revlog::open(self.store(), RevlogName::Manifest)?,
        };
        let fresh = Arc::new(fresh);
        *cached = Some((lineage, Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// A digest of everything that the answers of state-dependent commands are
    /// made of. Equal tokens, equal answers; it changes with a commit, strip,
    /// phase, bookmark or marker that changes an answer, and with how the
    /// repository is served, and not with a file's time or place.
    pub fn state_token(&self) -> StateToken {
        *self.token.get_or_init(|| StateToken::of(self))
    }

    /// Names the content under the nodes: what answers that depend on nodes
    /// alone have to carry.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) fn terms(&self) -> Terms {
        self.terms
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }
}

#[cfg(test)]
mod tests;
