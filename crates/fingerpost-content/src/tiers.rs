//! Stores one behind the other, the fastest first.

mod guarded;
mod promotion;
mod watched;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Cacher, CacherError, Content, EntryName};
use futures_util::future::{BoxFuture, join_all};
use prometheus_client::registry::Registry;

pub(crate) use self::guarded::Guarded;
use self::promotion::Promotions;
use crate::breaker::BreakerConfig;
use crate::metrics::Metrics;

/// A store and how it is used.
#[derive(Clone)]
pub struct Tier {
    /// The store.
    pub cacher: Arc<dyn Cacher>,
    /// What it is asked for, and how long.
    pub rules: TierRules,
}

impl std::fmt::Debug for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tier({}, {:?})", self.cacher.name(), self.rules)
    }
}

/// What a tier is asked for, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierRules {
    /// Bytes of the entries that are stored here.
    pub lengths: RangeInclusive<u64>,
    /// Whether anything is stored here.
    pub write: bool,
    /// Whether what is found here is copied to faster tiers.
    pub promote: bool,
    /// How long a look-up or a removal may take.
    pub look_up_deadline: Duration,
    /// How long one read of a found entry may take.
    pub read_deadline: Duration,
    /// How long storing may go on without reading further in what is stored.
    pub store_deadline: Duration,
    /// When the tier is left alone, and for how long.
    pub breaker: BreakerConfig,
}

/// Entries of any length, written and promoted; a second for look-ups, five
/// for reading and storing.
impl Default for TierRules {
    fn default() -> Self {
        Self {
            lengths: 0..=u64::MAX,
            write: true,
            promote: true,
            look_up_deadline: Duration::from_secs(1),
            read_deadline: Duration::from_secs(5),
            store_deadline: Duration::from_secs(5),
            breaker: BreakerConfig::default(),
        }
    }
}

/// Stores one behind the other. A look-up asks in order; what is found is
/// copied to the tiers before in the background. What is stored goes to every
/// tier that takes it.
///
/// A tier that fails, hangs or gives damaged entries is worked without and
/// left alone after some failures; it is tried again after a pause. None of it
/// fails a call: only reading an entry may, when its tier fails in the middle.
#[derive(Debug)]
pub struct Tiers {
    tiers: Vec<Arc<Guarded>>,
    promotions: Arc<Promotions>,
    metrics: Metrics,
}

impl Tiers {
    /// These tiers, the fastest first.
    pub fn new(tiers: Vec<Tier>) -> Self {
        let metrics = Metrics::default();
        let guarded = |tier| Arc::new(Guarded::new(tier, &metrics));
        Self {
            tiers: tiers.into_iter().map(guarded).collect(),
            promotions: Arc::default(),
            metrics,
        }
    }

    /// Registers what the tiers count: `cache_hits`, `cache_misses`,
    /// `cache_stored`, `cache_stored_bytes`, `cache_failures` by kind,
    /// `cache_suspended` by work, `cache_entries` and `cache_bytes`, each by
    /// tier, and `cache_promotions_skipped`. The registry's prefix comes before.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(self.tiers.clone(), registry);
    }

    async fn find(&self, name: &EntryName) -> Option<Arc<dyn Content>> {
        for (place, tier) in self.tiers.iter().enumerate() {
            let Some(content) = tier.look_up(name).await else {
                continue;
            };
            if tier.promotes() {
                let faster = &self.tiers[..place];
                self.promotions.start(name, &content, faster, &self.metrics);
            }
            return Some(content);
        }
        None
    }
}

impl Cacher for Tiers {
    fn name(&self) -> &str {
        "tiers"
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        Box::pin(async move { Ok(self.find(name).await) })
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        let storing = move |tier: &'a Arc<Guarded>| tier.store(name, Arc::clone(&content));
        Box::pin(async move {
            join_all(self.tiers.iter().map(storing)).await;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(async move {
            let removals = join_all(self.tiers.iter().map(|tier| tier.remove(name))).await;
            Ok(removals.contains(&true))
        })
    }
}

#[cfg(test)]
mod tests;
