//! The server as peers see it, over loopback and temporary directories.

mod authority;
mod binding;
mod detection;
mod http;
mod limits;
mod pipelining;
mod proxied;
mod shortcut;
mod shutdown;
mod smuggling;
mod tls;
mod tls_clients;
mod tls_files;
mod tls_refused;
mod unix_sockets;
mod websocket;
mod world;
