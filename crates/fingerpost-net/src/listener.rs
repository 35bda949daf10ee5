//! A bound address.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use socket2::SockRef;

use crate::accept::{Entrance, Manner};
use crate::bind::tune;
use crate::unix::SocketFile;
use crate::{Address, Host, TlsPolicy};

/// A bound address whose sockets listen already: connections queue in the
/// kernel until a [`crate::Server`] takes them.
///
/// Closing it (by dropping it, or with the server) removes the file of a Unix
/// socket that [`crate::bind()`] made.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    sockets: Vec<Bound>,
    file: Option<SocketFile>,
    tls: TlsPolicy,
    name: Option<Arc<str>>,
    proxy_protocol: bool,
}

/// One listening socket, in non-blocking mode.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(crate) fn tcp(address: Address, sockets: Vec<Bound>) -> Self {
        Self {
            address,
            sockets,
            file: None,
            tls: TlsPolicy::Off,
            name: None,
            proxy_protocol: false,
        }
    }

    pub(crate) fn unix(address: Address, socket: UnixListener, file: SocketFile) -> Self {
        Self {
            address,
            sockets: vec![Bound::Unix(socket)],
            file: Some(file),
            tls: TlsPolicy::Off,
            name: None,
            proxy_protocol: false,
        }
    }

    /// Takes over a TCP socket that somebody else bound and that listens
    /// already, as systemd does.
    ///
    /// # Errors
    ///
    /// Fails when it is no listening TCP socket.
    pub fn from_tcp(socket: TcpListener) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let host = match local {
            SocketAddr::V4(v4) => Host::Name(v4.ip().to_string()),
            SocketAddr::V6(v6) if v6.ip().is_unspecified() && !takes_only_v6(&socket) => Host::Any,
            SocketAddr::V6(v6) => Host::V6(*v6.ip()),
        };
        socket.set_nonblocking(true)?;
        tune(&SockRef::from(&socket))?;
        let address = Address::Tcp {
            host,
            port: local.port(),
        };
        Ok(Self::tcp(address, vec![Bound::Tcp(socket)]))
    }

    /// Takes over a Unix socket that somebody else bound and that listens
    /// already. Its file is theirs and stays.
    ///
    /// # Errors
    ///
    /// Fails when it is no Unix socket.
    pub fn from_unix(socket: UnixListener) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let path = local
            .as_pathname()
            .map_or_else(|| PathBuf::from("(unnamed)"), PathBuf::from);
        socket.set_nonblocking(true)?;
        Ok(Self {
            address: Address::Unix(path),
            sockets: vec![Bound::Unix(socket)],
            file: None,
            tls: TlsPolicy::Off,
            name: None,
            proxy_protocol: false,
        })
    }

    /// The same listener with TLS, or without. Until this is called TLS is off.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsPolicy) -> Self {
        self.tls = tls;
        self
    }

    /// The same listener with a name, which doors see in [`crate::Peer`].
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same listener for proxies of [`crate::ServerOptions::proxies`] that begin
    /// every connection with a header of the PROXY protocol, version 1 or 2, or not.
    /// With it, connections from anywhere else are closed.
    #[must_use]
    pub fn with_proxy_protocol(mut self, proxy_protocol: bool) -> Self {
        self.proxy_protocol = proxy_protocol;
        self
    }

    /// What [`Listener::named`] called it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What it does about TLS.
    pub const fn tls(&self) -> &TlsPolicy {
        &self.tls
    }

    /// The address as it was given, with the real port in place of 0.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What clients on this machine write to reach it: a real interface
    /// instead of every one, an absolute path, and `wss://` where TLS is required.
    pub fn client_address(&self) -> Address {
        self.as_spoken(self.address.clone().for_clients())
    }

    /// What other machines write to reach it where it is on every interface: with this
    /// machine's name, if it has one that can be written.
    pub fn address_elsewhere(&self) -> Option<Address> {
        let name = rustix::system::uname();
        let name = name.nodename().to_str().ok()?;
        let address = self.address.clone().for_others(name)?;
        Some(self.as_spoken(address))
    }

    fn as_spoken(&self, address: Address) -> Address {
        match self.tls.is_required() {
            true => address.with_tls(),
            false => address,
        }
    }

    /// Whether other machines can reach it.
    pub fn is_exposed(&self) -> bool {
        self.sockets.iter().any(|socket| match socket {
            Bound::Tcp(tcp) => tcp
                .local_addr()
                .is_ok_and(|local| !local.ip().to_canonical().is_loopback()),
            Bound::Unix(_) => false,
        })
    }

    pub(crate) fn into_parts(self) -> (Vec<Bound>, Option<SocketFile>, Entrance) {
        let entrance = Entrance {
            address: self.address.to_string().into(),
            name: self.name,
            manner: Manner {
                tls: self.tls,
                proxy_protocol: self.proxy_protocol,
            },
        };
        (self.sockets, self.file, entrance)
    }
}

fn takes_only_v6(socket: &TcpListener) -> bool {
    SockRef::from(socket).only_v6().unwrap_or(true)
}
