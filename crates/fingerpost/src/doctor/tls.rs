//! TLS of `wss://`: whether BitBake would believe the server's certificate, and until when.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_net::Host;
use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::extensions::GeneralName;

use super::reach::STEP;
use super::report::Finding;

pub(super) const ID: &str = "tls";
const SOON_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 86_400;
/// As webpki calls it, whose errors rustls does not name.
const SELF_SIGNED: &str = "CaUsedAsEndEntity";
/// OpenSSL's own directory stays in use beside an `SSL_CERT_FILE`.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// The authorities that a build trusts.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    roots: Arc<RootCertStore>,
    /// Where they are from.
    source: String,
}

impl Trust {
    /// Reads them as Python's OpenSSL does with these variables. Reads files.
    ///
    /// # Errors
    ///
    /// A sentence: what a variable names cannot be read, or there are none.
    pub(super) fn load(file: Option<&str>, directory: Option<&str>) -> Result<Self, String> {
        for (name, path) in [("SSL_CERT_FILE", file), ("SSL_CERT_DIR", directory)] {
            if let Some(Err(error)) = path.map(|path| std::fs::metadata(path).map(drop)) {
                let path = path.unwrap_or_default();
                return Err(format!(
                    "{name} names {path}, which cannot be read ({error}): correct it"
                ));
            }
        }
        let usual = DIRECTORIES.iter().map(Path::new).find(|path| path.is_dir());
        let directory_path = directory.map(PathBuf::from);
        let read = match (file, directory) {
            (None, None) => rustls_native_certs::load_native_certs(),
            _ => rustls_native_certs::load_certs_from_paths(
                file.map(Path::new),
                directory_path.as_deref().or(usual),
            ),
        };
        let source = match (file, directory) {
            (Some(file), _) => format!("SSL_CERT_FILE={file}"),
            (None, Some(directory)) => format!("SSL_CERT_DIR={directory}"),
            (None, None) => "the system's authorities".to_owned(),
        };
        let mut roots = RootCertStore::empty();
        match roots.add_parsable_certificates(read.certs) {
            (0, _) => Err(format!(
                "there is no certificate authority in {source}: install ca-certificates, or set \
                 SSL_CERT_FILE"
            )),
            _ => Ok(Self {
                roots: Arc::new(roots),
                source,
            }),
        }
    }

    /// A client's configuration, for a way of which nothing is looked at.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let made = self.client().map(|(config, _)| Arc::new(config));
        made.map_err(|error| format!("TLS cannot be set up: {error}"))
    }

    /// A client's configuration that remembers what certificate it was shown.
    fn client(&self) -> Result<(ClientConfig, Arc<Witness>), Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let judge = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::clone(&provider),
        );
        let witness = Arc::new(Witness {
            judge: judge
                .build()
                .map_err(|error| Error::General(error.to_string()))?,
            shown: Mutex::new(None),
        });
        let verifier: Arc<dyn ServerCertVerifier> = witness.clone();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok((config, witness))
    }
}

/// Opens TLS on a connection that is made already.
pub(super) async fn connect(
    config: &Arc<ClientConfig>,
    name: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
}

/// Opens TLS, and gives the configuration for further connections.
pub(super) async fn check(
    host: &Host,
    stream: TcpStream,
    trust: &Trust,
    now: Timestamp,
) -> (Option<Arc<ClientConfig>>, Finding) {
    let problem = |says: String| (None, Finding::problem(ID, says));
    let name = host.to_resolve();
    let (config, witness) = match trust.client() {
        Ok(made) => made,
        Err(error) => return problem(format!("TLS cannot be set up: {error}")),
    };
    let config = Arc::new(config);
    let connected = timeout(STEP, connect(&config, &name, stream)).await;
    let leaf = witness.shown.lock().take().and_then(|der| Leaf::read(&der));
    match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(_) => (Some(config), validity(leaf.as_ref(), trust, now)),
        Err(error) if is_own_authority(&error) => {
            let says = format!(
                "the certificate is its own authority, which OpenSSL believes if {} has it, and \
                 Fingerpost's programs do not: have an authority sign one for the server",
                trust.source
            );
            (None, Finding::warning(ID, says))
        }
        Err(error) => problem(refusal(&name, &error, leaf.as_ref(), trust)),
    }
}

/// What a build needs to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf {
    names: Vec<String>,
    /// Seconds since 1970.
    from: i64,
    until: i64,
}

impl Leaf {
    fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect());
        Some(Self {
            names: names.unwrap_or_default(),
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = || Some(IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?));
            let v6 = || Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?));
            Some(v4().or_else(v6)?.to_string())
        }
        _ => None,
    }
}

fn validity(leaf: Option<&Leaf>, trust: &Trust, now: Timestamp) -> Finding {
    let source = &trust.source;
    let Some(leaf) = leaf else {
        return Finding::ok(ID, format!("the certificate is believed by {source}"));
    };
    let days = (leaf.until - now.0 / 1_000_000).div_euclid(DAY_SECONDS);
    match days {
        ..SOON_DAYS => Finding::warning(
            ID,
            format!(
                "the certificate expires on {} in {days} days: renew it on the server",
                day(leaf.until)
            ),
        ),
        _ => Finding::ok(
            ID,
            format!("the certificate is good for {days} days, by {source}"),
        ),
    }
}

/// Whether the certificate was made by `openssl req -x509`: whether OpenSSL believes it
/// cannot be told here.
fn is_own_authority(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(Error::InvalidCertificate(why)) => format!("{why:?}").contains(SELF_SIGNED),
        _ => false,
    }
}

fn refusal(host: &str, error: &io::Error, leaf: Option<&Leaf>, trust: &Trust) -> String {
    let cause = error.get_ref();
    match cause.and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => unbelieved(host, why, leaf, trust),
        Some(Error::InvalidMessage(_)) => {
            "what listens there does not speak TLS: write ws:// or HOST:PORT, or give the server a \
             certificate"
                .to_owned()
        }
        Some(other) => format!("TLS fails ({other}): look into the server's log"),
        None if error.kind() == io::ErrorKind::TimedOut => {
            "it accepts connections and does not answer with TLS within a second, and builds wait for \
             it: restart the server, or let builds ask an agent"
                .to_owned()
        }
        None => format!(
            "the connection ends within the TLS handshake ({error}): write ws:// or HOST:PORT if the \
             server has no TLS, else look into its log"
        ),
    }
}

fn unbelieved(host: &str, why: &CertificateError, leaf: Option<&Leaf>, trust: &Trust) -> String {
    let source = &trust.source;
    let on = |moment: fn(&Leaf) -> i64| {
        let moment = leaf.map(|leaf| day(moment(leaf)));
        moment.map_or(String::new(), |day| format!(" on {day}"))
    };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate expired{}: renew it on the server",
            on(|leaf| leaf.until)
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate begins{} only: check this host's clock",
            on(|leaf| leaf.from)
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = leaf.map(|leaf| leaf.names.join(", "));
            format!(
                "the certificate is for {} and not for {host}: write that name, or have one made for \
                 {host}",
                names
                    .filter(|names| !names.is_empty())
                    .unwrap_or_else(|| "no name".to_owned())
            )
        }
        // The second: another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "no authority of {source} vouches for the certificate: name the file of yours in \
             SSL_CERT_FILE, where bitbake is called, and have the server send its chain"
        ),
        other => format!("the certificate is not believed by {source} ({other})"),
    }
}

/// The day of a moment, as `2026-11-27`.
fn day(seconds: i64) -> String {
    let text = Timestamp(seconds.saturating_mul(1_000_000)).to_rfc3339();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Judges as every client does, and keeps the certificate, which the error does not hold.
#[derive(Debug)]
struct Witness {
    judge: Arc<WebPkiServerVerifier>,
    shown: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.shown.lock() = Some(end_entity.to_vec());
        self.judge
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    fn trust() -> Trust {
        Trust {
            roots: Arc::new(RootCertStore::empty()),
            source: "SSL_CERT_FILE=/a.pem".to_owned(),
        }
    }

    fn leaf() -> Leaf {
        Leaf {
            names: vec!["a.example".to_owned(), "10.0.0.1".to_owned()],
            from: 0,
            until: 100 * DAY_SECONDS,
        }
    }

    #[test]
    fn two_weeks_before_the_end_it_is_told() {
        let state = |day: i64| {
            let now = Timestamp(day * DAY_SECONDS * 1_000_000);
            validity(Some(&leaf()), &trust(), now).state
        };
        assert_eq!(
            (state(1), state(86), state(87)),
            (State::Ok, State::Ok, State::Warning)
        );
    }

    #[test]
    fn each_doubt_has_its_own_remedy() {
        let says = |why| unbelieved("b.example", &why, Some(&leaf()), &trust());
        let expired = says(CertificateError::Expired);
        assert!(expired.contains("expired on 1970-04-11"), "{expired}");
        let named = says(CertificateError::NotValidForName);
        assert!(
            named.contains("for a.example, 10.0.0.1 and not for b.example"),
            "{named}"
        );
        let unknown = says(CertificateError::UnknownIssuer);
        assert!(
            unknown.starts_with("no authority of SSL_CERT_FILE=/a.pem"),
            "{unknown}"
        );
        assert!(says(CertificateError::NotValidYet).contains("clock"));
    }

    #[test]
    fn a_variable_that_names_nothing_is_told() {
        let says = Trust::load(Some("/none/a.pem"), None).unwrap_err();
        assert!(
            says.starts_with("SSL_CERT_FILE names /none/a.pem"),
            "{says}"
        );
    }
}
