//! Keys over HTTP, from the place that the issuer's discovery document names.

use std::time::Duration;

use fingerpost_core::with_causes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Url};
use serde::Deserialize;

use super::keys::{FetchError, KEYS_BYTES_MAX, KeySet, KeySource};
use super::settings::{BadIssuer, Issuer, check_url};

/// Redirects within one host that are followed.
const HOPS_MAX: usize = 3;

/// What the TLS library says of a certificate for which nobody whom we know vouches.
const UNKNOWN_AUTHORITY: &str = "UnknownIssuer";

/// How keys are fetched.
#[derive(Clone, Debug)]
pub struct HttpKeysOptions {
    /// How long one fetch may take, discovery included.
    pub deadline: Duration,
    /// Certificates of further authorities that are trusted, DER.
    pub authorities: Vec<Vec<u8>>,
}

impl Default for HttpKeysOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            authorities: Vec::new(),
        }
    }
}

/// An issuer's keys, fetched from where it says, or from the configured URL.
pub struct HttpKeys {
    client: Client,
    issuer: String,
    jwks_url: Option<Url>,
    /// Whether plain HTTP to this host is fine: the issuer itself is there.
    may_be_plain: bool,
    deadline: Duration,
}

impl HttpKeys {
    /// The keys of `issuer`. rustls must have its provider.
    pub fn new(issuer: &Issuer, options: &HttpKeysOptions) -> Result<Self, BadIssuer> {
        let bad = |key: &str, why: String| BadIssuer {
            issuer: issuer.url().to_owned(),
            key: key.to_owned(),
            why,
        };
        let url = check_url(issuer.url()).map_err(|why| bad("issuer", why))?;
        let jwks_url = issuer.jwks_url.as_deref().map(check_url).transpose();
        let jwks_url = jwks_url.map_err(|why| bad("jwks_url", why))?;
        let may_be_plain = url.scheme() == "http" || jwks_url.as_ref().is_some_and(is_plain);
        let client = client(options, may_be_plain);
        let client = client.map_err(|error| bad("issuer", said(error)))?;
        Ok(Self {
            client,
            issuer: issuer.url().to_owned(),
            jwks_url,
            may_be_plain,
            deadline: options.deadline,
        })
    }

    async fn fetch_all(&self) -> Result<KeySet, FetchError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        KeySet::parse(&self.body(url).await?)
    }

    /// Asks the issuer where its keys are. The document must name the issuer
    /// exactly, or it is somebody else's.
    async fn discover(&self) -> Result<Url, FetchError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let base = self.issuer.trim_end_matches('/');
        let url = check_url(&format!("{base}/.well-known/openid-configuration"));
        let body = self.body(url.map_err(FetchError::Form)?).await?;
        let document: Document = serde_json::from_slice(&body)
            .map_err(|error| FetchError::Form(format!("no discovery document: {error}")))?;
        if document.issuer != self.issuer {
            let why = format!("the discovery document is of {:?}", document.issuer);
            return Err(FetchError::Form(why));
        }
        let url = check_url(&document.jwks_uri).map_err(FetchError::Form)?;
        if is_plain(&url) && !self.may_be_plain {
            return Err(FetchError::Form(format!("jwks_uri: {url} is not https")));
        }
        Ok(url)
    }

    async fn body(&self, url: Url) -> Result<Vec<u8>, FetchError> {
        let asked = self.client.get(url.clone()).send().await;
        let mut answer = asked.map_err(|error| FetchError::Http(said(error)))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let url = url.to_string();
            return Err(FetchError::Status { url, status });
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| FetchError::Http(said(error)))?
        {
            if body.len() + chunk.len() > KEYS_BYTES_MAX {
                return Err(FetchError::TooLong(url.to_string()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl KeySource for HttpKeys {
    fn fetch(&self) -> BoxFuture<'_, Result<KeySet, FetchError>> {
        async {
            let fetched = tokio::time::timeout(self.deadline, self.fetch_all()).await;
            fetched.unwrap_or(Err(FetchError::Timeout))
        }
        .boxed()
    }
}

fn client(options: &HttpKeysOptions, may_be_plain: bool) -> Result<Client, reqwest::Error> {
    let authorities = options
        .authorities
        .iter()
        .map(|der| Certificate::from_der(der));
    let authorities = authorities.collect::<Result<Vec<_>, _>>()?;
    let builder = Client::builder()
        .timeout(options.deadline)
        .redirect(Policy::custom(|hop: Attempt<'_>| {
            match check_hop(hop.previous(), hop.url()) {
                Ok(()) => hop.follow(),
                Err(why) => hop.error(why),
            }
        }))
        .referer(false)
        .https_only(!may_be_plain)
        .tls_certs_merge(authorities)
        .user_agent(concat!("fingerpost/", env!("CARGO_PKG_VERSION")));
    // Proxies lead to the issuers of the world, not to this host.
    match may_be_plain {
        true => builder.no_proxy().build(),
        false => builder.build(),
    }
}

/// Whether to go on to `next` after these: only within the origin that was asked.
fn check_hop(previous: &[Url], next: &Url) -> Result<(), &'static str> {
    let is_same = previous
        .first()
        .is_some_and(|first| first.origin() == next.origin());
    match previous.len() > HOPS_MAX {
        true => Err("it redirects too often"),
        false if is_same => Ok(()),
        false => Err("it redirects to another host"),
    }
}

fn is_plain(url: &Url) -> bool {
    url.scheme() == "http"
}

/// An error with its causes, in one line, and what to do where we know it.
fn said(error: reqwest::Error) -> String {
    let mut text = with_causes(&error);
    if text.contains(UNKNOWN_AUTHORITY) {
        text.push_str(
            " (its certificate is of an authority that is not trusted here: name the file with \
             the authority's own in authority_certificates)",
        );
    }
    text
}
