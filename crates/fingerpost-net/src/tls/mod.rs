//! TLS in front of every protocol.
//!
//! A [`Tls`] is a certificate with its key, read from files and read again when
//! they change. A [`TlsPolicy`] says for each [`crate::Listener`] whether it is
//! spoken there. Who speaks it is told by the first byte, as everything else;
//! within TLS the protocol is told again.

mod files;
mod identity;
mod replay;
mod serving;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use fingerpost_core::Clock;

pub use files::TlsError;
pub(crate) use replay::Replay;
pub use serving::Tls;
pub(crate) use stream::TlsIo;

pub(crate) use identity::identity;

/// What a listener does about TLS.
#[derive(Clone, Debug, Default)]
pub enum TlsPolicy {
    /// A connection that begins with TLS is closed.
    #[default]
    Off,
    /// TLS is served, and whatever comes without it too.
    Optional(Tls),
    /// TLS is served. HTTP without it is answered with 426, and everything else
    /// is closed.
    Required(Tls),
}

impl TlsPolicy {
    /// Whether nothing is served without TLS.
    pub const fn is_required(&self) -> bool {
        matches!(self, Self::Required(_))
    }

    pub(crate) const fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Off => None,
            Self::Optional(tls) | Self::Required(tls) => Some(tls),
        }
    }
}

/// Where certificate and key lie, and what is asked of clients.
///
/// Each file is PEM of at most 1 MiB; what is of no use in it is skipped, so one
/// file may hold everything.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The server's certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// Its key: PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub key: PathBuf,
    /// Whether clients have certificates.
    pub clients: ClientCertificates,
    /// The oldest version that is spoken.
    pub version_min: TlsVersion,
}

/// Whether clients are asked for certificates, and the file with those of the
/// authorities that vouch for them. Revocation lists are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    Off,
    /// They may have one; a handshake with one that is wrong fails.
    Optional(PathBuf),
    /// They must have one.
    Required(PathBuf),
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V12,
    /// TLS 1.3.
    V13,
}

impl TlsOptions {
    /// A certificate and its key, no client certificates, TLS 1.2 or 1.3.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            clients: ClientCertificates::Off,
            version_min: TlsVersion::V12,
        }
    }

    /// Reads the files as [`Tls::load`] does, and keeps nothing. Blocks.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn check(&self, clock: &dyn Clock) -> Result<(), TlsError> {
        files::read(self, clock.now()).map(drop)
    }

    /// Every file that is read.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let authorities = match &self.clients {
            ClientCertificates::Off => None,
            ClientCertificates::Optional(file) | ClientCertificates::Required(file) => Some(file),
        };
        [&self.certificate, &self.key]
            .into_iter()
            .chain(authorities)
    }
}

/// What every configuration is made with.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
