//! The certificate in force, and its replacement while connections live.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fingerpost_core::Clock;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use rustls::ServerConfig;

use super::files::{self, Material, TlsError};
use super::{ClientCertificates, TlsOptions};
use crate::Metrics;
use crate::stamp::Stamp;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A certificate with its key, ready to serve; see [`TlsOptions`]. Clones are
/// the same.
///
/// A [`crate::Server`] looks every two seconds whether the files are others. What
/// is read then serves new connections, if certificate and key match and the
/// certificate is in date; else the old ones stay, an error is logged, and
/// `fingerpost_tls_reload_failed` is 1 until the files are right.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    options: TlsOptions,
    clock: Arc<dyn Clock>,
    in_force: ArcSwap<Material>,
    failed: Gauge,
    seen: Mutex<Seen>,
}

/// What the last look came to.
struct Seen {
    /// Of the files in force.
    stamp: Stamp,
    /// Why others could not take their place. They are read again at each look,
    /// because their time may come, and the other half of a pair.
    failure: Option<String>,
}

impl Tls {
    /// Reads the files, and shows on `metrics` for how many seconds the certificate
    /// is good (`fingerpost_tls_certificate_expiry_seconds`, negative afterwards)
    /// and whether a change was refused. Call it once for each [`Metrics`]. Blocks.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn load(
        options: TlsOptions,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Self, TlsError> {
        // First, so that a change while the files are read is seen.
        let stamp = Stamp::of(options.files());
        let material = files::read(&options, clock.now())?;
        let tls = Self(Arc::new(Shared {
            options,
            clock,
            in_force: ArcSwap::from_pointee(material),
            failed: Gauge::default(),
            seen: Mutex::new(Seen {
                stamp,
                failure: None,
            }),
        }));
        metrics.register(|registry| {
            let failed = "Whether changed certificate files were refused and the old ones serve on";
            registry.register("tls_reload_failed", failed, tls.0.failed.clone());
            registry.register_collector(Box::new(Expiry(tls.clone())));
        });
        Ok(tls)
    }

    /// Whether nobody is served without a certificate.
    pub fn requires_client_certificates(&self) -> bool {
        matches!(self.0.options.clients, ClientCertificates::Required(_))
    }

    /// What a new connection is served with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.0.in_force.load().config.clone()
    }

    /// Whether both are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Looks at the files for ever.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = self.clone();
            // A look that panicked, or one at a stop, is as one that found nothing.
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
        }
    }

    /// Reads the files if they are others than those in force. Blocks.
    fn look(&self) {
        let shared = &*self.0;
        let mut seen = shared.seen.lock();
        let stamp = Stamp::of(shared.options.files());
        if stamp == seen.stamp && seen.failure.is_none() {
            return;
        }
        let certificate = shared.options.certificate.display();
        match files::read(&shared.options, shared.clock.now()) {
            Ok(material) => {
                let expiry_s = material.expiry_s;
                shared.in_force.store(Arc::new(material));
                shared.failed.set(0);
                *seen = Seen {
                    stamp,
                    failure: None,
                };
                tracing::info!(%certificate, expiry_s, "new connections get the new certificate");
            }
            Err(error) => {
                let why = sentence(&error);
                shared.failed.set(1);
                if seen.failure.as_ref() != Some(&why) {
                    tracing::error!("the old certificate stays in force: {why}");
                }
                seen.failure = Some(why);
            }
        }
    }
}

/// With the causes, which the error itself does not repeat.
fn sentence(error: &TlsError) -> String {
    match error {
        TlsError::Read { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

/// Counts down.
#[derive(Debug)]
struct Expiry(Tls);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shared = &*self.0.0;
        let now_s = shared.clock.now().0.div_euclid(1_000_000);
        let left = ConstGauge::new(shared.in_force.load().expiry_s - now_s);
        let about = "Seconds until the certificate in force expires.";
        let name = "tls_certificate_expiry_seconds";
        let metric = encoder.encode_descriptor(name, about, None, left.metric_type())?;
        left.encode(metric)
    }
}
