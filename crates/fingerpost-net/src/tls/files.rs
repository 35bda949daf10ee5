//! From files to a configuration that can serve.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fingerpost_core::Timestamp;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::{ClientCertificates, TlsOptions, TlsVersion, provider};

/// Longer files are no certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// HTTP's. A client that offers none of them, as one of the line protocol, is
/// served all the same.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The newest first.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Why TLS cannot be served with these files: a whole sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {file}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is longer than 1 MiB.
    #[error("{file} is longer than 1 MiB", file = .0.display())]
    TooLong(PathBuf),
    /// A file is no PEM.
    #[error("{file} is damaged: what is between BEGIN and END is no PEM", file = .0.display())]
    Pem(PathBuf),
    /// A file holds no certificate.
    #[error("{file} holds no certificate in PEM", file = .0.display())]
    NoCertificate(PathBuf),
    /// A certificate cannot be understood.
    #[error("{file} holds a certificate that is damaged", file = .0.display())]
    Certificate(PathBuf),
    /// A file holds no key.
    #[error(
        "{file} holds no private key in PEM (PKCS#8, SEC1 or PKCS#1, not encrypted)",
        file = .0.display()
    )]
    NoKey(PathBuf),
    /// A key is of a kind that cannot be used.
    #[error("{file} holds a key that cannot be used: {why}", file = file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The TLS library's reason.
        why: String,
    },
    /// Certificate and key belong to different pairs.
    #[error(
        "{certificate} and {key} do not match: the key is another certificate's",
        certificate = certificate.display(), key = key.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificate's time is over.
    #[error("{file} expired at {since}", file = file.display(), since = since.to_rfc3339())]
    Expired {
        /// The file.
        file: PathBuf,
        /// When.
        since: Timestamp,
    },
    /// The certificate's time has not come.
    #[error("{file} is not valid before {from}", file = file.display(), from = from.to_rfc3339())]
    NotYet {
        /// The file.
        file: PathBuf,
        /// From when on it is.
        from: Timestamp,
    },
    /// The TLS library refuses its configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// What was read.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) config: Arc<ServerConfig>,
    /// When the certificate's time is over, in seconds since 1970.
    pub(super) expiry_s: i64,
}

/// Reads everything. Blocks.
pub(super) fn read(options: &TlsOptions, now: Timestamp) -> Result<Material, TlsError> {
    let chain = certificates(&options.certificate)?;
    let expiry_s = check_dates(&options.certificate, &chain[0], now)?;
    let key = key(&options.key)?;
    let versions = match options.version_min {
        TlsVersion::V12 => VERSIONS.as_slice(),
        TlsVersion::V13 => &VERSIONS[..1],
    };
    let setup = |error: rustls::Error| TlsError::Setup(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(setup)?;
    let builder = match &options.clients {
        ClientCertificates::Off => builder.with_no_client_auth(),
        ClientCertificates::Optional(file) => {
            let verifier = verifier(file)?.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|_| certificate_of(file))?)
        }
        ClientCertificates::Required(file) => {
            let verifier = verifier(file)?.build();
            builder.with_client_cert_verifier(verifier.map_err(|_| certificate_of(file))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| refused_pair(options, error))?;
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    if options.clients != ClientCertificates::Off {
        // A session that is taken up again would not show its certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Material {
        config: Arc::new(config),
        expiry_s,
    })
}

fn certificate_of(file: &Path) -> TlsError {
    TlsError::Certificate(file.to_owned())
}

fn refused_pair(options: &TlsOptions, error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            certificate: options.certificate.clone(),
            key: options.key.clone(),
        },
        rustls::Error::InvalidCertificate(_) => certificate_of(&options.certificate),
        other => TlsError::Key {
            file: options.key.clone(),
            why: other.to_string(),
        },
    }
}

/// Only of the server's own certificate: chains that end in an expired one which
/// some clients still need are served on purpose.
fn check_dates(file: &Path, der: &[u8], now: Timestamp) -> Result<i64, TlsError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|_| certificate_of(file))?;
    let validity = parsed.validity();
    let moment = |seconds: i64| Timestamp(seconds.saturating_mul(1_000_000));
    let (from, until) = (
        moment(validity.not_before.timestamp()),
        moment(validity.not_after.timestamp()),
    );
    let file = file.to_owned();
    if now < from {
        return Err(TlsError::NotYet { file, from });
    }
    if now >= until {
        return Err(TlsError::Expired { file, since: until });
    }
    Ok(validity.not_after.timestamp())
}

fn verifier(file: &Path) -> Result<ClientCertVerifierBuilder, TlsError> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(file)? {
        authorities
            .add(certificate)
            .map_err(|_| certificate_of(file))?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(
        Arc::new(authorities),
        provider(),
    ))
}

/// At least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text(file)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::NoCertificate(file.to_owned())),
        Ok(found) => Ok(found),
        Err(_) => Err(TlsError::Pem(file.to_owned())),
    }
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(&text(file)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey(file.to_owned())),
        Err(_) => Err(TlsError::Pem(file.to_owned())),
    }
}

fn text(file: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read {
        file: file.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    let mut limited = opened.take(FILE_BYTES_MAX + 1);
    limited.read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLong(file.to_owned()));
    }
    Ok(text)
}
