//! Sockets: systemd's when it passed some, else the configured addresses.

use std::sync::Arc;

use anyhow::Context;
use fingerpost_core::SystemClock;
use fingerpost_net::{Address, BindError, BindOptions, Listener, Metrics, Tls, TlsPolicy, bind};
use fingerpost_program::sockets::unbound;

use super::inherited::Inherited;
use crate::config::{self, Config, FIRST_LISTENER, Loaded, TlsMode};
use crate::exit::{Exit, OrExit, failure};

/// What the server listens on.
pub(super) struct Listeners {
    /// Everything is spoken here.
    pub(super) service: Vec<Listener>,
    /// Metrics and probes alone.
    pub(super) probes: Vec<Listener>,
}

/// Reads the certificate, if there is one.
pub(super) async fn tls(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Option<Tls>> {
    let Some(options) = config.tls.options() else {
        return Ok(None);
    };
    let metrics = metrics.clone();
    let loading = move || Tls::load(options, Arc::new(SystemClock), &metrics);
    let loaded = tokio::task::spawn_blocking(loading).await;
    let loaded = loaded.context("reading the certificate panicked")?;
    let tls = loaded.or_exit(Exit::Configuration, "TLS cannot be served")?;
    Ok(Some(tls))
}

/// Takes systemd's sockets, or binds. `tls` is there if a certificate is
/// configured.
pub(super) fn listen(loaded: &Loaded, tls: Option<&Tls>) -> anyhow::Result<Listeners> {
    let server = &loaded.config.server;
    let mut inherited = Inherited::take(server)?;
    let passed_or = |passed: Vec<Listener>, addresses: &[config::Address]| match passed.is_empty() {
        true => bind_all(&loaded.config, addresses),
        false => Ok(passed),
    };
    let first = passed_or(inherited.first, &server.bind)?;
    let dressed = |listener: Listener, mode, proxy_protocol| {
        let policy = policy(mode, tls, listener.address());
        listener
            .with_tls(policy)
            .with_proxy_protocol(proxy_protocol)
    };
    let first = first.into_iter();
    let first =
        first.map(|one| dressed(one, server.tls, server.proxy_protocol).named(FIRST_LISTENER));
    let mut service: Vec<_> = first.collect();
    for (name, further) in &server.listeners {
        let passed = inherited.further.remove(name).unwrap_or_default();
        let bound = passed_or(passed, &further.bind)?.into_iter();
        let dressed = |one| dressed(one, further.tls, further.proxy_protocol).named(name);
        service.extend(bound.map(dressed));
    }
    if service.is_empty() {
        return Err(failure(
            Exit::Configuration,
            "server.bind names no address to listen on",
        ));
    }
    let mut probes = inherited.probes;
    if probes.is_empty() {
        probes.extend(bind_probes(loaded)?);
    }
    Ok(Listeners { service, probes })
}

/// With a certificate TLS is required unless something else is said. What never
/// leaves this machine needs none.
fn policy(mode: Option<TlsMode>, tls: Option<&Tls>, address: &Address) -> TlsPolicy {
    let Some(tls) = tls.cloned() else {
        return TlsPolicy::Off;
    };
    match (mode, address) {
        (Some(TlsMode::Off), _) => TlsPolicy::Off,
        (Some(TlsMode::Optional), _) | (None, Address::Unix(_)) => TlsPolicy::Optional(tls),
        (Some(TlsMode::Required), _) | (None, _) => TlsPolicy::Required(tls),
    }
}

fn bind_all(config: &Config, addresses: &[config::Address]) -> anyhow::Result<Vec<Listener>> {
    let options = BindOptions {
        reuse_port: config.server.reuse_port,
        ..BindOptions::default()
    };
    addresses
        .iter()
        .map(|address| bind(&address.0, &options).map_err(explain))
        .collect()
}

/// Binds one address with the default options.
pub(crate) fn bind_one(address: &Address) -> anyhow::Result<Listener> {
    bind(address, &BindOptions::default()).map_err(explain)
}

/// The address of metrics alone. Somebody who did not ask for it loses nothing
/// when another server has it already.
fn bind_probes(loaded: &Loaded) -> anyhow::Result<Option<Listener>> {
    let Some(address) = &loaded.config.metrics.bind.0 else {
        return Ok(None);
    };
    match bind(&address.0, &BindOptions::default()) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if loaded.is_set("metrics.bind") => Err(unbound(error, "--metrics ADDR")),
        Err(error) => {
            tracing::warn!("no separate address for metrics and probes: {error}");
            Ok(None)
        }
    }
}

fn explain(error: BindError) -> anyhow::Error {
    unbound(error, "--bind ADDR")
}
