//! Which target an answer is redirected to.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fingerpost_core::{
    CacherError, Clock, Content, ContentCoding, EntryForm, Follower, Following, Redirect,
    RedirectTarget, Redirects, SecretUrl,
};
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;

use crate::breaker::{Breaker, BreakerConfig};
use crate::object::Lying;
use crate::presence::{Known, Presence};
use crate::target::{Probe, Target, Where};
use crate::target_metrics::{TargetCounters, TargetMetrics};

/// Entries per target of which it is remembered that they are there.
const PRESENT_MAX: usize = 100_000;

/// All redirect targets in the server's order.
#[derive(Debug)]
pub struct RedirectTargets {
    targets: Vec<Arc<Served>>,
    metrics: TargetMetrics,
}

/// A target with what is known about it.
pub struct Served {
    target: Target,
    healthy: AtomicBool,
    /// Whether its store answers, which a probe does not ask.
    breaker: Arc<Breaker>,
    presence: Presence,
    /// Tells how old is what lies there.
    clock: Arc<dyn Clock>,
    counters: TargetCounters,
}

impl RedirectTargets {
    /// Sorts and checks. Targets that are probed count as unhealthy until a
    /// probe has shown that they work. An entry is redirected to for
    /// `presence_ttl` after it was uploaded or seen; keep it shorter than what
    /// the place waits before it deletes something. How old something is there is
    /// told by `clock`, against the time that the place gives for it.
    ///
    /// # Errors
    ///
    /// A sentence that names the target that is wrong.
    pub fn new(
        mut targets: Vec<Target>,
        presence_ttl: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let mut names = HashSet::new();
        for target in &targets {
            target.check()?;
            if !names.insert(&target.advertised.name) {
                let name = &target.advertised.name;
                return Err(format!(
                    "{name}: there are two redirect targets of that name"
                ));
            }
        }
        targets.sort_by_key(|target| target.priority);
        let metrics = TargetMetrics::default();
        let served = |target: Target| {
            Arc::new(Served {
                healthy: AtomicBool::new(target.probe == Probe::Nothing),
                breaker: Breaker::new(BreakerConfig::default()),
                presence: Presence::new(presence_ttl, PRESENT_MAX),
                clock: Arc::clone(&clock),
                counters: metrics.of_target(&target.advertised.name),
                target,
            })
        };
        Ok(Self {
            targets: targets.into_iter().map(served).collect(),
            metrics,
        })
    }

    /// All of them in the server's order.
    pub fn all(&self) -> &[Arc<Served>] {
        &self.targets
    }

    /// Registers what the targets count: `redirects`, `redirects_bytes`,
    /// `redirects_published`, `redirects_failures` and `redirects_healthy`, each
    /// by target. The registry's prefix comes before.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(self.targets.clone(), registry);
    }

    /// The targets that an answer may be redirected to, the best first.
    fn fitting(
        &self,
        following: &Following,
        coding: Option<ContentCoding>,
        plain_len: Option<u64>,
    ) -> impl Iterator<Item = &Served> {
        let fits = move |served: &&Served| served.fits(following, coding, plain_len);
        self.targets.iter().map(|served| &**served).filter(fits)
    }
}

impl Redirects for RedirectTargets {
    fn advertised(&self, client: &Follower) -> Vec<RedirectTarget> {
        self.targets
            .iter()
            .filter(|served| served.is_healthy() && served.target.is_for(client))
            .map(|served| served.target.advertised.clone())
            .collect()
    }

    fn would_take(
        &self,
        following: &Following,
        coding: Option<ContentCoding>,
        plain_len: Option<u64>,
    ) -> bool {
        let mut fitting = self.fitting(following, coding, plain_len);
        fitting.next().is_some()
    }

    fn find<'a>(
        &'a self,
        following: &'a Following,
        form: &'a EntryForm,
    ) -> BoxFuture<'a, Option<Redirect>> {
        Box::pin(async move {
            for served in self.fitting(following, form.coding, Some(form.plain_len)) {
                if let Some(location) = served.find_in_time(form).await {
                    served.counters.count_redirect(form.plain_len);
                    return Some(Redirect {
                        target: served.target.advertised.name.clone(),
                        location,
                        certificates: served.target.certificates.clone(),
                    });
                }
            }
            None
        })
    }

    fn publish<'a>(
        &'a self,
        following: &'a Following,
        form: &'a EntryForm,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move {
            let mut published = Ok(());
            for served in self.fitting(following, form.coding, Some(form.plain_len)) {
                published = served.publish(form, Arc::clone(&content)).await;
                match &published {
                    Ok(()) => break,
                    Err(error) => served.note_failure(error),
                }
            }
            published
        })
    }
}

/// The most that finding an entry at a target takes. A store's own deadline is
/// shorter; a disk has none.
const FIND_DEADLINE: Duration = Duration::from_secs(3);
/// The most that an entry takes that is put to a target.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(1800);

impl Served {
    /// As it was configured.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the last probes worked.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Says how it is; returns whether that is new.
    pub(crate) fn set_healthy(&self, healthy: bool) -> bool {
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    fn fits(
        &self,
        following: &Following,
        coding: Option<ContentCoding>,
        plain_len: Option<u64>,
    ) -> bool {
        let target = &self.target;
        let name = target.advertised.name.as_bytes();
        following.targets.iter().any(|known| known == name)
            && self.is_healthy()
            && self.breaker.lets_through(tokio::time::Instant::now())
            && target.is_for(&following.client)
            && target.place.carries(coding)
            && plain_len.is_none_or(|len| target.takes(len))
            && target.may_show(following.audience)
    }

    async fn publish(
        &self,
        form: &EntryForm,
        content: Arc<dyn Content>,
    ) -> Result<(), CacherError> {
        let len = content.len();
        let put = tokio::time::timeout(PUBLISH_DEADLINE, self.put(form, content));
        put.await
            .unwrap_or(Err(CacherError::TimedOut(PUBLISH_DEADLINE)))?;
        self.presence.note(&form.name, true, Instant::now());
        self.counters.count_published(len);
        Ok(())
    }

    /// Puts an entry there.
    pub(crate) async fn put(
        &self,
        form: &EntryForm,
        content: Arc<dyn Content>,
    ) -> Result<(), CacherError> {
        match &self.target.place {
            Where::Own(own) => own.publish(form, content).await,
            Where::Presigned { store, .. } | Where::Public { store, .. } => {
                store.publish(form, content).await
            }
        }
    }

    /// A URL of the entry, if it is there and that is known in time. A target that
    /// fails again and again is left alone for a while.
    async fn find_in_time(&self, form: &EntryForm) -> Option<SecretUrl> {
        let permit = self.breaker.enter(tokio::time::Instant::now())?;
        let finding = self.find(form, Instant::now());
        let found = tokio::time::timeout(FIND_DEADLINE, finding).await;
        match found.unwrap_or(Err(CacherError::TimedOut(FIND_DEADLINE))) {
            Ok(found) => {
                permit.succeeded();
                found
            }
            Err(error) => {
                permit.failed(tokio::time::Instant::now());
                self.note_failure(&error);
                None
            }
        }
    }

    /// A URL of the entry, if it is there.
    async fn find(&self, form: &EntryForm, now: Instant) -> Result<Option<SecretUrl>, CacherError> {
        if let Some(store) = self.target.place.store() {
            let is_there = match self.presence.known(&form.name, now) {
                Known::Present => true,
                Known::Absent => false,
                Known::Nothing => {
                    let found = store.find(&form.name).await?;
                    let is_there = found.is_some_and(|found| self.is_it(form, found));
                    self.presence.note(&form.name, is_there, now);
                    is_there
                }
            };
            if !is_there {
                return Ok(None);
            }
        }
        self.url(form, now).await
    }

    /// The URL of an entry; `None` if it is known not to be there.
    pub(crate) async fn url(
        &self,
        form: &EntryForm,
        now: Instant,
    ) -> Result<Option<SecretUrl>, CacherError> {
        match &self.target.place {
            Where::Presigned { presigner, .. } => presigner.url(&form.name, now).await.map(Some),
            Where::Public { base, .. } => Ok(Some(base.url(&form.name))),
            Where::Own(own) => own.find(form).await,
        }
    }

    /// Whether what lies there may be this form, and stays for long enough. In a
    /// coding it may have any length.
    fn is_it(&self, form: &EntryForm, lying: Lying) -> bool {
        let is_long_enough = form.coding.is_some() || form.plain_len == lying.len;
        let is_young = self.target.age_max.is_none_or(|age_max| {
            let age = self.clock.now().0.saturating_sub(lying.since.0);
            u128::try_from(age).unwrap_or(0) < age_max.as_micros()
        });
        is_long_enough && is_young
    }

    fn note_failure(&self, error: &CacherError) {
        let target = &self.target.advertised.name;
        tracing::debug!(target, %error, "redirect target {target} fails: {error}");
        self.counters.count_failure();
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served")
            .field("target", &self.target)
            .field("healthy", &self.is_healthy())
            .finish_non_exhaustive()
    }
}
