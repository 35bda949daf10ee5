//! Connections, forwarded.

use std::io;
use std::sync::{Arc, OnceLock};

use fingerpost_net::{Address, ConnectionGuard, LineDoor, Peer, connect_unix};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::mirror::{Event, MirrorHandle, mirror};
use super::tally::Tally;

/// A connection to a server.
pub(super) trait Side: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Side for T {}

/// Opens a connection to a server.
pub(super) async fn connect(address: &Address) -> io::Result<Box<dyn Side>> {
    match address.clone().for_clients() {
        Address::Unix(path) => Ok(Box::new(connect_unix(&path).await?)),
        other => {
            let Some((host, port)) = other.host_port() else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            let stream = TcpStream::connect((host.to_resolve().as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
    }
}

/// The commands of the protocol in their order of precedence.
pub(super) fn command_names() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let commands = fingerpost_hashequiv::commands();
        commands
            .entries()
            .iter()
            .map(|entry| entry.declaration.name)
            .collect()
    })
}

/// Forwards every connection to the reference, and mirrors it.
#[derive(Clone)]
pub(super) struct ShadowDoor(Arc<Inner>);

struct Inner {
    reference: Address,
    fingerpost: Address,
    tally: Arc<Tally>,
    mirrors: Mutex<JoinSet<()>>,
}

impl ShadowDoor {
    pub(super) fn new(reference: Address, fingerpost: Address, tally: Arc<Tally>) -> Self {
        Self(Arc::new(Inner {
            reference,
            fingerpost,
            tally,
            mirrors: Mutex::default(),
        }))
    }

    /// Waits until everything that was answered is compared.
    pub(super) async fn finish(&self) {
        let mut mirrors = std::mem::take(&mut *self.0.mirrors.lock());
        while mirrors.join_next().await.is_some() {}
    }

    fn mirror(&self, peer: &Peer) -> MirrorHandle {
        let (fingerpost, tally) = (self.0.fingerpost.clone(), Arc::clone(&self.0.tally));
        let (handle, running) = mirror(fingerpost, peer.to_string(), tally);
        let mut mirrors = self.0.mirrors.lock();
        while mirrors.try_join_next().is_some() {}
        mirrors.spawn(running);
        handle
    }
}

impl LineDoor for ShadowDoor {
    async fn serve<IO>(&self, io: IO, first: Vec<u8>, peer: Peer, guard: ConnectionGuard)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let reference = match connect(&self.0.reference).await {
            Ok(reference) => reference,
            Err(error) => {
                tracing::warn!(%peer, %error, "the reference cannot be reached");
                return;
            }
        };
        let mirror = Mutex::new(self.mirror(&peer));
        tokio::select! {
            _ = forward(io, first, reference, &mirror) => {}
            () = guard.drained() => {}
        }
    }

    async fn serve_websocket(
        &self,
        _socket: axum::extract::ws::WebSocket,
        _path: String,
        peer: Peer,
        _guard: ConnectionGuard,
    ) {
        tracing::warn!(%peer, "a WebSocket was closed: shadow does not speak it");
    }
}

/// Passes bytes on in both directions until the reference or the client ends.
async fn forward<IO>(
    client: IO,
    first: Vec<u8>,
    reference: Box<dyn Side>,
    mirror: &Mutex<MirrorHandle>,
) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_reference, mut to_reference) = tokio::io::split(reference);
    let requests = async {
        let mut bytes = first;
        loop {
            // The mirror hears of a request before its answer can come.
            mirror.lock().tell(Event::FromClient(bytes.clone()));
            to_reference.write_all(&bytes).await?;
            bytes.resize(READ_BYTES, 0);
            let count = from_client.read(&mut bytes).await?;
            if count == 0 {
                break;
            }
            bytes.truncate(count);
        }
        // The reference answers what it has, and closes.
        to_reference.shutdown().await?;
        io::Result::Ok(())
    };
    let answers = async {
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let count = from_reference.read(&mut bytes).await?;
            if count == 0 {
                return io::Result::Ok(());
            }
            let answer = bytes[..count].to_vec();
            mirror.lock().tell(Event::FromReference(answer));
            to_client.write_all(&bytes[..count]).await?;
        }
    };
    let (mut requests, mut answers) = (std::pin::pin!(requests), std::pin::pin!(answers));
    tokio::select! {
        asked = &mut requests => {
            asked?;
            answers.await
        }
        answered = &mut answers => {
            mirror.lock().tell(Event::ReferenceClosed);
            answered
        }
    }
}

const READ_BYTES: usize = 16 << 10;
