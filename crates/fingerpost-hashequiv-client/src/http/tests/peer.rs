//! A server of tests, which behaves as it is told and notes what it is asked.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::http::ClientCertificate;

/// How a server answers.
#[derive(Clone)]
pub(super) enum Manner {
    /// As a server does that knows one unihash.
    Good,
    /// With the answers to the questions turned round.
    Disordered,
    /// With one answer less.
    Short,
    /// Never.
    Silent,
    /// With bytes that do not end.
    Endless,
    /// With 200, a media type and a body, whatever is asked.
    Says(&'static str, &'static str),
    /// With a status, headers and a problem whose code is this.
    Problem(u16, &'static [(&'static str, &'static str)], &'static str),
    /// As [`Manner::Good`] to who shows this, with 401 to others.
    Knows(&'static str),
    /// With what this makes.
    Calls(Arc<dyn Fn(&Seen) -> Response + Send + Sync>),
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) version: Version,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The server. It ends with the test.
pub(super) struct Peer {
    pub(super) port: u16,
    scheme: &'static str,
    state: Arc<State>,
    _running: JoinSet<()>,
}

struct State {
    manner: Mutex<Manner>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

impl Peer {
    pub(super) async fn start(manner: Manner) -> Self {
        Self::with(manner, None).await
    }

    /// One on TLS.
    pub(super) async fn start_tls(manner: Manner, tls: Arc<ServerConfig>) -> Self {
        Self::with(manner, Some(TlsAcceptor::from(tls))).await
    }

    async fn with(manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            manner: Mutex::new(manner),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let mut running = JoinSet::new();
        running.spawn(accept(listener, tls, Arc::clone(&state)));
        Self {
            port,
            scheme,
            state,
            _running: running,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port)
    }

    pub(super) fn behaves(&self, manner: Manner) {
        *self.state.manner.lock() = manner;
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        state.connections.fetch_add(1, Ordering::Relaxed);
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        connections.spawn(serve(stream, tls, state));
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    match tls {
        None => speak(stream, state).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                speak(stream, state).await;
            }
        }
    }
}

async fn speak<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: IO, state: Arc<State>) {
    let router = Router::new().fallback(
        |axum::extract::State(state): axum::extract::State<Arc<State>>, request: Request| async move {
            state.answer(request).await
        },
    );
    let service = TowerToHyperService::new(router.with_state(state));
    let builder = Builder::new(TokioExecutor::new());
    // A client that goes away is no matter.
    let _ = builder.serve_connection(TokioIo::new(io), service).await;
}

impl State {
    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20)
            .await
            .unwrap_or_default();
        let is_compressed = parts.headers.contains_key("content-encoding");
        let seen = Seen {
            path: parts
                .uri
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            version: parts.version,
            headers: parts.headers,
            body: match is_compressed {
                true => zstd::decode_all(&body[..]).unwrap(),
                false => body.to_vec(),
            },
        };
        let manner = self.manner.lock().clone();
        let response = manner.answer(&seen).await;
        self.seen.lock().push(seen);
        response
    }
}

impl Manner {
    async fn answer(&self, seen: &Seen) -> Response {
        let mut answers = good(seen);
        match self {
            Self::Good => {}
            Self::Disordered => answers.reverse(),
            Self::Short => drop(answers.pop()),
            Self::Silent => std::future::pending().await,
            Self::Endless => return endless(),
            Self::Says(media_type, text) => {
                return ([("content-type", *media_type)], *text).into_response();
            }
            Self::Problem(status, headers, code) => return problem(*status, headers, code),
            Self::Knows(shown) => {
                if seen.header("authorization") != Some(shown) {
                    return problem(401, &[], "wrong-login");
                }
            }
            Self::Calls(make) => return make(seen),
        }
        let json = serde_json::to_string(&answers).unwrap();
        ([("content-type", "application/json")], json).into_response()
    }
}

/// The answers to look-ups.
fn good(seen: &Seen) -> Vec<Value> {
    let asked: Vec<Value> = serde_json::from_slice(&seen.body).unwrap_or_default();
    let answer = |mut one: Value| {
        one["unihash"] = json!(super::unihash());
        one
    };
    asked.into_iter().map(answer).collect()
}

pub(super) fn problem(
    status: u16,
    headers: &[(&'static str, &'static str)],
    code: &str,
) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let json = json!({
        "type": format!("urn:fingerpost:problem:{code}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": format!("told: {code}"),
    });
    let mut response = (status, json.to_string()).into_response();
    let problem = [("content-type", "application/problem+json")];
    let all = problem.iter().chain(headers);
    for (name, value) in all {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

fn endless() -> Response {
    let bytes = futures_util::stream::repeat_with(|| {
        Ok::<_, Infallible>(Bytes::from_static(&[b' '; 16 << 10]))
    });
    let body = Body::from_stream(bytes);
    ([("content-type", "application/json")], body).into_response()
}

/// Who vouches for the servers of a test.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        Self {
            issuer: issuer.unwrap(),
        }
    }

    /// What trusts it.
    pub(super) fn trusted(&self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        Arc::new(
            config
                .with_root_certificates(self.roots())
                .with_no_client_auth(),
        )
    }

    /// A server's side for these names; an expired one ended long ago.
    pub(super) fn server(&self, names: &[&str], is_expired: bool) -> Arc<ServerConfig> {
        let mut params = self.params(names);
        if is_expired {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        self.server_of(params, WebPkiClientVerifier::no_client_auth())
    }

    /// One whose certificate is an authority's own, as `openssl req -x509` makes them.
    pub(super) fn server_that_is_one(&self, names: &[&str]) -> Arc<ServerConfig> {
        let mut params = self.params(names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.server_of(params, WebPkiClientVerifier::no_client_auth())
    }

    /// The same that takes clients of the authority only.
    pub(super) fn server_for_clients(&self, names: &[&str]) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider);
        self.server_of(self.params(names), verifier.build().unwrap())
    }

    fn server_of(
        &self,
        params: CertificateParams,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_client_cert_verifier(clients);
        let chain = vec![certificate.der().clone()];
        let mut config = config.with_single_cert(chain, key.into()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// A client's certificate and key in files.
    pub(super) fn client(&self, directory: &Path) -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let certificate = self
            .params(&["builder.example"])
            .signed_by(&key, &self.issuer);
        let files = ClientCertificate {
            chain: directory.join("chain.pem"),
            key: directory.join("key.pem"),
        };
        let chain = pem("CERTIFICATE", certificate.unwrap().der());
        std::fs::write(&files.chain, chain).unwrap();
        std::fs::write(&files.key, pem("PRIVATE KEY", &key.serialize_der())).unwrap();
        files
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    fn params(&self, names: &[&str]) -> CertificateParams {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        CertificateParams::new(names).unwrap()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
