//! Up to which deletion everything was heard of, and which one somebody saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::state::DeletionEpoch;

/// Where the follower stands among the server's deletions; nowhere before it was told.
#[derive(Default)]
pub(super) struct Standing(ArcSwapOption<Inner>);

struct Inner {
    history: [u8; 16],
    epoch: AtomicU64,
    /// The latest epoch that anybody saw.
    seen: AtomicU64,
}

impl Standing {
    /// Whether something was deleted of which it is not known what.
    pub(super) fn is_behind(&self) -> bool {
        let standing = self.0.load();
        standing.as_deref().is_some_and(|standing| {
            let seen = standing.seen.load(Ordering::Acquire);
            seen > standing.epoch.load(Ordering::Acquire)
        })
    }

    /// Up to here everything was heard of.
    pub(super) fn epoch(&self) -> Option<DeletionEpoch> {
        let standing = self.0.load();
        standing.as_deref().map(|standing| DeletionEpoch {
            history: standing.history,
            epoch: standing.epoch.load(Ordering::Acquire),
        })
    }

    /// Notes an epoch; whether more was deleted than is known.
    pub(super) fn see(&self, epoch: DeletionEpoch) -> bool {
        let standing = self.0.load();
        let Some(standing) = standing.as_deref() else {
            return false;
        };
        if standing.history == epoch.history {
            standing.seen.fetch_max(epoch.epoch, Ordering::AcqRel);
            return epoch.epoch > standing.epoch.load(Ordering::Acquire);
        }
        // What answers are of another history is found out by asking, and until then they do not mix.
        standing.seen.store(u64::MAX, Ordering::Release);
        true
    }

    /// The latest epoch that was seen before now.
    pub(super) fn seen(&self) -> u64 {
        let standing = self.0.load();
        let seen = |standing: &Inner| standing.seen.load(Ordering::Acquire);
        standing.as_deref().map_or(0, seen)
    }

    /// Everything up to an epoch was heard of. `settled` was seen before, and is no later one.
    pub(super) fn stands(&self, epoch: DeletionEpoch, settled: Option<u64>) {
        let standing = self.0.load();
        if let Some(standing) = standing.as_deref()
            && standing.history == epoch.history
        {
            standing.epoch.fetch_max(epoch.epoch, Ordering::AcqRel);
            if let Some(settled) = settled {
                let orders = (Ordering::AcqRel, Ordering::Relaxed);
                let seen = &standing.seen;
                _ = seen.compare_exchange(settled, epoch.epoch, orders.0, orders.1);
            }
            return;
        }
        self.0.store(Some(Arc::new(Inner {
            history: epoch.history,
            epoch: AtomicU64::new(epoch.epoch),
            seen: AtomicU64::new(epoch.epoch),
        })));
    }

    /// Nothing is known of deletions any more.
    pub(super) fn forget(&self) {
        self.0.store(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(history: u8, epoch: u64) -> DeletionEpoch {
        let history = [history; 16];
        DeletionEpoch { history, epoch }
    }

    #[test]
    fn who_saw_what_is_not_known_is_behind_until_that_is_settled() {
        let standing = Standing::default();
        assert!(!standing.see(epoch(1, 9)) && !standing.is_behind());
        standing.stands(epoch(1, 4), None);
        assert!(!standing.see(epoch(1, 4)) && !standing.is_behind());
        assert!(standing.see(epoch(1, 6)) && standing.is_behind());
        // A batch that does not reach so far, and one that does.
        standing.stands(epoch(1, 5), None);
        assert!(standing.is_behind());
        standing.stands(epoch(1, 6), Some(6));
        assert!(!standing.is_behind());
        assert_eq!(standing.epoch(), Some(epoch(1, 6)));
        // Another history is asked about, and whoever is asked says which holds.
        assert!(standing.see(epoch(2, 1)) && standing.is_behind());
        let seen = standing.seen();
        standing.stands(epoch(1, 6), Some(seen));
        assert!(!standing.is_behind());
        standing.stands(epoch(2, 1), None);
        assert_eq!(standing.epoch(), Some(epoch(2, 1)));
    }
}
