//! From a token to what its bearer may.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, Credential, Timestamp};
use futures_util::future::join_all;
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::cache::KeyCache;
use super::jws::Jws;
use super::keys::KeySource;
use super::metrics::{KeysCollector, KeysState};
use super::settings::Issuer;
use super::{Refusal, claims};
use crate::Grant;
use crate::recent::Recent;

/// How long a token that was right is believed without checking it again.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// Tokens remembered at most.
const REMEMBERED_MAX: usize = 1024;
/// Bytes of a subject that are kept for the log.
const SUBJECT_BYTES_MAX: usize = 512;
const SECOND_MICROS: i64 = 1_000_000;

/// A job of a CI system, and what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What it may, and until when.
    pub grant: Grant,
    /// Who vouches for it.
    pub issuer: Arc<str>,
    /// The claim `sub`, if there is one and it is not too long: for the log.
    pub subject: Option<Arc<str>>,
    /// Which of the issuer's rules matched, from 1.
    pub rule: usize,
}

/// Checks the tokens of some issuers. Clones share keys and what is remembered.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuers: Vec<(Issuer, KeyCache)>,
    token_bytes_max: usize,
    clock: Arc<dyn Clock>,
    recent: Recent<Workload>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let issuers = self.0.issuers.iter().map(|(issuer, _)| issuer.url());
        f.debug_list().entries(issuers).finish()
    }
}

impl Verifier {
    /// Trusts these issuers, with the keys that their sources give. Of two with
    /// one URL the first counts. Fails when there are no random numbers.
    pub fn new(
        issuers: Vec<(Issuer, Arc<dyn KeySource>)>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, getrandom::Error> {
        let lengths = issuers.iter().map(|(issuer, _)| issuer.token_bytes_max);
        let token_bytes_max = lengths.max().unwrap_or(0);
        let with_keys = |(issuer, source): (Issuer, _)| {
            let keys = KeyCache::new(issuer.url.clone(), source, issuer.holding, clock.clone());
            (issuer, keys)
        };
        Ok(Self(Arc::new(Inner {
            issuers: issuers.into_iter().map(with_keys).collect(),
            token_bytes_max,
            recent: Recent::new(REMEMBERED_MAX, REMEMBERED_FOR, clock.clone())?,
            clock,
        })))
    }

    /// Fetches the keys of all issuers now, and again and again, until it is
    /// dropped: for a task of its own. Without it keys are fetched when a token
    /// names an unknown one, and end after their time.
    pub async fn keep_keys_fresh(&self) {
        let all = self.0.issuers.iter();
        join_all(all.map(|(_, keys)| keys.keep_fresh())).await;
    }

    /// Shows at `registry`, whose prefix is `fingerpost`, how old keys are.
    pub fn register_metrics(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(KeysCollector(self.clone())));
    }

    /// How it is with the keys of each issuer.
    pub(super) fn issuers_keys(&self) -> impl Iterator<Item = (&str, KeysState)> {
        let all = self.0.issuers.iter();
        all.map(|(issuer, keys)| (issuer.url(), keys.state()))
    }

    /// What the bearer of this token may. Waits for the issuer at most when the
    /// token's key is unknown, and then not every time.
    pub async fn verify(&self, token: &[u8]) -> Result<Workload, Refusal> {
        if let Some(workload) = self.remembered(token)? {
            return Ok(workload);
        }
        let key = self.0.recent.key(&[token]);
        let workload = self.check(token, self.0.clock.now()).await?;
        self.0.recent.keep(key, workload.clone());
        Ok(workload)
    }

    /// As [`Verifier::verify`], as far as it can be said without comparing a
    /// signature; `None` if it cannot.
    pub(crate) fn known(&self, token: &[u8]) -> Result<Option<Workload>, Refusal> {
        let remembered = self.remembered(token)?;
        if remembered.is_none() {
            self.claimed(token, self.0.clock.now())?;
        }
        Ok(remembered)
    }

    fn remembered(&self, token: &[u8]) -> Result<Option<Workload>, Refusal> {
        if token.len() > self.0.token_bytes_max {
            return Err(Refusal::TooLong);
        }
        let workload = self.0.recent.get(&self.0.recent.key(&[token]));
        match workload {
            Some(workload) if !workload.grant.holds_at(self.0.clock.now()) => Err(Refusal::Expired),
            other => Ok(other),
        }
    }

    /// Everything that is cheap comes before the signature, and the rules after
    /// it: what they say of a token is then true.
    async fn check(&self, token: &[u8], now: Timestamp) -> Result<Workload, Refusal> {
        let Claimed {
            jws,
            issuer,
            keys,
            end,
        } = self.claimed(token, now)?;
        let found = keys.find(jws.key_id.as_deref(), jws.algorithm).await?;
        if !found
            .key()?
            .verifies(jws.signed, jws.signature, jws.algorithm)
        {
            return Err(Refusal::Signature);
        }
        let mut rules = issuer.rules.iter().enumerate();
        let (place, rule) = rules
            .find(|(_, rule)| rule.matches(&jws.claims))
            .ok_or(Refusal::NoRule)?;
        let subject = jws.claims.get("sub").and_then(Value::as_str);
        Ok(Workload {
            grant: Grant {
                user: rule.user.as_str().into(),
                permissions: rule.permissions,
                namespaces: rule.namespaces.clone(),
                until: Some(Timestamp(end.saturating_mul(SECOND_MICROS))),
                credential: Credential::Workload(issuer.url.clone()),
            },
            issuer: issuer.url.clone(),
            subject: subject
                .filter(|subject| subject.len() <= SUBJECT_BYTES_MAX)
                .map(Arc::from),
            rule: place + 1,
        })
    }

    /// What a token claims, as far as it may be true.
    fn claimed<'a>(&'a self, token: &'a [u8], now: Timestamp) -> Result<Claimed<'a>, Refusal> {
        let jws = Jws::parse(token)?;
        let url = claims::issuer(&jws.claims)?;
        let mut issuers = self.0.issuers.iter();
        let found = issuers.find(|(issuer, _)| *issuer.url == *url);
        let (issuer, keys) = found.ok_or(Refusal::Issuer)?;
        if token.len() > issuer.token_bytes_max {
            return Err(Refusal::TooLong);
        }
        if !issuer.algorithms.contains(&jws.algorithm) {
            return Err(Refusal::Algorithm);
        }
        claims::check_audience(&jws.claims, &issuer.audiences)?;
        let seconds = now.0.div_euclid(SECOND_MICROS);
        let end = claims::check_times(&jws.claims, seconds, issuer.times)?;
        Ok(Claimed {
            jws,
            issuer,
            keys,
            end,
        })
    }
}

/// A token that nothing but its signature and the rules speak against.
struct Claimed<'a> {
    jws: Jws<'a>,
    issuer: &'a Issuer,
    keys: &'a KeyCache,
    /// When it ends, in seconds.
    end: i64,
}
