//! Certificates, and clients that trust them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fingerpost_net::{Address, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{Client, World, connect};

/// Vouches for certificates, and writes them into a directory of its own.
pub(crate) struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let directory = TempDir::new().expect("a directory");
        write(
            &directory.path().join("ca.pem"),
            "CERTIFICATE",
            issuer.der(),
        );
        Self { directory, issuer }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// For `localhost`, in date until so many days from now.
    pub(crate) fn pair(&self, days: i64) -> Pair {
        self.pair_of(
            vec![SanType::DnsName("localhost".try_into().expect("ASCII"))],
            days,
        )
    }

    /// For other names.
    pub(crate) fn pair_of(&self, names: Vec<SanType>, days: i64) -> Pair {
        self.made(names, -400, days)
    }

    /// For nobody, in date from so many days until so many days from now.
    pub(crate) fn pair_from(&self, from: i64, until: i64) -> Pair {
        self.made(Vec::new(), from, until)
    }

    fn made(&self, names: Vec<SanType>, from: i64, until: i64) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let now = OffsetDateTime::now_utc();
        params.not_before = now + Duration::days(from);
        params.not_after = now + Duration::days(until);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            chain: vec![certificate.der().clone()],
            key,
        }
    }

    /// Writes a pair to `server.pem` and `server.key`, as the server's.
    pub(crate) fn write(&self, pair: &Pair) -> TlsOptions {
        let options = TlsOptions::new(self.path("server.pem"), self.path("server.key"));
        pair.write(&options);
        options
    }

    /// A server's certificate for a month.
    pub(crate) fn server(&self) -> TlsOptions {
        self.write(&self.pair(30))
    }

    /// What a client needs that trusts this authority alone.
    pub(crate) fn client(&self, with: Option<&Pair>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        match with {
            None => builder.with_no_client_auth(),
            Some(pair) => builder
                .with_client_auth_cert(pair.chain.clone(), pair.private())
                .expect("a pair"),
        }
    }

    /// A client that has shaken hands on a connection that it has already.
    pub(crate) async fn connect_over(&self, stream: TcpStream) -> Client<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(self.client(None)));
        let connected = connector.connect(name, stream).await;
        Client(connected.expect("a handshake"))
    }

    /// A client that has shaken hands.
    pub(crate) async fn connect(&self, world: &World) -> Client<TlsStream<TcpStream>> {
        let connected = shake(&world.address, self.client(None)).await;
        Client(connected.expect("a handshake"))
    }
}

impl Pair {
    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    /// As PKCS#8.
    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    pub(crate) fn write(&self, to: &TlsOptions) {
        write(&to.certificate, "CERTIFICATE", &self.chain[0]);
        write(&to.key, "PRIVATE KEY", &self.key.serialize_der());
    }

    pub(crate) fn write_certificate(&self, to: &TlsOptions) {
        write(&to.certificate, "CERTIFICATE", &self.chain[0]);
    }
}

/// Replaces a file, as whoever renews certificates does.
pub(crate) fn write(path: &Path, label: &str, der: &[u8]) {
    let text = BASE64_STANDARD.encode(der);
    let text = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
    let part = path.with_extension("part");
    std::fs::write(&part, text).expect("room");
    std::fs::rename(&part, path).expect("one directory");
}

/// Shakes hands as the client.
pub(crate) async fn shake(
    address: &Address,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let Client(stream) = connect(address).await;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}
