//! Logins: the issuers that are configured, and what is done beside serving.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_accounts::LoginOptions;
use fingerpost_accounts::oidc::{HttpKeys, HttpKeysOptions, Issuer, KeySource, Verifier};
use fingerpost_core::{Clock, Timestamp};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_net::Shutdown;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::guards::number;
use crate::certificates;
use crate::config::{Config, Oidc};
use crate::exit::{Exit, OrExit, failure};

/// How callers may log in. Asks no issuer yet.
pub(super) fn options(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<LoginOptions> {
    let workloads = match config.oidc.is_empty() {
        true => None,
        false => Some(verifier(config, clock)?),
    };
    Ok(LoginOptions {
        plaintext: config.accounts.plaintext_logins,
        certificates: config.accounts.certificates.clone(),
        workloads,
        bad_logins_per_address: number(config.rates.bad_logins_per_address),
        burst_seconds: number(config.rates.burst_seconds),
    })
}

fn verifier(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Verifier> {
    Verifier::new(issuers(config)?, Arc::clone(clock)).context("no random numbers for logins")
}

/// The issuers that are configured, and where their keys come from. Reads the
/// certificates of authorities that they name, and asks no issuer.
pub(crate) fn issuers(config: &Config) -> anyhow::Result<Vec<(Issuer, Arc<dyn KeySource>)>> {
    // Whoever is first in the process chooses; all choose the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let numbered = (1..).zip(&config.oidc);
    numbered.map(|(number, oidc)| open(number, oidc)).collect()
}

fn open(number: usize, oidc: &Oidc) -> anyhow::Result<(Issuer, Arc<dyn KeySource>)> {
    let issuer = oidc.issuer().or_exit(Exit::Configuration, WRONG)?;
    let mut options = HttpKeysOptions::default();
    if let Some(file) = &oidc.authority_certificates {
        let read = certificates::read_authorities(file).map_err(|why| {
            let key = format!("oidc[{number}].authority_certificates");
            failure(Exit::Configuration, format!("{WRONG}: {key}: {why}"))
        })?;
        options.authorities = read.iter().map(|one| one.to_vec()).collect();
    }
    let keys = HttpKeys::new(&issuer, &options).or_exit(Exit::Configuration, WRONG)?;
    Ok((issuer, Arc::new(keys)))
}

/// Keeps issuers' keys fresh, and the table of tokens short and told of their
/// uses, until the server stops. The task ends soon after that.
pub(super) fn look_after(service: Arc<HashEquiv>, shutdown: Shutdown) -> JoinHandle<()> {
    tokio::spawn(async move {
        let fetching = async {
            if let Some(workloads) = &service.logins().workloads {
                workloads.keep_keys_fresh().await;
            }
        };
        let storing = async {
            // A read-only server writes nothing, the last use of a token neither.
            if !service.is_read_only() {
                tokio::join!(store_uses(&service), purge(&service));
            }
        };
        tokio::select! {
            () = shutdown.started() => {}
            ((), ()) = async { tokio::join!(fetching, storing) } => shutdown.started().await,
        }
        if !service.is_read_only() {
            store(&service).await;
        }
    })
}

async fn store_uses(service: &HashEquiv) {
    let mut minutes = interval(Duration::from_secs(60));
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        minutes.tick().await;
        store(service).await;
    }
}

async fn store(service: &HashEquiv) {
    if let Err(error) = service.logins().tokens.store_uses().await {
        tracing::warn!(%error, "the last uses of tokens cannot be stored");
    }
}

async fn purge(service: &HashEquiv) {
    let mut days = interval(Duration::from_secs(24 * 3600));
    days.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        days.tick().await;
        let ended_before = Timestamp(service.now().0.saturating_sub(KEPT_MICROS));
        match service.logins().tokens.purge(ended_before).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "Removed tokens that ended a month ago"),
            Err(error) => tracing::warn!(%error, "old tokens cannot be removed"),
        }
    }
}

/// Tokens that ended stay in lists for 30 days.
const KEPT_MICROS: i64 = 30 * 24 * 3600 * 1_000_000;
const WRONG: &str = "The configuration is wrong";
