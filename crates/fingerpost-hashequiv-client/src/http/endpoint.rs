//! One server of several.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Response, StatusCode};
use rustls::ClientConfig;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::ask::{Answer, Ask, Verb};
use super::body::Coming;
use super::problem::{Failure, is_of};
use super::shared::Means;
use super::{Concern, ServerUrl, outside, said};
use crate::Breaker;

/// A connection that died silently is noticed by a ping that is not answered.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const POOL_IDLE: Duration = Duration::from_secs(90);

/// A server, what is known of it, and the connections to it.
pub(super) struct Endpoint {
    pub(super) url: ServerUrl,
    lookups: Breaker,
    reports: Breaker,
    client: Mutex<Option<Held>>,
    made: AtomicU64,
}

/// A client and what it was made of.
#[derive(Clone)]
struct Held {
    client: Client,
    tls: Arc<ClientConfig>,
    number: u64,
}

impl Endpoint {
    pub(super) fn new(url: ServerUrl) -> Self {
        let address = url.to_string();
        Self {
            url,
            lookups: Breaker::new(address.clone()),
            reports: Breaker::new(address),
            client: Mutex::new(None),
            made: AtomicU64::new(0),
        }
    }

    pub(super) const fn breaker(&self, concern: Concern) -> &Breaker {
        match concern {
            Concern::Lookups => &self.lookups,
            Concern::Reports => &self.reports,
        }
    }

    /// Asks and takes in the whole answer, all until a deadline.
    pub(super) async fn whole(
        &self,
        ask: &Ask,
        means: &Means,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let held = self.held(means, until).await?;
        let asked = timeout_at(until, async {
            match self.take(&held.client, ask, means, until).await {
                Err(Failure::Broken(_)) => self.take(&held.client, ask, means, until).await,
                asked => asked,
            }
        });
        self.ended(&held, asked.await)
    }

    /// Asks, and takes in where the answer begins, until a deadline.
    pub(super) async fn begun(
        &self,
        ask: &Ask,
        means: &Means,
        until: Instant,
    ) -> Result<Response, Failure> {
        let held = self.held(means, until).await?;
        let asked = timeout_at(until, async {
            match self.open(&held.client, ask, means, until).await {
                Err(Failure::Broken(_)) => self.open(&held.client, ask, means, until).await,
                asked => asked,
            }
        });
        self.ended(&held, asked.await)
    }

    /// What came of asking once, and once more if the connection was lost meanwhile: a
    /// server that is started anew closes all of them. After a deadline the client is not
    /// used any more: its connections may be stuck.
    fn ended<T>(
        &self,
        held: &Held,
        asked: Result<Result<T, Failure>, Elapsed>,
    ) -> Result<T, Failure> {
        match asked {
            Ok(Err(Failure::Broken(why))) => Err(Failure::down(why)),
            Ok(asked) => asked,
            Err(_) => {
                self.drop_client(held);
                Err(Failure::Late)
            }
        }
    }

    async fn take(
        &self,
        client: &Client,
        ask: &Ask,
        means: &Means,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let response = self.open(client, ask, means, until).await?;
        let epoch = Answer::epoch(response.headers());
        let bytes = Coming::new(response)?.whole(ask.answer_bytes_max).await?;
        Ok(Answer { epoch, bytes })
    }

    /// Asks with what is to be shown, and once more with something newer if that is
    /// refused.
    async fn open(
        &self,
        client: &Client,
        ask: &Ask,
        means: &Means,
        until: Instant,
    ) -> Result<Response, Failure> {
        let shown = means.login(until).await?;
        let mut response = self.send(client, ask, shown.as_ref()).await?;
        if let (StatusCode::UNAUTHORIZED, Some(shown)) = (response.status(), shown) {
            means.login.refused(&shown);
            let newer = means.login(until).await.ok().flatten();
            if let Some(newer) = newer.filter(|newer| *newer != shown) {
                response = self.send(client, ask, Some(&newer)).await?;
            }
        }
        let status = response.status();
        let is_expected = status.is_success() && is_of(response.headers(), ask.accept);
        match (is_expected, status.is_success()) {
            (true, _) => Ok(response),
            (false, true) => Err(Failure::senseless(format!(
                "its answer is no {}",
                ask.accept
            ))),
            // A place elsewhere is an answer too, to who asked for one.
            (false, false) if ask.may_be_elsewhere && status.is_redirection() => Ok(response),
            (false, false) => Err(Failure::of(response).await),
        }
    }

    async fn send(
        &self,
        client: &Client,
        ask: &Ask,
        shown: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut url = self.url.resource(ask.path.iter().map(String::as_str));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let mut request = match &ask.verb {
            Verb::Get => client.get(url),
            Verb::Post(body) => {
                let request = client.post(url).header(CONTENT_TYPE, "application/json");
                let request = match body.is_compressed {
                    true => request.header(CONTENT_ENCODING, "zstd"),
                    false => request,
                };
                request.body(body.bytes.clone())
            }
        };
        request = request
            .header(ACCEPT, ask.accept)
            .header(ACCEPT_ENCODING, "zstd");
        if let Some(shown) = shown {
            request = request.header(AUTHORIZATION, shown.clone());
        }
        request.send().await.map_err(|error| {
            let is_lost = !error.is_connect() && !error.is_timeout() && !error.is_builder();
            match is_lost {
                true => Failure::Broken(said(error)),
                false => Failure::down(said(error)),
            }
        })
    }

    /// The client, made anew when there is none, or TLS changed.
    async fn held(&self, means: &Means, until: Instant) -> Result<Held, Failure> {
        let tls = timeout_at(until, means.tls.to_servers()).await;
        let tls = tls.map_err(|_| Failure::Late)?.map_err(Failure::down)?;
        let mut held = self.client.lock();
        if let Some(held) = &*held
            && Arc::ptr_eq(&held.tls, &tls)
        {
            return Ok(held.clone());
        }
        let client = self.build(means, &tls).map_err(Failure::down)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let made = Held {
            client,
            tls,
            number,
        };
        Ok(held.insert(made).clone())
    }

    fn build(&self, means: &Means, tls: &ClientConfig) -> Result<Client, String> {
        let mut builder = outside::builder(tls)
            .redirect(Policy::none())
            .pool_idle_timeout(POOL_IDLE)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .tcp_keepalive(PING_EVERY);
        let proxy = means.proxies.to_url(self.url.base());
        if let Some(proxy) = proxy.map_err(|error| error.to_string())? {
            builder = builder.proxy(Proxy::all(proxy.clone()).map_err(said)?);
        }
        builder.build().map_err(said)
    }

    /// Lets a client go unless another one took its place. Who still asks with it may.
    fn drop_client(&self, gone: &Held) {
        let mut held = self.client.lock();
        if held.as_ref().is_some_and(|held| held.number == gone.number) {
            *held = None;
        }
    }
}
