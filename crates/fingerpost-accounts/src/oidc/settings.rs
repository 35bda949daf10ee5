//! An issuer as the configuration has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::PermissionSet;
use reqwest::Url;
use serde::Deserialize;

use super::Algorithm;
use super::cache::Holding;
use super::claims::TimeRules;
use super::rules::{Pattern, Rule};
use crate::Namespaces;

/// Leeway for clocks at most.
const LEEWAY_SECONDS_MAX: u64 = 300;
/// Bytes of a token at most, whatever is configured: what a header holds.
const TOKEN_BYTES_MAX: usize = 32 << 10;
/// Bytes of a user's name.
const USER_BYTES_MAX: usize = 64;

/// One issuer. [`Issuer::new`] checks it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The URL that its tokens have as `iss`, exactly.
    pub issuer: String,
    /// What its tokens may have as `aud`: names of this server that no other
    /// service accepts. One at least.
    pub audiences: Vec<String>,
    /// How its tokens may be signed.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are; its discovery document says so by itself.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// How far its clock and ours may be apart, in seconds, 300 at most.
    #[serde(default = "leeway_seconds")]
    pub leeway_seconds: u64,
    /// From `iat` to `exp` its tokens have this at most, in seconds.
    #[serde(default = "lifetime_seconds_max")]
    pub lifetime_seconds_max: u64,
    /// Bytes of a token at most, 32 KiB at most.
    #[serde(default = "token_bytes_max")]
    pub token_bytes_max: usize,
    /// Its keys are fetched again after so many seconds, 30 at least.
    #[serde(default = "refresh_seconds")]
    pub refresh_seconds: u64,
    /// While it cannot be reached its keys go on for so many seconds.
    #[serde(default = "keep_keys_seconds")]
    pub keep_keys_seconds: u64,
    /// What its workloads may: the first rule that matches says so.
    pub rules: Vec<RuleSettings>,
}

/// One rule of an issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Claims and what they must be: a text, perhaps with `*` at its end. Dots
    /// lead into objects. One at least, and not only `*`.
    #[serde(rename = "match")]
    pub matching: BTreeMap<String, String>,
    /// Names of permissions, `@read` and so on.
    pub permissions: Vec<String>,
    /// The user whom such workloads act for; need not exist.
    pub user: String,
    /// Namespaces in which the permissions hold; all of them when missing.
    #[serde(default)]
    pub namespaces: Option<Vec<String>>,
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

const fn leeway_seconds() -> u64 {
    60
}

const fn lifetime_seconds_max() -> u64 {
    86_400
}

const fn token_bytes_max() -> usize {
    8 << 10
}

const fn refresh_seconds() -> u64 {
    600
}

const fn keep_keys_seconds() -> u64 {
    86_400
}

/// What is wrong with [`IssuerSettings`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuer {issuer}: {key}: {why}")]
pub struct BadIssuer {
    /// The issuer's URL, as it was given.
    pub issuer: String,
    /// The key, below the issuer: `audiences`, `rules[1].match.ref`. Rules count
    /// from 1.
    pub key: String,
    /// A phrase.
    pub why: String,
}

/// An issuer that was checked.
#[derive(Clone, Debug)]
pub struct Issuer {
    pub(super) url: Arc<str>,
    pub(super) audiences: Vec<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) jwks_url: Option<String>,
    pub(super) times: TimeRules,
    pub(super) token_bytes_max: usize,
    pub(super) holding: Holding,
    pub(super) rules: Vec<Rule>,
}

impl Issuer {
    /// Checks the settings.
    pub fn new(settings: IssuerSettings) -> Result<Self, BadIssuer> {
        let name = settings.issuer.clone();
        let bad = |key: String, why: String| BadIssuer {
            issuer: name.clone(),
            key,
            why,
        };
        check(&settings).map_err(|(key, why)| bad(key.to_owned(), why))?;
        let mut rules = Vec::new();
        for (place, rule) in settings.rules.into_iter().enumerate() {
            let rule = read_rule(rule);
            rules.push(rule.map_err(|(key, why)| bad(format!("rules[{}].{key}", place + 1), why))?);
        }
        Ok(Self {
            url: settings.issuer.into(),
            audiences: settings.audiences,
            algorithms: settings.algorithms,
            jwks_url: settings.jwks_url,
            times: TimeRules {
                leeway: whole(settings.leeway_seconds),
                lifetime_max: whole(settings.lifetime_seconds_max),
            },
            token_bytes_max: settings.token_bytes_max,
            holding: Holding {
                refresh: Duration::from_secs(settings.refresh_seconds),
                keep: Duration::from_secs(settings.keep_keys_seconds),
            },
            rules,
        })
    }

    /// The rules, from 1, that go by a name which can be given up and be taken by
    /// somebody else, and by no id; with the claim.
    pub fn rules_by_name(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = (1..).zip(&self.rules);
        numbered.filter_map(|(number, rule)| Some((number, rule.changeable_name()?)))
    }

    /// The exact URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Checks everything but the rules; names the key.
fn check(settings: &IssuerSettings) -> Result<(), (&'static str, String)> {
    let refuse = |key, why: &str| Err((key, why.to_owned()));
    check_url(&settings.issuer).map_err(|why| ("issuer", why))?;
    if let Some(url) = &settings.jwks_url {
        check_url(url).map_err(|why| ("jwks_url", why))?;
    }
    if settings.audiences.is_empty() || settings.audiences.iter().any(String::is_empty) {
        return refuse("audiences", "name one at least");
    }
    if settings.algorithms.is_empty() {
        return refuse("algorithms", "name one at least");
    }
    if settings.leeway_seconds > LEEWAY_SECONDS_MAX {
        return Err(("leeway_seconds", format!("{LEEWAY_SECONDS_MAX} at most")));
    }
    if settings.token_bytes_max > TOKEN_BYTES_MAX {
        return Err(("token_bytes_max", format!("{TOKEN_BYTES_MAX} at most")));
    }
    if settings.refresh_seconds < 30 {
        return refuse("refresh_seconds", "30 at least");
    }
    if settings.keep_keys_seconds < settings.refresh_seconds {
        return refuse("keep_keys_seconds", "not less than refresh_seconds");
    }
    if settings.rules.is_empty() {
        return refuse("rules", "without one no workload may anything");
    }
    Ok(())
}

fn whole(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Reads a rule; names the key that is wrong.
fn read_rule(rule: RuleSettings) -> Result<Rule, (String, String)> {
    let bad = |key: &str, why: String| (key.to_owned(), why);
    let mut patterns = Vec::new();
    for (path, text) in rule.matching {
        let pattern = Pattern::parse(&text).ok_or_else(|| {
            (
                format!("match.{path}"),
                format!("{text:?} has a star before its end"),
            )
        })?;
        patterns.push((path, pattern));
    }
    if patterns.iter().all(|(_, pattern)| pattern.is_anything()) {
        return Err(bad(
            "match",
            "name a claim; else everybody's workloads at the issuer match".into(),
        ));
    }
    let permissions = rule.permissions.iter().map(String::as_str);
    let permissions = PermissionSet::parse_names(permissions)
        .map_err(|unknown| bad("permissions", format!("{} unknown", unknown.join(", "))))?;
    let is_user = (1..=USER_BYTES_MAX).contains(&rule.user.len())
        && !rule.user.contains(char::is_control)
        && rule.user.trim() == rule.user;
    if !is_user {
        return Err(bad(
            "user",
            format!("1 to {USER_BYTES_MAX} bytes, printable"),
        ));
    }
    let namespaces = Namespaces::of(rule.namespaces).ok_or_else(|| {
        bad(
            "namespaces",
            "one to 32 names of letters, digits, '-', '_' and '.'".into(),
        )
    })?;
    Ok(Rule {
        patterns,
        permissions,
        user: rule.user,
        namespaces,
    })
}

/// Reads a URL from which keys may be fetched: https, or http to this host for
/// tests; without login, query and fragment.
pub(super) fn check_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text} is no URL: {error}"))?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    match url.scheme() {
        _ if !is_plain => Err(format!("{text} has more than host, port and path")),
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(format!("{text} is not https")),
    }
}

/// Whether a URL names this host itself.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = address
        .parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    is_address || host == "localhost"
}
