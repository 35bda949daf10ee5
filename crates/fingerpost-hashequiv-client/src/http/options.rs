//! Whom a client asks, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use super::ServerUrl;
use crate::Proxies;

/// Which servers a client asks and how. [`HttpOptions::to`] has the defaults.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The servers, which all have the same to say, in order of preference.
    pub urls: Vec<ServerUrl>,
    /// The namespace of those URLs that name none; without it the server chooses.
    pub namespace: Option<String>,
    /// What is shown to each of them.
    pub credential: HttpCredential,
    /// What is shown of a client in the handshake of TLS.
    pub client_certificate: Option<ClientCertificate>,
    /// TLS; by default [`tls_config`](crate::tls_config). What it negotiates and the
    /// client's certificate are set by the client.
    pub tls: Option<Arc<ClientConfig>>,
    /// Proxies; by default those of the process.
    pub proxies: Proxies,
    /// Where variables of [`OidcSource`] are read; by default those of the process.
    pub environment: Environment,
}

/// A client's certificate and key, PEM. Both files are read again when one changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and then those between it and the authority.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What is shown to a server with each request. Not printed.
#[derive(Clone, Default)]
pub enum HttpCredential {
    /// Nothing.
    #[default]
    None,
    /// A user with a token or password.
    Basic {
        /// The user.
        username: String,
        /// The token or password.
        token: String,
    },
    /// The bearer token in a file, which is read again when the file changed.
    BearerFile(PathBuf),
    /// What a CI system says about its job.
    Oidc(OidcSource),
}

/// Where a job finds what its CI system says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OidcSource {
    /// GitHub Actions, and those who do as it does: asked where
    /// `ACTIONS_ID_TOKEN_REQUEST_URL` says, with `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    GithubActions {
        /// Whom the token is for, as the server's issuer is configured.
        audience: String,
    },
    /// The variable of this name, as GitLab's `id_tokens` set it.
    Environment(String),
    /// A file, which is read again when it changed.
    File(PathBuf),
}

/// Variables of an environment.
#[derive(Clone)]
pub struct Environment(Arc<Variables>);

type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

impl HttpOptions {
    /// The defaults for some servers.
    pub fn to(urls: Vec<ServerUrl>) -> Self {
        Self {
            urls,
            namespace: None,
            credential: HttpCredential::None,
            client_certificate: None,
            tls: None,
            proxies: Proxies::of_process(),
            environment: Environment::of_process(),
        }
    }
}

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Others.
    pub fn new(read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// A variable that is set to something.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0(name).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { username, .. } => f
                .debug_struct("Basic")
                .field("username", username)
                .finish_non_exhaustive(),
            Self::BearerFile(path) => f.debug_tuple("BearerFile").field(path).finish(),
            Self::Oidc(source) => f.debug_tuple("Oidc").field(source).finish(),
        }
    }
}
