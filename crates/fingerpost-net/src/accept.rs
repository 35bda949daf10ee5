//! Accepting connections, and finding out what each is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::detect::{Detected, Opening, read_opening};
use crate::http::{Answers, Shell};
use crate::limit::ConnectionLimit;
use crate::metrics::{Metrics, Protocol};
use crate::proxied::{NoHeader, Proxied, read_proxied};
use crate::refusal::Refusals;
use crate::tls::{Replay, TlsIo, identity};
use crate::{
    ConnectionGuard, LineDoor, Peer, PeerAddress, Seldom, Shutdown, Tls, TlsPolicy, Transport,
    TrustedProxies,
};

/// The pause after a failure such as too many open files, which does not go
/// away by trying again at once.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What connections of a group of listeners get.
pub(crate) struct Gate<D> {
    pub(crate) shell: Arc<Shell<D>>,
    pub(crate) limit: ConnectionLimit,
    pub(crate) proxies: TrustedProxies,
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
                gid: credentials.gid(),
                pid: credentials.pid(),
            });
        Ok((stream, peer))
    }
}

/// A listener, as its connections see it.
#[derive(Clone)]
pub(crate) struct Entrance {
    /// Its address in logs.
    pub(crate) address: Arc<str>,
    /// What the operator calls it.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) manner: Manner,
}

/// What a listener wants of its connections.
#[derive(Clone)]
pub(crate) struct Manner {
    pub(crate) tls: TlsPolicy,
    /// Whether they begin with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
}

/// Accepts until the server drains.
pub(crate) async fn accept_all<A: Accept, D: LineDoor>(
    listener: A,
    entrance: Entrance,
    gate: Arc<Gate<D>>,
) {
    let admit = |stream, address| {
        let trusted = gate.proxies.trust(&address);
        let peer = Peer {
            address,
            proxy: trusted.then(|| Arc::new(address)),
            transport: A::TRANSPORT,
            listener: entrance.address.clone(),
            listener_name: entrance.name.clone(),
            tls: false,
            certificate: None,
        };
        gate.admit(stream, peer, entrance.manner.clone());
    };
    let fail = |error: &io::Error| {
        gate.metrics.count_accept_error();
        if let Some(held_back) = gate.failed.now() {
            tracing::warn!(listener = %entrance.address, %error, held_back, "cannot accept connections");
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
    /// too many or it is nobody's who may come here.
    fn admit<IO>(self: &Arc<Self>, io: IO, peer: Peer, manner: Manner)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if manner.proxy_protocol && peer.proxy.is_none() {
            self.refusals.no_proxy(&peer);
            return;
        }
        let Some(permit) = self.limit.try_acquire() else {
            self.refusals.too_many(&peer);
            return;
        };
        let (handshake, metrics) = (self.handshake, self.metrics.clone());
        let guard = ConnectionGuard::admitted(&self.shutdown, permit, handshake, metrics);
        let abort_by = guard.abort_by();
        let task = tokio::spawn(self.clone().serve(io, peer, manner, guard));
        abort_by(task.abort_handle());
    }

    async fn serve<IO>(
        self: Arc<Self>,
        mut io: IO,
        mut peer: Peer,
        manner: Manner,
        guard: ConnectionGuard,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut begun = Vec::new();
        if manner.proxy_protocol {
            // Boxed, so that connections without it have no room for it.
            let header = Box::pin(self.proxied(&mut io, &mut peer, &guard));
            let Some(rest) = header.await else { return };
            begun = rest;
        }
        let Some((spoken, first)) = self.listen_to(&mut io, begun, &peer, &guard).await else {
            return;
        };
        match (spoken, manner.tls) {
            (Detected::Tls, TlsPolicy::Off) => {
                self.metrics.count_connection(Protocol::Tls, &peer);
                self.refusals.tls(&peer);
            }
            (Detected::Tls, TlsPolicy::Optional(tls) | TlsPolicy::Required(tls)) => {
                self.start_tls(Replay::new(io, first), peer, &tls, &guard);
            }
            (Detected::Line, TlsPolicy::Required(_)) => self.refusals.plaintext(&peer),
            (Detected::Http, TlsPolicy::Required(_)) => {
                let answers = Answers::UpgradeRequired;
                self.serve_http(io, first, peer, guard, answers).await;
            }
            (Detected::Line, _) => {
                if let Some(door) = self.line_door(&peer) {
                    door.serve(io, first, peer, guard).await;
                }
            }
            (Detected::Http, _) => self.serve_http(io, first, peer, guard, Answers::All).await,
        }
    }

    /// Takes the header of the PROXY protocol, and from it who the peer is. Gives
    /// what was read behind it; `None` when there is no such header, which is counted.
    async fn proxied<IO>(
        &self,
        io: &mut IO,
        peer: &mut Peer,
        guard: &ConnectionGuard,
    ) -> Option<Vec<u8>>
    where
        IO: AsyncRead + Unpin,
    {
        let header = tokio::select! {
            header = timeout_at(guard.handshake_deadline(), read_proxied(io)) => header,
            () = guard.drained() => return None,
        };
        match header {
            Ok(Ok(Proxied { client, rest })) => {
                if let Some(client) = client {
                    peer.address = PeerAddress::Tcp(client);
                }
                return Some(rest);
            }
            Ok(Err(NoHeader::Silent)) => self.metrics.count_silent(),
            Ok(Err(NoHeader::Wrong)) => self.refusals.proxy_header(peer),
            Err(_) => self.refusals.too_late(peer, false),
        }
        None
    }

    /// What the peer speaks, and the bytes that were read to know it, `begun`
    /// among them. `None` when it does not say so, which is counted.
    async fn listen_to<IO>(
        &self,
        io: &mut IO,
        begun: Vec<u8>,
        peer: &Peer,
        guard: &ConnectionGuard,
    ) -> Option<(Detected, Vec<u8>)>
    where
        IO: AsyncRead + Unpin,
    {
        // What was sent before the stop is answered.
        let opening = tokio::select! {
            biased;
            opening = read_opening(io, begun, guard.handshake_deadline()) => opening,
            () = guard.drained() => return None,
        };
        match opening {
            Opening::Known(spoken, first) => return Some((spoken, first)),
            Opening::Silent => self.metrics.count_silent(),
            Opening::TimedOut { silent } => self.refusals.too_late(peer, silent),
        }
        None
    }

    /// Goes on in a task of its own: this one has room for a connection without
    /// TLS, which would stand empty.
    fn start_tls<IO>(
        self: Arc<Self>,
        io: Replay<IO>,
        peer: Peer,
        tls: &Tls,
        guard: &ConnectionGuard,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let left = guard
            .handshake_deadline()
            .saturating_duration_since(Instant::now());
        let guard = guard.share(left);
        let abort_by = guard.abort_by();
        let task = tokio::spawn(self.serve_tls(io, peer, tls.config(), guard));
        abort_by(task.abort_handle());
    }

    /// Shakes hands, and listens again.
    async fn serve_tls<IO>(
        self: Arc<Self>,
        io: Replay<IO>,
        mut peer: Peer,
        config: Arc<ServerConfig>,
        guard: ConnectionGuard,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Boxed, so that its place is free again afterwards.
        let shaking = Box::pin(async {
            let shaking = TlsAcceptor::from(config).accept(io);
            let shaken = timeout_at(guard.handshake_deadline(), shaking).await;
            shaken.map(|shaken| shaken.map(TlsIo::new))
        });
        let shaken = tokio::select! {
            shaken = shaking => shaken,
            () = guard.drained() => return,
        };
        let mut io = match shaken {
            Ok(Ok(io)) => io,
            Ok(Err(error)) => return self.refusals.tls_handshake(&peer, &error),
            Err(_) => return self.refusals.too_late(&peer, false),
        };
        let certificates = io.session().peer_certificates();
        peer.certificate = certificates.and_then(|chain| identity(chain.first()?));
        peer.tls = true;
        let Some((spoken, first)) = self.listen_to(&mut io, Vec::new(), &peer, &guard).await else {
            return;
        };
        match spoken {
            // TLS within TLS is nothing that anybody knows; the door says so.
            Detected::Line | Detected::Tls => {
                if let Some(door) = self.line_door(&peer) {
                    door.serve(io, first, peer, guard).await;
                }
            }
            Detected::Http => self.serve_http(io, first, peer, guard, Answers::All).await,
        }
    }

    /// The door for lines. What it serves is awaited where this is called: a
    /// function around it would make every connection larger.
    fn line_door(&self, peer: &Peer) -> Option<&D> {
        match &self.shell.door {
            Some(_) => self.metrics.count_connection(Protocol::BitBake, peer),
            None => self.refusals.not_http(peer),
        }
        self.shell.door.as_ref()
    }

    /// Boxed, so that the many line connections do not carry its size.
    fn serve_http<IO>(
        &self,
        io: IO,
        first: Vec<u8>,
        peer: Peer,
        guard: ConnectionGuard,
        answers: Answers,
    ) -> Pin<Box<impl Future<Output = ()> + Send + use<IO, D>>>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.metrics.count_connection(Protocol::Http, &peer);
        Box::pin(self.shell.clone().serve(io, first, peer, guard, answers))
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
