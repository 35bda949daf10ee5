//! Memory that all connections and requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every connection may hold this much without asking.
const FREE_BYTES: usize = 128 << 10;

/// The body of every request may. It is less, because one connection of HTTP/2 has
/// a hundred of them.
const FREE_BODY_BYTES: usize = 16 << 10;

/// Reservations are made in steps of this, so that they are rare.
const STEP_BYTES: usize = 256 << 10;

/// Bytes that connections may buffer together.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    left: AtomicUsize,
}

impl Budget {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self {
            bytes,
            left: AtomicUsize::new(bytes),
        }
    }

    /// All of it.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

/// The part of a [`Budget`] that one connection or request has; given back when
/// dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    taken: usize,
    free: usize,
}

impl Share {
    /// The share of a connection.
    pub(crate) const fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            taken: 0,
            free: FREE_BYTES,
        }
    }

    /// The share of a request's body.
    pub(crate) const fn of_body(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            taken: 0,
            free: FREE_BODY_BYTES,
        }
    }

    /// Whether so many `bytes` may be held; adjusts the share to it.
    #[inline]
    pub(crate) fn covers(&mut self, bytes: usize) -> bool {
        if bytes <= self.free && self.taken == 0 {
            return true;
        }
        self.adjust(bytes.saturating_sub(self.free))
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
        let mut body = Share::of_body(Arc::new(Budget::new(0)));
        assert!(body.covers(FREE_BODY_BYTES));
        assert!(!body.covers(FREE_BODY_BYTES + 1));
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
