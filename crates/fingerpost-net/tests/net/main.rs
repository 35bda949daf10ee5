//! The server as peers see it, over loopback and temporary directories.

mod binding;
mod detection;
mod http;
mod limits;
mod shutdown;
mod unix_sockets;
mod websocket;
mod world;
