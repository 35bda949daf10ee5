//! How a client behaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_hashequiv_proto::Limits;
use fingerpost_net::Address;
use rustls::ClientConfig;

use crate::Proxies;

/// Where a client connects and how long it waits. [`ClientOptions::to`] has the
/// defaults.
#[derive(Clone)]
pub struct ClientOptions {
    /// The server.
    pub address: Address,
    /// Limit for name resolution, connection, TLS and WebSocket opening
    /// together. Default 10 s.
    pub connect_timeout: Duration,
    /// How long nothing may come of an answer, or be taken of a request.
    /// Default 30 s.
    pub receive_timeout: Duration,
    /// How often a request is tried, connecting included. Default 4.
    pub tries: u32,
    /// Limit for all tries of one request together, or, in a stream, for those
    /// from one answer to the next. Default 2 minutes.
    pub total_time: Duration,
    /// Rest before the second try; doubled before each further one. Default 50 ms.
    pub retry_pause: Duration,
    /// Lines of a stream that are sent ahead of their answers. Default 10,000.
    pub window_lines: usize,
    /// Whom to log in as, after each connecting.
    pub credentials: Option<Credentials>,
    /// Whom to become after that.
    pub become_user: Option<String>,
    /// The longest line and message that are taken.
    pub limits: Limits,
    /// TLS for `wss`; by default [`tls_config`](super::tls_config).
    pub tls: Option<Arc<ClientConfig>>,
    /// Proxies to a WebSocket; by default those of the process. Other transports go
    /// through none.
    pub proxies: Proxies,
}

/// A login. Not printed.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The user's token.
    pub token: String,
}

impl ClientOptions {
    /// The defaults for a server.
    pub fn to(address: Address) -> Self {
        Self {
            address,
            connect_timeout: Duration::from_secs(10),
            receive_timeout: Duration::from_secs(30),
            tries: 4,
            total_time: Duration::from_secs(120),
            retry_pause: Duration::from_millis(50),
            window_lines: 10_000,
            credentials: None,
            become_user: None,
            limits: Limits::default(),
            tls: None,
            proxies: Proxies::of_process(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("address", &self.address)
            .field("credentials", &self.credentials)
            .field("become_user", &self.become_user)
            .finish_non_exhaustive()
    }
}
