//! TLS for `wss`.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The system has no certificate authorities that could be read.
    #[error(
        "no certificate authorities found; SSL_CERT_FILE and SSL_CERT_DIR name where they lie: {0}"
    )]
    NoAuthorities(String),
    /// The TLS library refused its configuration.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// A configuration that trusts the system's certificate authorities, or those
/// that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Reads files: call it outside
/// of asynchronous code, or in a blocking task.
pub fn tls_config() -> Result<Arc<ClientConfig>, TlsError> {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        let errors: Vec<_> = native.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoAuthorities(errors.join("; ")));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
