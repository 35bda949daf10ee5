//! What a door gets, and what it promises.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ws::WebSocket;
use fingerpost_core::Origin;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::ConnectionGuard;

/// A front for BitBake's line protocol: one call per connection.
///
/// Generic over the stream so that the hot loop is compiled for the socket
/// itself, without boxes and wrappers. A call must
///
/// - end soon after [`ConnectionGuard::drained`] when no request is in hand, and
///   after the answer when one is,
/// - finish its handshake before [`ConnectionGuard::handshake_deadline`],
/// - bound what it buffers, in both directions.
///
/// The connection is closed when the future ends (and whatever it still owns is
/// dropped). It is dropped, wherever it is, when a shutdown takes too long.
pub trait LineDoor: Clone + Send + Sync + 'static {
    /// Serves a TCP or Unix connection. `first` holds the bytes that were read
    /// to tell the protocol: often the whole handshake and more, and never
    /// longer than 4096 bytes; empty only if the peer closed its side.
    fn serve<IO>(
        &self,
        io: IO,
        first: Vec<u8>,
        peer: Peer,
        guard: ConnectionGuard,
    ) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Whether a WebSocket may be opened on this path; 404 if not. Every one may
    /// unless the door says otherwise.
    fn takes_path(&self, path: &str) -> bool {
        let _ = path;
        true
    }

    /// Serves a WebSocket on a path that [`LineDoor::takes_path`] took. A message above
    /// [`crate::MESSAGE_BYTES_MAX`] ends `recv` with an error; see
    /// [`crate::close_websocket`].
    fn serve_websocket(
        &self,
        socket: WebSocket,
        path: String,
        peer: Peer,
        guard: ConnectionGuard,
    ) -> impl Future<Output = ()> + Send;
}

/// The door of a server that speaks HTTP alone: there is none of it.
#[derive(Clone, Copy, Debug)]
pub enum NoLines {}

impl LineDoor for NoLines {
    async fn serve<IO>(&self, _: IO, _: Vec<u8>, _: Peer, _: ConnectionGuard)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match *self {}
    }

    async fn serve_websocket(&self, _: WebSocket, _: String, _: Peer, _: ConnectionGuard) {
        match *self {}
    }
}

/// Who is at the other end of a connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address or process. Of a client that came through a trusted proxy, what
    /// the proxy told; the proxy's own if it told none.
    pub address: PeerAddress,
    /// The trusted proxy that connected to us. Such a one may be on this machine:
    /// see [`Peer::is_local`].
    pub proxy: Option<Arc<PeerAddress>>,
    /// How it came.
    pub transport: Transport,
    /// The address of the listener, as bound; the log field `listener`.
    pub listener: Arc<str>,
    /// What the operator calls that listener, if anything.
    pub listener_name: Option<Arc<str>>,
    /// Whether it came through TLS: to us, or to the trusted proxy that says so.
    pub tls: bool,
    /// The name in its certificate, if it has shown one that an authority of
    /// [`crate::ClientCertificates`] vouches for, with its kind in front: the
    /// first of `uri:...`, `email:...`, `dns:...` and `cn:...` that there is (of
    /// several of a kind the first). At most 512 bytes without control characters.
    pub certificate: Option<Arc<str>>,
}

/// What the kernel tells about a peer. Shown as the log field `peer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// A TCP peer; IPv4 peers of an IPv6 socket are written as IPv4. Port 0 is one
    /// that a proxy did not tell.
    Tcp(SocketAddr),
    /// A process on this machine, from `SO_PEERCRED`.
    Unix {
        /// Its user when it connected.
        uid: u32,
        /// Its first group then. The others are not told.
        gid: u32,
        /// Its process when it connected; it may be gone.
        pid: Option<i32>,
    },
    /// A Unix peer whose credentials the kernel did not tell.
    Unnamed,
}

/// How a line connection is framed and carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Lines over TCP.
    Tcp,
    /// Lines over a Unix socket.
    Unix,
    /// Text messages of a WebSocket, over TCP or a Unix socket.
    WebSocket,
}

impl Peer {
    /// Whether nobody on another machine can read what is sent: it goes through
    /// TLS, or does not leave this one.
    pub fn is_private(&self) -> bool {
        self.tls || self.is_local()
    }

    /// The same peer after an upgrade.
    #[must_use]
    pub fn upgraded(mut self) -> Self {
        self.transport = Transport::WebSocket;
        self
    }

    /// Its IPv4 address, its IPv6 network, or its user on this machine.
    pub fn host(&self) -> Origin {
        match self.address {
            PeerAddress::Tcp(address) => Origin::host(address.ip()),
            PeerAddress::Unix { uid, .. } => Origin::User(uid),
            PeerAddress::Unnamed => Origin::Unknown,
        }
    }

    /// Its address, if it has one.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self.address {
            PeerAddress::Tcp(address) => Some(address.ip()),
            PeerAddress::Unix { .. } | PeerAddress::Unnamed => None,
        }
    }

    /// Whether nobody outside this machine can hear it or pass for it: a Unix
    /// socket or loopback, and no trusted proxy, whose clients are elsewhere.
    pub fn is_local(&self) -> bool {
        self.proxy.is_none()
            && match self.address {
                PeerAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
                PeerAddress::Unix { .. } | PeerAddress::Unnamed => true,
            }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) if address.port() == 0 => address.ip().fmt(f),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix {
                uid,
                pid: Some(pid),
                ..
            } => write!(f, "uid {uid} pid {pid}"),
            Self::Unix { uid, pid: None, .. } => write!(f, "uid {uid}"),
            Self::Unnamed => f.write_str("unix"),
        }
    }
}
