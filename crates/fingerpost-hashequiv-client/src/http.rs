//! A client of a Fingerpost server's `/v1`, as an agent asks its upstream: several servers
//! in order of preference, each wait within a deadline, each answer within bounds.
//!
//! Over TLS it speaks HTTP/2 where the server does, and HTTP/1.1 else. The first server
//! that is up is asked. One that cannot be reached, is silent, or says what makes no sense
//! is left out until a look-up of nothing shows that it is back; the next one is asked
//! meanwhile. What a server refuses is told, and nobody else is asked.
//!
//! No login, no token and no password of a proxy is in what is printed or logged.

mod ask;
mod body;
mod changes;
mod endpoint;
mod epoch;
mod file;
mod login;
mod lookups;
mod options;
mod outside;
mod problem;
mod reports;
mod rows;
mod server_url;
mod shared;
mod snapshots;
mod tls;

use std::sync::Arc;
use std::time::Duration;

pub use changes::{ChangeStream, Changes, WantedChanges};
pub use epoch::{BadEpoch, DeletionEpoch, Said};
pub use login::BadLogin;
pub use options::{ClientCertificate, Environment, HttpCredential, HttpOptions, OidcSource};
pub use server_url::{BadServerUrl, ServerUrl};
pub use snapshots::ShardName;

use self::endpoint::Endpoint;
use self::login::Login;
use self::outside::Outside;
use self::shared::{Means, Shared};
use self::tls::Tls;
use crate::Trouble;
use crate::client::tls::in_words;

/// Limit for one connection, name resolution and TLS included, whatever the deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of several servers that say the same. Connects with the first question; cheap
/// to clone. All of it must be called within a runtime.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

/// What is asked, as far as servers may answer the one and not the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// All that only reads.
    Lookups,
    /// All that writes.
    Reports,
}

/// Options of which no client can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpSetupError {
    /// Nobody to ask.
    #[error("no server is named")]
    NoServer,
    /// What would be shown to servers.
    #[error(transparent)]
    Login(#[from] BadLogin),
}

impl HttpClient {
    /// A client that is not connected yet. Reads no file.
    pub fn new(options: HttpOptions) -> Result<Self, HttpSetupError> {
        if options.urls.is_empty() {
            return Err(HttpSetupError::NoServer);
        }
        let namespace = options.namespace.as_deref();
        let urls = options.urls.into_iter();
        let urls = urls.map(|url| url.in_namespace(namespace));
        let endpoints = urls.map(|url| Arc::new(Endpoint::new(url))).collect();
        let tls = Arc::new(Tls::new(options.tls, options.client_certificate));
        let outside = Outside::new(options.proxies.clone(), Arc::clone(&tls));
        let outside = Arc::new(outside);
        let login = Login::new(
            options.credential,
            options.environment,
            Arc::clone(&outside),
        )?;
        let means = Means {
            tls,
            login,
            outside,
            proxies: options.proxies,
        };
        Ok(Self(Arc::new(Shared {
            endpoints,
            means: Arc::new(means),
        })))
    }

    /// Whether any server is asked.
    pub fn is_up(&self, concern: Concern) -> bool {
        let mut all = self.0.endpoints.iter();
        all.any(|endpoint| endpoint.breaker(concern).is_up())
    }

    /// Tries servers that are down, if it is time for that: questions do so by themselves, and
    /// who has none to ask for a while still wants to know. To be called about once a second.
    pub fn try_again(&self) {
        self.0.try_again();
    }

    /// Why none is asked: what is wrong with the first one.
    pub fn trouble(&self, concern: Concern) -> Option<Trouble> {
        let troubles = self.0.endpoints.iter();
        let troubles = troubles.map(|endpoint| endpoint.breaker(concern).trouble());
        // Each of them has one, or there is none.
        troubles.collect::<Option<Vec<_>>>()?.into_iter().next()
    }

    /// Where look-ups go now: the first server that is up, or the first one.
    pub fn address(&self) -> String {
        let endpoints = &self.0.endpoints;
        let up = endpoints
            .iter()
            .find(|endpoint| endpoint.breaker(Concern::Lookups).is_up());
        let used = up.or_else(|| endpoints.first());
        used.map_or_else(String::new, |endpoint| endpoint.url.to_string())
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let urls = self.0.endpoints.iter().map(|endpoint| &endpoint.url);
        f.debug_list().entries(urls).finish()
    }
}

/// An error with its causes, in one line, and without the URL: a place elsewhere is a key,
/// and a path tells hashes.
fn said(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.ends_with(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    in_words(&text).into_owned()
}

#[cfg(test)]
mod tests;
