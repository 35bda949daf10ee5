//! TLS of the client: who vouches for servers, and what is shown to them.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::file::{self, Stamp};
use super::options::ClientCertificate;
use crate::tls_config;

/// What is spoken over TLS, the better one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Bytes of a certificate's file, at most.
const PEM_BYTES_MAX: u64 = 1 << 20;
/// How often it is looked whether a certificate changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Configurations, which are made when they are first asked for.
pub(super) struct Tls {
    given: Option<Arc<ClientConfig>>,
    certificate: Option<ClientCertificate>,
    anonymous: OnceCell<Arc<ClientConfig>>,
    shown: Mutex<Option<Shown>>,
}

/// A configuration that shows a certificate.
struct Shown {
    config: Arc<ClientConfig>,
    of: [Stamp; 2],
    looked_at: Instant,
}

impl Tls {
    pub(super) fn new(
        given: Option<Arc<ClientConfig>>,
        certificate: Option<ClientCertificate>,
    ) -> Self {
        Self {
            given,
            certificate,
            anonymous: OnceCell::new(),
            shown: Mutex::new(None),
        }
    }

    /// One that shows nothing.
    pub(super) async fn anonymous(&self) -> Result<Arc<ClientConfig>, String> {
        let made = self.anonymous.get_or_try_init(|| async {
            let config = match &self.given {
                Some(given) => Arc::clone(given),
                None => {
                    let loaded = tokio::task::spawn_blocking(tls_config).await;
                    let loaded = loaded.map_err(|error| error.to_string())?;
                    loaded.map_err(|error| error.to_string())?
                }
            };
            let mut config = ClientConfig::clone(&config);
            config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
            Ok(Arc::new(config))
        });
        made.await.cloned()
    }

    /// The one for the servers. The same `Arc` until the certificate changes.
    pub(super) async fn to_servers(&self) -> Result<Arc<ClientConfig>, String> {
        let config = self.anonymous().await?;
        let Some(certificate) = &self.certificate else {
            return Ok(config);
        };
        let mut shown = self.shown.lock().await;
        let now = Instant::now();
        if let Some(shown) = &mut *shown {
            if now < shown.looked_at + LOOK_EVERY {
                return Ok(Arc::clone(&shown.config));
            }
            shown.looked_at = now;
            // Between two files of a change there may be a moment without one.
            match stamps(certificate).await {
                Ok(stamps) if stamps != shown.of => {}
                _ => return Ok(Arc::clone(&shown.config)),
            }
        }
        let made = make(&config, certificate).await;
        match (made, &mut *shown) {
            (Ok((config, of)), shown) => {
                *shown = Some(Shown {
                    config: Arc::clone(&config),
                    of,
                    looked_at: now,
                });
                Ok(config)
            }
            // The old one may still be good; it is looked again soon.
            (Err(why), Some(shown)) => {
                tracing::warn!("The client's certificate stays as it was: {why}");
                Ok(Arc::clone(&shown.config))
            }
            (Err(why), None) => Err(why),
        }
    }
}

async fn stamps(certificate: &ClientCertificate) -> std::io::Result<[Stamp; 2]> {
    Ok([
        Stamp::of(&certificate.chain).await?,
        Stamp::of(&certificate.key).await?,
    ])
}

async fn make(
    config: &ClientConfig,
    certificate: &ClientCertificate,
) -> Result<(Arc<ClientConfig>, [Stamp; 2]), String> {
    let ClientCertificate { chain, key } = certificate;
    let read = async |path: &std::path::Path| {
        let read = file::read(path, PEM_BYTES_MAX).await;
        read.map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let stamps = stamps(certificate).await.map_err(|error| {
        let (chain, key) = (chain.display(), key.display());
        format!("cannot find {chain} or {key}: {error}")
    })?;
    let (chain_pem, key_pem) = (read(chain).await?, read(key).await?);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain_pem).collect();
    let certificates =
        certificates.map_err(|error| format!("{} is no PEM: {error}", chain.display()))?;
    // Of what is wrong with a key nothing is told.
    let no_key = || format!("{} holds no private key in PEM", key.display());
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| no_key())?;
    let certified = CertifiedKey::from_der(certificates, private, &ring::default_provider());
    let certified = certified.map_err(|error| {
        let (chain, key) = (chain.display(), key.display());
        format!("{chain} and {key} cannot be used: {error}")
    })?;
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Ok((Arc::new(config), stamps))
}
