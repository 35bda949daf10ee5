//! Copying what was found in a slow tier to faster ones.

use std::collections::HashSet;
use std::sync::Arc;

use fingerpost_core::{Content, EntryName};
use parking_lot::Mutex;

use super::guarded::Guarded;
use crate::metrics::Metrics;
use crate::reading::read_all;

/// Entries on their way up at once.
const PROMOTIONS_MAX: usize = 8;
/// Up to this an entry is read once for all tiers above.
const IN_MEMORY_MAX: u64 = 1 << 20;

/// The entries on their way up.
#[derive(Debug, Default)]
pub(super) struct Promotions(Mutex<HashSet<EntryName>>);

impl Promotions {
    /// Copies an entry to the tiers that take it, behind the caller's back and
    /// if there is a place for it.
    pub(super) fn start(
        self: &Arc<Self>,
        name: &EntryName,
        content: &Arc<dyn Content>,
        faster: &[Arc<Guarded>],
        metrics: &Metrics,
    ) {
        let takes = |tier: &&Arc<Guarded>| tier.takes(content.len());
        let faster: Vec<_> = faster.iter().filter(takes).cloned().collect();
        if faster.is_empty() {
            return;
        }
        let mut running = self.0.lock();
        if running.len() >= PROMOTIONS_MAX {
            metrics.count_promotion_skipped();
            return;
        }
        if running.insert(*name) {
            let place = Place {
                promotions: Arc::clone(self),
                name: *name,
            };
            tokio::spawn(copy(place, Arc::clone(content), faster));
        }
    }
}

async fn copy(place: Place, mut content: Arc<dyn Content>, faster: Vec<Arc<Guarded>>) {
    if content.len() <= IN_MEMORY_MAX {
        // What cannot be read was counted where it lies.
        let Ok(bytes) = read_all(&*content).await else {
            return;
        };
        content = Arc::new(bytes);
    }
    for tier in faster {
        tier.store(&place.name, Arc::clone(&content)).await;
    }
}

/// Keeps an entry from being copied twice at once.
struct Place {
    promotions: Arc<Promotions>,
    name: EntryName,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.promotions.0.lock().remove(&self.name);
    }
}
