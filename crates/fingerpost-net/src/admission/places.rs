//! Places for work, and a bounded queue before them.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// So much is worked on at once; the rest waits in order.
#[derive(Debug)]
pub(super) struct Places {
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    wait_max: Duration,
    waiting: Gauge,
}

impl Places {
    pub(super) fn new(at_once: usize, waiting_max: usize, wait_max: Duration) -> Self {
        let semaphore = |size: usize| Arc::new(Semaphore::new(size.min(Semaphore::MAX_PERMITS)));
        Self {
            places: semaphore(at_once.max(1)),
            queue: semaphore(waiting_max),
            wait_max,
            waiting: Gauge::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, name: &str, about: &str) {
        registry.register(name, about, self.waiting.clone());
    }

    /// A place. `None` when too many wait for one, or it did not come in time;
    /// `refused` is told.
    pub(super) async fn take(&self, refused: impl FnOnce()) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        let Ok(_queued) = self.queue.try_acquire() else {
            refused();
            return None;
        };
        let _waiting = Waiting::new(&self.waiting);
        let place = timeout(self.wait_max, self.places.clone().acquire_owned()).await;
        match place {
            Ok(Ok(place)) => Some(place),
            // Nobody closes the semaphore.
            Ok(Err(_)) | Err(_) => {
                refused();
                None
            }
        }
    }
}

/// Counted as long as it lives: who waits may be dropped.
struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
