//! Who asks a server over BitBake's protocol: the client that tools use, lanes that many
//! callers share, and what both ends of a connection have in common.
//!
//! [`Client`] asks one thing after the other and tries again. A [`Lane`] sends the
//! questions of many callers at once, and with a [`Breaker`] answers at once while the
//! server is known to be down. The wire format itself is in
//! [`fingerpost_hashequiv_proto`]. [`http`] asks a Fingerpost server's `/v1` instead.

mod breaker;
mod client;
pub mod http;
mod lane;
pub mod link;
mod proxies;
mod timer;

pub use breaker::{Breaker, Trouble};
pub use client::{
    Client, ClientError, ClientOptions, ConnectError, Credentials, Mode, Request, TlsError,
    request, tls_config,
};
pub use lane::{Answers, AskError, Lane, Question};
pub use proxies::{BadProxy, Proxies};
pub use timer::{Timer, earlier};
