//! Keys that were fetched, and when to fetch them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fingerpost_core::{Clock, Timestamp};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::algorithm::Algorithm;
use super::keys::{KeySet, KeySource, PublicKey};
use super::metrics::KeysState;
use super::{FetchError, Refusal};
use crate::recent::micros;

/// Unknown keys cause a request this often at most, however many there are.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(30);
/// A fetch that does not end by itself is given up.
const FETCH_MAX: Duration = Duration::from_secs(30);
const SECOND_MICROS: i64 = 1_000_000;
/// Nobody was asked yet.
const NEVER: i64 = i64::MIN;

/// How long keys hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// Keys are fetched again in the background after this.
    pub(super) refresh: Duration,
    /// Keys that could not be fetched again go on for so long.
    pub(super) keep: Duration,
}

/// One issuer's keys.
pub(super) struct KeyCache(Arc<Inner>);

struct Inner {
    issuer: Arc<str>,
    source: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    holding: Holding,
    fetched: ArcSwapOption<Fetched>,
    /// Who has it asks the issuer; everybody else waits for the answer.
    turn: Arc<Mutex<()>>,
    /// When the issuer was asked last, in microseconds since 1970.
    asked: AtomicI64,
    since: Timestamp,
}

struct Fetched {
    keys: KeySet,
    at: Timestamp,
}

/// A set in which the key is, and the key's name: the set may be replaced while
/// the key is used.
pub(super) struct Found {
    fetched: Arc<Fetched>,
    id: Option<String>,
    algorithm: Algorithm,
}

impl Found {
    pub(super) fn key(&self) -> Result<&PublicKey, Refusal> {
        self.fetched.keys.find(self.id.as_deref(), self.algorithm)
    }
}

impl KeyCache {
    pub(super) fn new(
        issuer: Arc<str>,
        source: Arc<dyn KeySource>,
        holding: Holding,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Inner {
            issuer,
            source,
            since: clock.now(),
            clock,
            holding,
            fetched: ArcSwapOption::empty(),
            turn: Arc::default(),
            asked: AtomicI64::new(NEVER),
        }))
    }

    /// How it is with the keys now.
    pub(super) fn state(&self) -> KeysState {
        let (fetched, now) = (self.0.fetched.load(), self.0.clock.now());
        let at = fetched.as_ref().map_or(self.0.since, |fetched| fetched.at);
        let usable = self
            .0
            .holding(&fetched)
            .map(|fetched| fetched.keys.count().0);
        KeysState {
            age_seconds: now.0.saturating_sub(at.0).div_euclid(SECOND_MICROS),
            usable: usable.map_or(0, |count| i64::try_from(count).unwrap_or(i64::MAX)),
        }
    }

    /// The key with this name, or the only one, for this algorithm. When it is unknown the issuer is
    /// asked, unless that was done a moment ago.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Found, Refusal> {
        let unknown = match self.0.look(id, algorithm) {
            Err(refusal @ (Refusal::UnknownKey | Refusal::KeysUnavailable)) => refusal,
            known => return known,
        };
        if !self.0.may_ask() {
            return Err(unknown);
        }
        let turn = self.0.turn.clone().lock_owned();
        let turn = tokio::time::timeout(FETCH_MAX, turn).await;
        let turn = turn.map_err(|_| unknown)?;
        // Somebody else may have asked while we waited.
        let looked = self.0.look(id, algorithm);
        if looked.is_ok() || !self.0.may_ask() {
            return looked;
        }
        self.ask(turn).await;
        self.0.look(id, algorithm)
    }

    /// Fetches the keys now and again and again, until it is dropped.
    pub(super) async fn keep_fresh(&self) {
        loop {
            let turn = self.0.turn.clone().lock_owned().await;
            let pause = if self.ask(turn).await {
                self.0.holding.refresh
            } else {
                self.0.holding.refresh.min(ASK_EVERY)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Fetches the keys on a task of its own: a caller that hangs up must not make
    /// the next one ask again. Returns whether there are new ones.
    async fn ask(&self, turn: OwnedMutexGuard<()>) -> bool {
        let inner = self.0.clone();
        let asking = tokio::spawn(async move {
            let _turn = turn;
            inner.fetch().await
        });
        asking.await.unwrap_or(false)
    }
}

impl Inner {
    /// What was fetched, if it holds still.
    fn holding<'a>(&self, fetched: &'a Option<Arc<Fetched>>) -> Option<&'a Arc<Fetched>> {
        let age = |fetched: &Fetched| self.clock.now().0.saturating_sub(fetched.at.0);
        let fetched = fetched.as_ref();
        fetched.filter(|fetched| age(fetched) < micros(self.holding.keep))
    }

    fn look(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Found, Refusal> {
        let fetched = self.fetched.load();
        let fetched = self.holding(&fetched).ok_or(Refusal::KeysUnavailable)?;
        let fetched = Arc::clone(fetched);
        fetched.keys.find(id, algorithm)?;
        Ok(Found {
            fetched,
            id: id.map(str::to_owned),
            algorithm,
        })
    }

    fn may_ask(&self) -> bool {
        let asked = self.asked.load(Ordering::Acquire);
        let since = self.clock.now().0.saturating_sub(asked);
        // A clock that was set back by much does not stop it.
        asked == NEVER || since.saturating_abs() >= micros(ASK_EVERY)
    }

    async fn fetch(&self) -> bool {
        let fetched = tokio::time::timeout(FETCH_MAX, self.source.fetch()).await;
        let fetched = fetched.unwrap_or(Err(FetchError::Timeout));
        let now = self.clock.now();
        self.asked.store(now.0, Ordering::Release);
        let issuer = &*self.issuer;
        match fetched {
            Ok(keys) => {
                let (usable, skipped) = keys.count();
                tracing::debug!(issuer, usable, skipped, "The keys of {issuer} were fetched");
                self.fetched
                    .store(Some(Arc::new(Fetched { keys, at: now })));
                true
            }
            Err(error) => {
                tracing::warn!(
                    issuer,
                    %error,
                    "The keys of {issuer} cannot be fetched: {error}; known ones go on for a while"
                );
                false
            }
        }
    }
}
