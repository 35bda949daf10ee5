//! Sockets, and everything about them that knows no product.
//!
//! A [`Listener`] is bound to an [`Address`] (or inherited from systemd). The
//! [`Server`] accepts on several of them, tells by the first bytes what a
//! connection speaks, and hands it to its door: BitBake's line protocol and
//! WebSocket to a [`LineDoor`], HTTP/1.1 and HTTP/2 to an axum router that has
//! `/healthz`, `/readyz` and `/metrics` already. All of them are spoken within
//! TLS too, where a listener's [`TlsPolicy`] says so. It holds the
//! limits (connections, time until the protocol is known, headers, WebSocket
//! messages) and stops gracefully through [`Shutdown`].
//!
//! The crate knows no command, no hash and no database. It runs on Linux: the
//! owner of a taken port, long Unix paths and process metrics come from
//! `/proc`.

mod accept;
mod address;
mod admission;
pub mod audit;
mod authority;
mod bind;
mod detect;
mod door;
mod exposition;
mod forwarded;
mod framing;
pub mod fuzz;
mod gathering;
mod guards;
mod http;
mod http_io;
mod limit;
mod linger;
mod listener;
mod metrics;
mod owner;
mod percent;
mod problem;
mod process;
mod proxied;
mod proxies;
mod ready;
mod refusal;
pub mod request_id;
mod server;
mod shortcut;
mod shutdown;
mod stamp;
mod tls;
mod unix;
mod websocket;

pub use address::{Address, Host, ParseAddressError};
pub use admission::{Admission, AdmissionOptions, Asker, Crowded, Pass, Rates};
pub use authority::{host_of, without_port};
pub use bind::{BindError, BindOptions, bind};
pub use detect::{Detected, detect};
pub use door::{LineDoor, NoLines, Peer, PeerAddress, Transport};
pub use forwarded::{ForwardedBy, ForwardedHost};
pub use guards::Guards;
pub use http::{HttpOptions, Readiness};
pub use limit::{Permit, Seldom, default_connection_limit, open_files_limit, raise_open_files};
pub use linger::linger;
pub use listener::Listener;
pub use metrics::Metrics;
pub use owner::Owner;
pub use percent::percent_decoded;
pub use proxies::{ParseProxyNetworkError, ProxyNetwork, TrustedProxies};
pub use request_id::RequestIds;
pub use server::{Server, ServerOptions};
pub use shortcut::{ShortRequest, Shortcut};
pub use shutdown::{ConnectionGuard, Drained, Shutdown};
pub use stamp::Stamp;
pub use tls::{ClientCertificates, Tls, TlsError, TlsOptions, TlsPolicy, TlsVersion};
pub use unix::connect_unix;
pub use websocket::{MESSAGE_BYTES_MAX, close_websocket, is_message_too_big};
