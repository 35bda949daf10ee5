//! How fast a snapshot is made: clients go before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fingerpost_hashequiv::HashEquiv;
use fingerpost_hashequiv::changes::ChoreLease;
use tokio::runtime::Handle;

/// The rest after a page takes half as long as the page, and so long at most.
const REST_MAX: Duration = Duration::from_millis(100);
/// The rest between two steps of writing.
const STEP_REST: Duration = Duration::from_micros(500);

/// Rests, keeps the lease, and knows when to stop.
pub(super) struct Pace {
    service: Arc<HashEquiv>,
    lease: ChoreLease,
    held: Instant,
    stop: Arc<AtomicBool>,
}

impl Pace {
    /// For who has just taken the lease.
    pub(super) fn new(service: Arc<HashEquiv>, lease: ChoreLease, stop: Arc<AtomicBool>) -> Self {
        Self {
            service,
            lease,
            held: Instant::now(),
            stop,
        }
    }

    /// Leaves the readers to others. Blocks.
    pub(super) fn rest(&self, worked: Duration) {
        std::thread::sleep((worked / 2).min(REST_MAX));
    }

    /// Whether to go on; not when the server stops, or another process has the lease.
    /// Blocks.
    pub(super) fn go_on(&mut self, runtime: &Handle) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return false;
        }
        std::thread::sleep(STEP_REST);
        if self.held.elapsed() < self.lease.term / 4 {
            return true;
        }
        self.held = Instant::now();
        let held = runtime.block_on(self.service.hold_lease(self.lease));
        held.unwrap_or(false)
    }
}
