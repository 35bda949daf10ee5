//! How HTTP is spoken with others than the servers: nothing that a server may know is
//! shown to them.

use std::sync::Arc;

use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, ClientBuilder, Proxy, Url};
use rustls::ClientConfig;
use tokio::sync::OnceCell;

use super::tls::Tls;
use super::{CONNECT_TIMEOUT, said};
use crate::Proxies;

/// Redirects that are followed.
const HOPS_MAX: usize = 4;

/// A client for wherever a server sends us, and for CI systems.
pub(super) struct Outside {
    proxies: Proxies,
    tls: Arc<Tls>,
    client: OnceCell<Client>,
}

impl Outside {
    pub(super) fn new(proxies: Proxies, tls: Arc<Tls>) -> Self {
        Self {
            proxies,
            tls,
            client: OnceCell::new(),
        }
    }

    /// Made with the first call. The proxy to `url` must be one that is spoken to.
    pub(super) async fn client(&self, url: &Url) -> Result<&Client, String> {
        let proxy = self.proxies.to_url(url);
        proxy.map_err(|error| error.to_string())?;
        let made = self.client.get_or_try_init(|| async {
            let config = self.tls.anonymous().await?;
            let proxies = self.proxies.clone();
            let proxy = Proxy::custom(move |url| proxies.to_url(url).ok().flatten().cloned());
            let builder = builder(&config).proxy(proxy).redirect(Policy::custom(hop));
            builder.build().map_err(said)
        });
        made.await
    }
}

/// What all clients have: no proxies but those that are named, and no content coding that
/// is undone unseen.
pub(super) fn builder(tls: &ClientConfig) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(tls.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .referer(false)
        .user_agent(concat!("fingerpost/", env!("CARGO_PKG_VERSION")))
}

fn hop(attempt: Attempt<'_>) -> Action {
    match check_hop(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(why) => attempt.error(why),
    }
}

/// Whether to go on to `next` after these.
fn check_hop(previous: &[Url], next: &Url) -> Result<(), &'static str> {
    let last = previous.last();
    may_follow(last, next)?;
    match previous.len() > HOPS_MAX {
        true => Err("it redirects too often"),
        false => Ok(()),
    }
}

/// Whether one URL may send us to another: encryption is not given up.
pub(super) fn may_follow(from: Option<&Url>, next: &Url) -> Result<(), &'static str> {
    let is_encrypted = from.is_some_and(|url| url.scheme() == "https");
    match next.scheme() {
        "https" => Ok(()),
        "http" if !is_encrypted => Ok(()),
        _ => Err("it redirects to another protocol"),
    }
}
