//! The changelog: the revlog of changesets, and the graph that they form.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use fingerpost_core::Clock;
use fingerpost_hg_proto::Node;

use crate::dag::Graph;
use crate::state_file::is_settled;
use crate::{Refreshed, Rev, Revlog, RevlogName, Store, StoreError, Texts};

/// The changelog as one snapshot sees it: so many changesets, whatever is
/// appended to the file later.
///
/// It holds *every* changeset, the secret and the hidden ones too: what may be
/// shown is for [`crate::Snapshot`] to say.
#[derive(Debug)]
pub struct Changelog {
    revlog: Arc<Revlog>,
    lineage: u64,
    settled: AtomicBool,
}

impl Changelog {
    /// Reads the changelog's index, whole.
    pub(crate) fn open(store: &Store, clock: &dyn Clock) -> Result<Self, StoreError> {
        let read_at = clock.now();
        let revlog = Revlog::open(store, RevlogName::Changelog)?;
        let settled = revlog
            .stamps()
            .is_none_or(|[index, _]| is_settled(&index, read_at));
        Ok(Self {
            revlog: Arc::new(revlog),
            lineage: next_lineage(),
            settled: AtomicBool::new(settled),
        })
    }

    /// The changelog as its file is now; `None` when it is this one.
    ///
    /// It keeps its lineage when every changeset of this one is in it under the
    /// same number. Every entry is compared to know that: a strip followed by
    /// a pull can leave another order behind the same last changeset.
    pub(crate) fn refreshed(
        &self,
        store: &Store,
        clock: &dyn Clock,
    ) -> Result<Option<Self>, StoreError> {
        let read_at = clock.now();
        let (revlog, same_line) = match self.revlog.refresh(store, RevlogName::Changelog)? {
            Refreshed::Unchanged => match self.is_settled() || self.is_in_file(store, clock)? {
                true => return Ok(None),
                false => return Self::open(store, clock).map(Some),
            },
            Refreshed::Grown(revlog) if self.revlog.is_prefix_of_file(store)? => (revlog, true),
            Refreshed::Grown(_) => return Self::open(store, clock).map(Some),
            Refreshed::Replaced(revlog) => {
                let same_line = self.begins(&revlog);
                (revlog, same_line)
            }
        };
        let stamps = revlog.stamps();
        Ok(Some(Self {
            revlog: Arc::new(revlog),
            lineage: match same_line {
                true => self.lineage,
                false => next_lineage(),
            },
            settled: AtomicBool::new(stamps.is_none_or(|[index, _]| is_settled(&index, read_at))),
        }))
    }

    /// Whether the file is as it was read.
    pub(crate) fn is_whole_file(
        &self,
        store: &Store,
        clock: &dyn Clock,
    ) -> Result<bool, StoreError> {
        let before = self.revlog.stamps().map(|[index, _]| index);
        let now = store.stamp(self.revlog.file())?;
        // What was verified of the texts holds for the data file as it was.
        Ok(before == now
            && self.revlog.data_is_same(store, RevlogName::Changelog)?
            && (self.is_settled() || self.is_in_file(store, clock)?))
    }

    /// Whether the file still holds every changeset of this one under the same
    /// number, and is the same file.
    pub(crate) fn holds(&self, store: &Store, clock: &dyn Clock) -> Result<bool, StoreError> {
        let before = self.revlog.stamps().map(|[index, _]| index);
        let now = store.stamp(self.revlog.file())?;
        match (before, now) {
            (None, None) => Ok(true),
            (Some(before), Some(now)) if before == now && self.is_settled() => Ok(true),
            (Some(before), Some(now)) if before.may_have_grown_to(&now) => {
                self.is_in_file(store, clock)
            }
            // Nothing was there, so nothing can be missing.
            (None, Some(_)) => Ok(self.is_empty()),
            _ => Ok(false),
        }
    }

    /// Whether two writes that share this stamp are out of the question.
    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Compares every entry with the file.
    fn is_in_file(&self, store: &Store, clock: &dyn Clock) -> Result<bool, StoreError> {
        let read_at = clock.now();
        let same = self.revlog.is_prefix_of_file(store)?;
        if same && let Some([index, _]) = self.revlog.stamps() {
            self.settled
                .fetch_or(is_settled(&index, read_at), Ordering::Relaxed);
        }
        Ok(same)
    }

    /// Whether another changelog begins with the changesets of this one.
    fn begins(&self, other: &Revlog) -> bool {
        self.len() <= other.len() && self.revs().all(|rev| self.node(rev) == other.node(rev))
    }

    /// A number that changelogs share which only ever grew from one to the
    /// next. What was remembered by revision number holds within a lineage.
    pub(crate) const fn lineage(&self) -> u64 {
        self.lineage
    }

    /// The revlog itself.
    pub fn revlog(&self) -> &Arc<Revlog> {
        &self.revlog
    }

    /// How many changesets there are.
    pub fn len(&self) -> usize {
        self.revlog.len()
    }

    /// Whether there is no changeset.
    pub fn is_empty(&self) -> bool {
        self.revlog.is_empty()
    }

    /// All revisions, ascending.
    pub fn revs(&self) -> impl DoubleEndedIterator<Item = Rev> + ExactSizeIterator + use<> {
        self.revlog.revs()
    }

    /// The node of a changeset; null beyond the last one.
    pub fn node(&self, rev: Rev) -> Node {
        self.revlog.node(rev)
    }

    /// The number of a changeset, served or not.
    pub fn rev(&self, node: &Node) -> Option<Rev> {
        self.revlog.rev(node)
    }

    /// The nodes of a changeset's parents, null for those that are not there.
    pub fn parent_nodes(&self, rev: Rev) -> [Node; 2] {
        self.revlog.parent_nodes(rev)
    }

    /// The text of a changeset, verified against its node.
    ///
    /// # Errors
    ///
    /// As [`Texts::text`].
    pub fn text(&self, texts: &mut Texts, rev: Rev) -> Result<Bytes, StoreError> {
        texts.text(&self.revlog, rev)
    }
}

impl Graph for Changelog {
    fn len(&self) -> usize {
        self.revlog.len()
    }

    fn parents(&self, rev: Rev) -> [Option<Rev>; 2] {
        self.revlog.parents(rev)
    }
}

fn next_lineage() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
