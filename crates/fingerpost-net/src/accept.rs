//! Accepting connections, and finding out what each is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::detect::{Detected, Opening, read_opening};
use crate::http::Shell;
use crate::limit::{ConnectionLimit, Seldom};
use crate::metrics::{Metrics, Protocol, Reason};
use crate::{ConnectionGuard, LineDoor, Peer, PeerAddress, Shutdown, Transport};

/// The pause after a failure such as too many open files, which does not go
/// away by trying again at once.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What connections of a group of listeners get.
pub(crate) struct Gate<D> {
    pub(crate) shell: Arc<Shell<D>>,
    pub(crate) limit: ConnectionLimit,
    pub(crate) shutdown: Shutdown,
    pub(crate) handshake: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shed: Seldom,
    pub(crate) failed: Seldom,
}

/// A listening socket of either kind.
pub(crate) trait Accept: Send + 'static {
    const TRANSPORT: Transport;
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept_one(&self) -> impl Future<Output = io::Result<(Self::Stream, PeerAddress)>> + Send;
}

impl Accept for TcpListener {
    const TRANSPORT: Transport = Transport::Tcp;
    type Stream = TcpStream;

    async fn accept_one(&self) -> io::Result<(TcpStream, PeerAddress)> {
        let (stream, mut address) = self.accept().await?;
        address.set_ip(address.ip().to_canonical());
        Ok((stream, PeerAddress::Tcp(address)))
    }
}

impl Accept for UnixListener {
    const TRANSPORT: Transport = Transport::Unix;
    type Stream = UnixStream;

    async fn accept_one(&self) -> io::Result<(UnixStream, PeerAddress)> {
        let (stream, _) = self.accept().await?;
        let peer = stream
            .peer_cred()
            .map_or(PeerAddress::Unnamed, |credentials| PeerAddress::Unix {
                uid: credentials.uid(),
                pid: credentials.pid(),
            });
        Ok((stream, peer))
    }
}

/// Accepts until the server drains. `name` is the listener's address in logs.
pub(crate) async fn accept_all<D: LineDoor>(
    listener: impl Accept,
    name: Arc<str>,
    gate: Arc<Gate<D>>,
) {
    let accepting = accept_forever(&listener, &name, &gate);
    tokio::select! {
        biased;
        () = gate.shutdown.started() => {}
        () = accepting => {}
    }
}

async fn accept_forever<A: Accept, D: LineDoor>(
    listener: &A,
    name: &Arc<str>,
    gate: &Arc<Gate<D>>,
) {
    loop {
        match listener.accept_one().await {
            Ok((stream, address)) => {
                let peer = Peer {
                    address,
                    transport: A::TRANSPORT,
                    listener: name.clone(),
                };
                gate.admit(stream, peer);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                gate.metrics.count_accept_error();
                if let Some(held_back) = gate.failed.now() {
                    tracing::warn!(listener = %name, %error, held_back, "cannot accept connections");
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Whether the peer was gone before we took its connection: the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

impl<D: LineDoor> Gate<D> {
    /// Starts a task for the connection, or closes it at once when there are
    /// too many.
    fn admit<IO>(self: &Arc<Self>, io: IO, peer: Peer)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(permit) = self.limit.try_acquire() else {
            self.metrics.count_refused(Reason::ConnectionLimit);
            if let Some(held_back) = self.shed.now() {
                let listener = &peer.listener;
                tracing::warn!(%peer, %listener, held_back, "too many connections: closed a new one");
            }
            return;
        };
        let (handshake, metrics) = (self.handshake, self.metrics.clone());
        let guard = ConnectionGuard::admitted(&self.shutdown, permit, handshake, metrics);
        let abort_by = guard.abort_by();
        let task = tokio::spawn(self.clone().serve(io, peer, guard));
        abort_by(task.abort_handle());
    }

    async fn serve<IO>(self: Arc<Self>, mut io: IO, peer: Peer, guard: ConnectionGuard)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let opening = tokio::select! {
            opening = read_opening(&mut io, guard.handshake_deadline()) => opening,
            () = guard.drained() => return,
        };
        match opening {
            Opening::Known(Detected::Line, first) => match &self.shell.door {
                Some(door) => {
                    self.metrics
                        .count_connection(Protocol::BitBake, peer.address);
                    door.serve(io, first, peer, guard).await;
                }
                None => self.metrics.count_refused(Reason::NotHttp),
            },
            Opening::Known(Detected::Http, first) => {
                self.metrics.count_connection(Protocol::Http, peer.address);
                // Boxed, so that the many line connections do not carry its size.
                Box::pin(self.shell.clone().serve(io, first, peer, guard)).await;
            }
            Opening::Known(Detected::Tls, _) => {
                self.metrics.count_connection(Protocol::Tls, peer.address);
                self.metrics.count_refused(Reason::Tls);
                let listener = &peer.listener;
                tracing::debug!(%peer, %listener, "closed a TLS connection: there is no TLS here");
            }
            Opening::Silent => self.metrics.count_silent(),
            Opening::TimedOut { silent } => {
                guard.count_handshake_timeout();
                let listener = &peer.listener;
                tracing::debug!(%peer, %listener, silent, "closed: no handshake in time");
            }
        }
    }
}
