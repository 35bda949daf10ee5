//! Memory that all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every connection may hold this much without asking.
const FREE_BYTES: usize = 128 << 10;

/// Reservations are made in steps of this, so that they are rare.
const STEP_BYTES: usize = 256 << 10;

/// Bytes that connections may buffer together.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicUsize,
}

impl Budget {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self {
            left: AtomicUsize::new(bytes),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

/// One connection's part of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    taken: usize,
}

impl Share {
    pub(crate) const fn new(budget: Arc<Budget>) -> Self {
        Self { budget, taken: 0 }
    }

    /// Whether the connection may hold `bytes`; adjusts the share to it.
    #[inline]
    pub(crate) fn covers(&mut self, bytes: usize) -> bool {
        if bytes <= FREE_BYTES && self.taken == 0 {
            return true;
        }
        self.adjust(bytes.saturating_sub(FREE_BYTES))
    }

    #[cold]
    fn adjust(&mut self, bytes: usize) -> bool {
        let wanted = bytes.next_multiple_of(STEP_BYTES);
        if wanted > self.taken {
            if !self.budget.take(wanted - self.taken) {
                return false;
            }
        } else {
            self.budget
                .left
                .fetch_add(self.taken - wanted, Ordering::Relaxed);
        }
        self.taken = wanted;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_holdings_are_free() {
        let mut share = Share::new(Arc::new(Budget::new(0)));
        assert!(share.covers(FREE_BYTES));
        assert!(!share.covers(FREE_BYTES + 1));
        assert!(share.covers(FREE_BYTES));
    }

    #[test]
    fn a_share_follows_what_is_held() {
        let budget = Arc::new(Budget::new(2 * STEP_BYTES));
        let mut one = Share::new(Arc::clone(&budget));
        let mut two = Share::new(Arc::clone(&budget));
        assert!(one.covers(FREE_BYTES + 2 * STEP_BYTES));
        assert!(!two.covers(FREE_BYTES + 1));
        assert!(one.covers(FREE_BYTES + 1));
        assert!(two.covers(FREE_BYTES + STEP_BYTES));
        drop((one, two));
        assert_eq!(budget.left.load(Ordering::Relaxed), 2 * STEP_BYTES);
    }
}
