//! A content endpoint on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use fingerpost_content::{ContentEndpoint, EndpointOptions, Fault, Faulty, Memory, UrlSigner};
use fingerpost_core::{Cacher, Clock, ContentCoding, ManualClock, Timestamp};
use prometheus_client::registry::Registry;
use reqwest::header::HeaderMap;

use crate::world::{name, store};

/// What the clock of the endpoint says at first.
const NOW_SECONDS: i64 = 1_000_000;
/// For how long URLs are good.
pub(crate) const LIFETIME_SECONDS: i64 = 60;

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: ContentEndpoint,
    pub(crate) store: Arc<Faulty>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) client: reqwest::Client,
    registry: Registry,
    serving: tokio::task::JoinHandle<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    /// A header that is there once, or the empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        assert!(self.headers.get_all(name).iter().count() <= 1, "{name}");
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    /// An endpoint over an empty store in memory.
    pub(crate) async fn start() -> Self {
        let memory = Memory::new(64 << 20);
        Self::over(Arc::new(memory), EndpointOptions::default()).await
    }

    pub(crate) async fn over(inner: Arc<dyn Cacher>, options: EndpointOptions) -> Self {
        let store = Arc::new(Faulty::new(inner));
        let clock = Arc::new(ManualClock::new(Timestamp(NOW_SECONDS * 1_000_000)));
        let endpoint = ContentEndpoint::new(
            Arc::clone(&store) as Arc<dyn Cacher>,
            signer(),
            Arc::clone(&clock) as Arc<dyn Clock>,
            options,
        );
        let mut registry = Registry::default();
        endpoint.register_metrics(&mut registry);
        // Clients want it although nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = endpoint.router();
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            endpoint,
            store,
            clock,
            client: reqwest::Client::new(),
            registry,
            serving,
        }
    }

    /// Puts an entry there, whose name is that of `word`.
    pub(crate) async fn put(&self, word: &str, bytes: &Bytes) {
        store(&*self.store, &name(word), bytes).await;
    }

    /// Path and query of the entry about `word`.
    pub(crate) fn path(&self, word: &str, coding: Option<ContentCoding>) -> String {
        let expires = Timestamp(self.clock.now().0 + LIFETIME_SECONDS * 1_000_000);
        let url = signer().path_and_query(&name(word), coding, expires);
        url.expose().to_owned()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("http://{}{path}", self.address);
        self.client.request(method, url)
    }

    /// The answer to a GET of the entry about `word`, with headers.
    pub(crate) async fn get(&self, word: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = self.request("GET", &self.path(word, None));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.store.set(fault);
    }

    /// The value of a counter, 0 while it is not there.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn signer() -> UrlSigner {
    UrlSigner::new(b"a secret of this site")
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> Got {
    let answer = request.send().await.unwrap();
    Got {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.bytes().await.unwrap(),
    }
}
