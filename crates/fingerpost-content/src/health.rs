//! Whether redirect targets work, asked again and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fingerpost_core::{EntryForm, EntryName};

use crate::target::Probe;
use crate::targets::{RedirectTargets, Served};

/// What lies at a target to be fetched by probes.
const PROBE: &[u8] = b"fingerpost looks whether this can be fetched\n";

/// How targets are probed.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Between the end of a probe and the next one of the same target.
    pub interval: Duration,
    /// The most that a fetch takes.
    pub deadline: Duration,
    /// Probes in a row that have to fail until a target is unhealthy; one that
    /// works makes it healthy. 0 is as 1.
    pub failures: u32,
}

impl Default for ProbeConfig {
    /// A target that fails is known after six seconds at most.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(1500),
            deadline: Duration::from_millis(1500),
            failures: 2,
        }
    }
}

/// Probes every target for ever, each on its own; drop the future to stop.
/// Changes are logged, and told by [`RedirectTargets::all`].
///
/// # Errors
///
/// A sentence when there can be no client of HTTP.
pub async fn probe(targets: Arc<RedirectTargets>, config: ProbeConfig) -> Result<(), String> {
    // The client demands a provider of TLS; one that is there already stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut watching = Vec::new();
    for served in targets.all() {
        if served.target().probe != Probe::Nothing {
            watching.push(watch(served, client(served, &config)?, &config));
        }
    }
    futures_util::future::join_all(watching).await;
    Ok(())
}

/// Fetches as clients in the target's network do: without a proxy, and trusting
/// what they are told to trust.
fn client(served: &Served, config: &ProbeConfig) -> Result<reqwest::Client, String> {
    let target = served.target();
    let cannot = |error: reqwest::Error| {
        let name = &target.advertised.name;
        format!("redirect target {name} cannot be probed: {error}")
    };
    let authorities = target.certificates.authorities.iter();
    let authorities: Result<Vec<_>, _> = authorities
        .map(|der| reqwest::Certificate::from_der(der))
        .collect();
    reqwest::Client::builder()
        .timeout(config.deadline)
        .no_proxy()
        .tls_certs_merge(authorities.map_err(cannot)?)
        .build()
        .map_err(cannot)
}

async fn watch(served: &Served, client: reqwest::Client, config: &ProbeConfig) {
    let mut failed = 0_u32;
    let mut is_stored = false;
    loop {
        let probing = once(served, &client, &mut is_stored);
        // Its store may hang as well as whoever answers the fetch.
        let outcome = tokio::time::timeout(2 * config.deadline, probing).await;
        match outcome.unwrap_or_else(|_| Err("it does not answer in time".to_owned())) {
            Ok(()) => {
                failed = 0;
                tell(served, true, "");
            }
            Err(why) => {
                failed = failed.saturating_add(1);
                if failed >= config.failures {
                    tell(served, false, &why);
                }
            }
        }
        tokio::time::sleep(config.interval).await;
    }
}

fn tell(served: &Served, healthy: bool, why: &str) {
    let target = &served.target().advertised.name;
    match (served.set_healthy(healthy), healthy) {
        (true, true) => tracing::info!(target, "redirect target {target} works"),
        (true, false) => {
            tracing::warn!(target, why, "redirect target {target} is left out: {why}");
        }
        (false, _) => {}
    }
}

/// One probe. What it says on failure has no URL in it.
async fn once(
    served: &Served,
    client: &reqwest::Client,
    is_stored: &mut bool,
) -> Result<(), String> {
    let url = match &served.target().probe {
        Probe::Nothing => return Ok(()),
        Probe::Url(url) => url.expose().to_owned(),
        Probe::Entry => {
            let form = entry();
            if !*is_stored {
                let content = Arc::new(Bytes::from_static(PROBE));
                let put = served.put(&form, content).await;
                put.map_err(|error| error.to_string())?;
                *is_stored = true;
            }
            let url = served.url(&form, Instant::now()).await;
            let url = url.map_err(|error| error.to_string())?;
            *is_stored = url.is_some();
            url.ok_or("what was put there is gone")?.expose().to_owned()
        }
    };
    let said = |error: reqwest::Error| format!("{:#}", error.without_url());
    let answer = client.get(url).send().await.map_err(said)?;
    let status = answer.status();
    if !status.is_success() {
        // The entry may have been deleted.
        *is_stored = false;
        return Err(format!("it answers {status}"));
    }
    if served.target().probe == Probe::Entry && !is_ours(answer).await.map_err(said)? {
        return Err("it answers with other bytes than were stored".to_owned());
    }
    Ok(())
}

/// Reads no more than shows that it is not.
async fn is_ours(mut answer: reqwest::Response) -> Result<bool, reqwest::Error> {
    let mut rest = PROBE;
    while let Some(bytes) = answer.chunk().await? {
        match rest.strip_prefix(&*bytes) {
            Some(after) => rest = after,
            None => return Ok(false),
        }
    }
    Ok(rest.is_empty())
}

/// No answer has this name: it is no HMAC but `fingerpost probe 1` and zeros.
fn entry() -> EntryForm {
    let mut hex: String = b"fingerpost probe 1"
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    while hex.len() < 64 {
        hex.push('0');
    }
    EntryForm {
        name: EntryName::from_hex(&hex).expect("64 hex digits are a name"),
        coding: None,
        plain_len: PROBE.len() as u64,
    }
}
