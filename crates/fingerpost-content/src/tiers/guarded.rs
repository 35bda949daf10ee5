//! One tier within its deadlines and breakers: whatever it does, the caller
//! gets an answer in time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fingerpost_core::{CacherError, Content, EntryName, Usage};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::Tier;
use super::watched::Watched;
use crate::breaker::{Breaker, Permit};
use crate::metrics::{Metrics, TierMetrics};

/// A tier that is worked without when it fails. Each kind of work has its own
/// breaker: a full disk gives what it has, and a store that answers look-ups
/// may fail to send.
pub(crate) struct Guarded {
    tier: Tier,
    asking: Arc<Breaker>,
    reading: Arc<Breaker>,
    storing: Arc<Breaker>,
    metrics: TierMetrics,
}

impl Guarded {
    pub(super) fn new(tier: Tier, metrics: &Metrics) -> Self {
        let breaker = || Breaker::new(tier.rules.breaker);
        Self {
            asking: breaker(),
            reading: breaker(),
            storing: breaker(),
            metrics: metrics.of_tier(tier.cacher.name()),
            tier,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.tier.cacher.name()
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.tier.cacher.usage()
    }

    /// Each kind of work, and whether the tier is left alone with it.
    pub(crate) fn suspended(&self) -> [(&'static str, bool); 3] {
        [
            ("look_up", self.asking.is_open()),
            ("read", self.reading.is_open()),
            ("store", self.storing.is_open()),
        ]
    }

    pub(super) const fn promotes(&self) -> bool {
        self.tier.rules.promote
    }

    /// Whether an entry of this length is to be stored here.
    pub(super) fn takes(&self, len: u64) -> bool {
        self.tier.rules.write && self.tier.rules.lengths.contains(&len)
    }

    /// What is found, if that is known in time.
    pub(super) async fn look_up(self: &Arc<Self>, name: &EntryName) -> Option<Arc<dyn Content>> {
        let now = Instant::now();
        let asking = self.asking.enter(now)?;
        let reading = self.reading.enter(now)?;
        let deadline = self.tier.rules.look_up_deadline;
        match within(deadline, self.tier.cacher.look_up(name)).await {
            Ok(Some(content)) => {
                asking.succeeded();
                self.metrics.count_hit();
                Some(Arc::new(TierContent {
                    tier: Arc::clone(self),
                    name: *name,
                    content,
                    first: Mutex::new(Some(reading)),
                }))
            }
            Ok(None) => {
                asking.succeeded();
                self.metrics.count_miss();
                None
            }
            Err(error) => {
                self.note(name, asking, &error);
                None
            }
        }
    }

    /// Stores an entry if it is one for this tier.
    pub(super) async fn store(self: &Arc<Self>, name: &EntryName, content: Arc<dyn Content>) {
        let len = content.len();
        if !self.takes(len) {
            return;
        }
        let Some(permit) = self.storing.enter(Instant::now()) else {
            return;
        };
        let watched = Arc::new(Watched::new(content));
        let storing = self.tier.cacher.store(name, watched.clone());
        let deadline = self.tier.rules.store_deadline;
        match watched.unless_it_stalls(deadline, storing).await {
            Ok(()) => {
                permit.succeeded();
                self.metrics.count_stored(len);
            }
            // The content could not be read; the tier is not to blame.
            Err(_) if watched.has_failed() => {}
            Err(error @ (CacherError::Length { .. } | CacherError::Full)) => {
                self.metrics.count_failure(&error);
                permit.succeeded();
            }
            Err(error) => self.note(name, permit, &error),
        }
    }

    /// Removes an entry; says whether it is known to have been there.
    pub(super) async fn remove(self: &Arc<Self>, name: &EntryName) -> bool {
        let Some(permit) = self.asking.enter(Instant::now()) else {
            return false;
        };
        let deadline = self.tier.rules.look_up_deadline;
        match within(deadline, self.tier.cacher.remove(name)).await {
            Ok(removed) => {
                permit.succeeded();
                removed
            }
            Err(error) => {
                self.note(name, permit, &error);
                false
            }
        }
    }

    /// Counts a failure, and removes an entry that is damaged.
    fn note(self: &Arc<Self>, name: &EntryName, permit: Permit, error: &CacherError) {
        tracing::debug!(tier = self.name(), entry = ?name, %error, "worked without a tier");
        self.metrics.count_failure(error);
        if permit.failed(Instant::now()) {
            tracing::warn!(tier = self.name(), %error, "a tier fails and is left alone for a while");
        }
        if matches!(error, CacherError::Damaged(_)) {
            let (tier, name) = (Arc::clone(self), *name);
            tokio::spawn(async move {
                let deadline = tier.tier.rules.look_up_deadline;
                if let Err(error) = within(deadline, tier.tier.cacher.remove(&name)).await {
                    tracing::debug!(tier = tier.name(), %error, "cannot remove what is damaged");
                }
            });
        }
    }
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guarded({}, {:?})", self.name(), self.suspended())
    }
}

/// The answer, or [`CacherError::TimedOut`].
async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, CacherError>>,
) -> Result<T, CacherError> {
    let answer = timeout(deadline, call).await;
    answer.unwrap_or(Err(CacherError::TimedOut(deadline)))
}

/// An entry of a tier, which fails rather than keep its reader waiting.
struct TierContent {
    tier: Arc<Guarded>,
    name: EntryName,
    content: Arc<dyn Content>,
    /// The permit of the first read: the probe of a tier whose reads failed.
    first: Mutex<Option<Permit>>,
}

impl TierContent {
    async fn read_in_time(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let first = self.first.lock().take();
        let permit = first.unwrap_or_else(|| self.tier.reading.go_on());
        let deadline = self.tier.tier.rules.read_deadline;
        let result = within(deadline, self.content.read(offset, max)).await;
        match &result {
            Ok(_) => permit.succeeded(),
            Err(error) => self.tier.note(&self.name, permit, error),
        }
        result
    }
}

impl Content for TierContent {
    fn len(&self) -> u64 {
        self.content.len()
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(self.read_in_time(offset, max))
    }
}
