//! Accepting connections, and finding out what each is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::detect::{Detected, Opening, read_opening};
use crate::http::Shell;
use crate::limit::ConnectionLimit;
use crate::metrics::{Metrics, Protocol};
use crate::refusal::Refusals;
use crate::{ConnectionGuard, LineDoor, Peer, PeerAddress, Seldom, Shutdown, Transport};

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
    pub(crate) refusals: Arc<Refusals>,
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
pub(crate) async fn accept_all<A: Accept, D: LineDoor>(
    listener: A,
    name: Arc<str>,
    gate: Arc<Gate<D>>,
) {
    let admit = |stream, address| {
        let peer = Peer {
            address,
            transport: A::TRANSPORT,
            listener: name.clone(),
        };
        gate.admit(stream, peer);
    };
    let fail = |error: &io::Error| {
        gate.metrics.count_accept_error();
        if let Some(held_back) = gate.failed.now() {
            tracing::warn!(listener = %name, %error, held_back, "cannot accept connections");
        }
    };
    tokio::select! {
        biased;
        () = gate.shutdown.started() => {}
        () = accept_forever(&listener, admit, fail) => {}
    }
}

async fn accept_forever<A: Accept>(
    listener: &A,
    admit: impl Fn(A::Stream, PeerAddress),
    fail: impl Fn(&io::Error),
) {
    loop {
        match listener.accept_one().await {
            Ok((stream, address)) => admit(stream, address),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                fail(&error);
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
            self.refusals.too_many(&peer);
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
                None => self.refusals.not_http(&peer),
            },
            Opening::Known(Detected::Http, first) => {
                self.metrics.count_connection(Protocol::Http, peer.address);
                // Boxed, so that the many line connections do not carry its size.
                Box::pin(self.shell.clone().serve(io, first, peer, guard)).await;
            }
            Opening::Known(Detected::Tls, _) => {
                self.metrics.count_connection(Protocol::Tls, peer.address);
                self.refusals.tls(&peer);
            }
            Opening::Silent => self.metrics.count_silent(),
            Opening::TimedOut { silent } => self.refusals.too_late(&peer, silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::DuplexStream;
    use tokio::time::timeout;

    use super::*;

    /// Fails to accept, in one way or another.
    struct Failing(io::ErrorKind);

    impl Accept for Failing {
        const TRANSPORT: Transport = Transport::Tcp;
        type Stream = DuplexStream;

        async fn accept_one(&self) -> io::Result<(DuplexStream, PeerAddress)> {
            tokio::task::yield_now().await;
            Err(self.0.into())
        }
    }

    async fn failures_in(time: Duration, kind: io::ErrorKind) -> u32 {
        let failures = AtomicU32::new(0);
        let fail = |_: &io::Error| {
            failures.fetch_add(1, Ordering::Relaxed);
        };
        let listener = Failing(kind);
        let endless = accept_forever(&listener, |_, _| {}, fail);
        timeout(time, endless).await.expect_err("never ends");
        failures.into_inner()
    }

    #[tokio::test]
    async fn running_out_of_files_does_not_spin() {
        let failures = failures_in(BACK_OFF * 4, io::ErrorKind::Other).await;
        assert!((1..=5).contains(&failures), "{failures}");
    }

    #[tokio::test]
    async fn a_peer_that_left_early_is_no_failure() {
        let failures = failures_in(BACK_OFF, io::ErrorKind::ConnectionAborted).await;
        assert_eq!(failures, 0);
    }
}
