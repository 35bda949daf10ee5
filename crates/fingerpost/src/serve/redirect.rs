//! Redirect targets, as configured.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_content::{
    ContentEndpoint, EndpointOptions, OnDisk, Own, PresignConfig, Presigner, Probe, ProbeConfig,
    PublicBase, RedirectTargets, Target, UrlSigner, Where, probe,
};
use fingerpost_core::{Certificates, RedirectTarget as Advertised, SystemClock};
use ipnet::IpNet;
use prometheus_client::registry::Registry;

use super::service::{MIB, size};
use super::stores::{Part, objects};
use crate::certificates;
use crate::config::{Cache, Redirect, RedirectTarget};
use crate::exit::{Exit, failure};

/// The targets, and the endpoint for those that are this server.
pub(super) struct Redirects {
    targets: Arc<RedirectTargets>,
    endpoint: Option<ContentEndpoint>,
}

impl Redirects {
    /// The configured targets, which are looked after from now on; `None` if
    /// there are none. Must be called in the runtime.
    pub(super) fn open(
        cache: &Cache,
        config: &Redirect,
        disk: Option<&OnDisk>,
        secret: &[u8],
    ) -> anyhow::Result<Option<Self>> {
        if config.targets.is_empty() {
            return Ok(None);
        }
        let signer = UrlSigner::new(secret);
        let presence = minutes(config.presence_minutes);
        let mut targets = Vec::new();
        for (name, target) in &config.targets {
            let own = disk.map(|disk| (disk, &signer));
            targets.push(open_target(cache, name, target, presence, own)?);
        }
        let serves = targets
            .iter()
            .any(|target| matches!(target.place, Where::Own(_)));
        let endpoint = disk.filter(|_| serves).map(|disk| {
            let clock = Arc::new(SystemClock);
            let options = EndpointOptions {
                answers_max: size(config.answers_at_once),
                ..EndpointOptions::default()
            };
            ContentEndpoint::new(disk.store(), signer, clock, options)
        });
        let targets = RedirectTargets::new(targets, presence, Arc::new(SystemClock))
            .map_err(|why| failure(Exit::Configuration, format!("redirect.targets.{why}")))?;
        let targets = Arc::new(targets);
        look_after(&targets, config);
        Ok(Some(Self { targets, endpoint }))
    }

    pub(super) fn targets(&self) -> Arc<RedirectTargets> {
        Arc::clone(&self.targets)
    }

    pub(super) const fn endpoint(&self) -> Option<&ContentEndpoint> {
        self.endpoint.as_ref()
    }

    pub(super) fn register_metrics(&self, registry: &mut Registry) {
        self.targets.register(registry);
        if let Some(endpoint) = &self.endpoint {
            endpoint.register_metrics(registry);
        }
    }
}

/// Looks again and again whether the targets work.
fn look_after(targets: &Arc<RedirectTargets>, config: &Redirect) {
    let interval = Duration::from_millis(config.probe_ms);
    let probing = probe(
        Arc::clone(targets),
        ProbeConfig {
            interval,
            deadline: interval.max(PROBE_DEADLINE_MIN),
            failures: u32::try_from(config.probe_failures).unwrap_or(u32::MAX),
        },
    );
    tokio::spawn(async move {
        if let Err(why) = probing.await {
            tracing::error!("{why}");
        }
    });
}

const PROBE_DEADLINE_MIN: Duration = Duration::from_millis(1500);

fn open_target(
    cache: &Cache,
    name: &str,
    config: &RedirectTarget,
    presence: Duration,
    own: Option<(&OnDisk, &UrlSigner)>,
) -> anyhow::Result<Target> {
    let wrong = |why: String| {
        failure(
            Exit::Configuration,
            format!("redirect.targets.{name}: {why}"),
        )
    };
    let lifetime = minutes(config.lifetime_minutes);
    let base = config.url.as_deref().map(PublicBase::new);
    let base = base.transpose().map_err(wrong)?;
    let place = match (&config.objects, base) {
        (None, Some(base)) => {
            let (disk, signer) = own.ok_or_else(|| wrong("there is no disk".to_owned()))?;
            Where::Own(Own {
                base,
                signer: signer.clone(),
                lifetime,
                clock: Arc::new(SystemClock),
                disk: disk.clone(),
            })
        }
        (Some(store), base) => {
            let place = cache.objects.get(store);
            let place = place.ok_or_else(|| wrong(format!("there is no store {store}")))?;
            let store = Arc::new(objects(store, place, Part::Answers)?);
            match base {
                Some(base) => Where::Public { store, base },
                None => {
                    let config = PresignConfig {
                        // Each is handed out for half of its life.
                        lifetime: 2 * lifetime,
                        lifetime_min: lifetime,
                        ..PresignConfig::default()
                    };
                    let presigner = Presigner::new(&store, config).map_err(wrong)?;
                    let presigner = Arc::new(presigner);
                    Where::Presigned { store, presigner }
                }
            }
        }
        (None, None) => return Err(wrong("it has neither objects nor url".to_owned())),
    };
    // What is seen now may be handed out until it is looked for again.
    let deleted_after = config
        .deleted_after_days
        .map(|days| minutes(days.saturating_mul(24 * 60)));
    let age_max = deleted_after.map(|kept| kept.saturating_sub(lifetime + presence));
    let networks = config.networks.iter().map(|network| network.parse());
    let networks: Result<Vec<IpNet>, _> = networks.collect();
    let networks = networks.map_err(|error| wrong(error.to_string()))?;
    let uri = place.base_url().map(str::to_owned);
    let scheme = uri.as_ref().and_then(|uri| uri.split_once("://"));
    let protocol = scheme.map_or("https", |(scheme, _)| scheme).to_owned();
    Ok(Target {
        advertised: Advertised {
            name: name.to_owned(),
            protocol: protocol.clone(),
            uris: uri.into_iter().collect(),
            snirequired: config.sni_required,
            tlsversions: config.tls_versions.clone(),
        },
        networks,
        priority: u32::try_from(config.priority).unwrap_or(u32::MAX),
        public: config.public,
        stock_clients: config.stock_clients.unwrap_or(false),
        entry_bytes_min: config.kib_min.saturating_mul(1024),
        entry_bytes_max: config.mib_max.saturating_mul(MIB),
        age_max,
        certificates: Certificates {
            server: der(config.server_certificate.as_deref()).map_err(wrong)?,
            authorities: der(config.authority_certificates.as_deref()).map_err(wrong)?,
        },
        probe: match config.probe {
            true => Probe::Entry,
            false => Probe::Nothing,
        },
        ..Target::new(name, &protocol, place)
    })
}

/// The certificates in a file, DER; none without one.
fn der(path: Option<&Path>) -> Result<Vec<Vec<u8>>, String> {
    let read = path.map(certificates::read).transpose()?;
    let all = read.unwrap_or_default();
    Ok(all.iter().map(|certificate| certificate.to_vec()).collect())
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}
