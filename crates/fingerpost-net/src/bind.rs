//! Binding addresses.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::listener::{Bound, Listener};
use crate::owner::Owner;
use crate::unix::{UnixBindError, bind_unix};
use crate::{Address, Host};

/// Connections that may wait to be accepted; the kernel caps it at `somaxconn`.
pub(crate) const BACKLOG: i32 = 4096;

/// How often another free port is tried when the first is free for one family only.
const FREE_PORT_TRIES: u32 = 8;

/// How to bind.
#[derive(Clone, Debug, Default)]
pub struct BindOptions {
    /// Lets several processes bind the same TCP port. Off.
    pub reuse_port: bool,
    /// Permission bits of a Unix socket's file; `None` leaves them to the umask.
    pub unix_mode: Option<u32>,
}

/// Why an address could not be bound: a whole sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error("{address} is taken by {owner}: stop it, or listen on another address")]
    Taken {
        /// What was to be bound.
        address: Address,
        /// Who has it.
        owner: Owner,
    },
    /// Somebody else has it, and we could not find out who.
    #[error("{0} is taken by another program: stop it, or listen on another address")]
    TakenByUnknown(Address),
    /// The socket's path names a file of another kind.
    #[error("{} exists and is not a socket: remove it, or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// `wss://` is for clients.
    #[error("{0} cannot be listened on; write HOST:PORT, and set tls.certificate and tls.key")]
    ClientOnly(Address),
    /// The host name means no address.
    #[error("{address} cannot be listened on: its host name is unknown")]
    Unknown {
        /// What was to be bound.
        address: Address,
        /// The resolver's reason.
        source: io::Error,
    },
    /// No interface has the address.
    #[error("{0} cannot be listened on: no interface of this machine has that address")]
    NotHere(Address),
    /// A port below 1024, or a directory that we may not write.
    #[error(
        "{0} cannot be listened on: permission denied (ports below 1024 need CAP_NET_BIND_SERVICE, sockets a writable directory)"
    )]
    Denied(Address),
    /// Anything else.
    #[error("{address} cannot be listened on")]
    Io {
        /// What was to be bound.
        address: Address,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Binds `address` and listens.
///
/// A TCP host name is bound on every address that it has (`localhost` on both
/// families), all on one port. TCP sockets send at once and probe silent peers
/// after 30 s, every 15 s, four times. Blocks while a host name is resolved.
///
/// # Errors
///
/// See [`BindError`].
pub fn bind(address: &Address, options: &BindOptions) -> Result<Listener, BindError> {
    match address {
        Address::WebSocket { tls: true, .. } => Err(BindError::ClientOnly(address.clone())),
        Address::Tcp { host, port } | Address::WebSocket { host, port, .. } => {
            bind_tcp(address, host, *port, options)
        }
        Address::Unix(path) => match bind_unix(path, options) {
            Ok((socket, file)) => Ok(Listener::unix(address.clone(), socket, file)),
            Err(UnixBindError::NotASocket) => Err(BindError::NotASocket(path.clone())),
            Err(UnixBindError::Taken(owner)) => Err(taken(address, owner)),
            Err(UnixBindError::Io(source)) => Err(explain(address, source, || None)),
        },
    }
}

fn bind_tcp(
    address: &Address,
    host: &Host,
    port: u16,
    options: &BindOptions,
) -> Result<Listener, BindError> {
    let candidates = resolve(host, port).map_err(|source| BindError::Unknown {
        address: address.clone(),
        source,
    })?;
    let both = *host == Host::Any;
    let mut tries = 1..=FREE_PORT_TRIES;
    loop {
        match listen_on_all(&candidates, both, options) {
            Ok((chosen, bound)) => {
                return Ok(Listener::tcp(address.clone().with_port(chosen), bound));
            }
            // The port that was free for one family is taken for the other.
            Err((_, error))
                if port == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && tries.next().is_some() => {}
            Err((at, error)) => return Err(explain(address, error, || Owner::of_port(at))),
        }
    }
}

/// Listens on every candidate that this machine has, at least one; all get the
/// port of the first. The error comes with the candidate that failed.
fn listen_on_all(
    candidates: &[SocketAddr],
    both: bool,
    options: &BindOptions,
) -> Result<(u16, Vec<Bound>), (SocketAddr, io::Error)> {
    let mut bound = Vec::new();
    let mut chosen = None;
    let mut absent = None;
    for candidate in candidates {
        let at = SocketAddr::new(candidate.ip(), chosen.unwrap_or_else(|| candidate.port()));
        match listen(at, both, options) {
            Ok(socket) => {
                let local = socket.local_addr().map_err(|error| (at, error))?;
                chosen = Some(local.port());
                bound.push(Bound::Tcp(socket));
            }
            // Without IPv6, say, the other family has to do.
            Err(error) if is_absent(&error) => absent = Some((at, error)),
            Err(error) => return Err((at, error)),
        }
    }
    match (chosen, absent) {
        (Some(port), _) => Ok((port, bound)),
        (None, Some(failed)) => Err(failed),
        (None, None) => unreachable!("`resolve` gives at least one candidate"),
    }
}

/// Every address to try. One socket on the IPv6 wildcard takes both families,
/// so the IPv4 one behind it is bound only where there is no IPv6.
fn resolve(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut found: Vec<SocketAddr> = match host {
        Host::Any => vec![(Ipv6Addr::UNSPECIFIED, port).into()],
        Host::V6(ip) => vec![(*ip, port).into()],
        Host::Name(name) => (name.as_str(), port).to_socket_addrs()?.collect(),
    };
    let mut seen = Vec::new();
    found.retain(|one| {
        !seen.contains(one) && {
            seen.push(*one);
            true
        }
    });
    if found.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(found)
}

fn listen(address: SocketAddr, both: bool, options: &BindOptions) -> io::Result<TcpListener> {
    match listen_on(address, both, options) {
        Err(error) if both && is_absent(&error) => {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            listen_on(v4, false, options)
        }
        outcome => outcome,
    }
}

fn listen_on(address: SocketAddr, both: bool, options: &BindOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!both)?;
    }
    // A restart must not wait for the last server's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    tune(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Sets what accepted sockets inherit from a listening one.
pub(crate) fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)
}

fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let absent = [
        Errno::AFNOSUPPORT,
        Errno::ADDRNOTAVAIL,
        Errno::PROTONOSUPPORT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| absent.contains(&errno))
}

fn taken(address: &Address, owner: Option<Owner>) -> BindError {
    match owner {
        Some(owner) => BindError::Taken {
            address: address.clone(),
            owner,
        },
        None => BindError::TakenByUnknown(address.clone()),
    }
}

fn explain(
    address: &Address,
    source: io::Error,
    owner: impl FnOnce() -> Option<Owner>,
) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => taken(address, owner()),
        io::ErrorKind::AddrNotAvailable => BindError::NotHere(address.clone()),
        io::ErrorKind::PermissionDenied => BindError::Denied(address.clone()),
        _ => BindError::Io {
            address: address.clone(),
            source,
        },
    }
}
