//! What lies between the agent and its server: a wire of loopback that can be cut,
//! stalled and stretched.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// How the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// It carries what comes, each way so much later.
    Carries(Duration),
    /// It takes connections and whatever is sent, and carries nothing.
    Stalled,
    /// Nobody listens at its end: connections are closed, and new ones refused.
    Cut,
}

/// A wire to a server, at an address that stays the same. It ends when this is dropped.
pub(super) struct Link {
    /// Keeps the port while nobody listens.
    _held: TcpSocket,
    address: SocketAddr,
    state: watch::Sender<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy)]
struct State {
    wire: Wire,
    server: SocketAddr,
}

impl Link {
    /// One to a server.
    pub(super) fn to(server: SocketAddr) -> io::Result<Self> {
        let held = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = held.local_addr()?;
        let state = State {
            wire: Wire::Carries(Duration::ZERO),
            server,
        };
        let mut link = Self {
            _held: held,
            address,
            state: watch::Sender::new(state),
            accepting: None,
        };
        link.listen()?;
        Ok(link)
    }

    /// Its near end.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server is elsewhere now. For a wire that is cut.
    pub(super) fn lead_to(&self, server: SocketAddr) {
        self.state.send_modify(|state| state.server = server);
    }

    /// Changes how the wire is, for connections that are there as well.
    pub(super) async fn set(&mut self, wire: Wire) -> io::Result<()> {
        self.state.send_modify(|state| state.wire = wire);
        if wire == Wire::Cut {
            if let Some(accepting) = self.accepting.take() {
                accepting.abort();
                // Its listener is closed once it has ended.
                let _ = accepting.await;
            }
        } else if self.accepting.is_none() {
            self.listen()?;
        }
        Ok(())
    }

    fn listen(&mut self) -> io::Result<()> {
        let listener = bound(self.address)?.listen(CONNECTIONS_MAX as u32)?;
        let accepting = accept(listener, self.state.subscribe());
        self.accepting = Some(tokio::spawn(accepting));
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// A socket that shares its port with others that do not listen.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, state: watch::Receiver<State>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        // Whoever went away before it was accepted is no reason to end.
        let Ok((near, _)) = listener.accept().await else {
            continue;
        };
        let state = state.clone();
        tokio::spawn(async move {
            carry(near, state).await;
            drop(place);
        });
    }
}

/// Carries a connection until both sides have ended it, or the wire is cut.
async fn carry(near: TcpStream, state: watch::Receiver<State>) {
    let server = state.borrow().server;
    let Ok(far) = TcpStream::connect(server).await else {
        return;
    };
    // Without it a wire that is slow by itself would be slowed down further.
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let mut cut = state.clone();
    tokio::select! {
        _ = async {
            tokio::join!(
                flow(near_in, far_out, state.clone()),
                flow(far_in, near_out, state.clone()),
            )
        } => {}
        // That the link is gone is the same.
        _ = cut.wait_for(|state| state.wire == Wire::Cut) => {}
    }
}

/// Carries one direction. What was read is on its way, and more may follow it meanwhile.
async fn flow(
    mut from: OwnedReadHalf,
    mut into: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
    let set = state.clone();
    let reading = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            match from.read_buf(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let delay = match set.borrow().wire {
                Wire::Carries(delay) => delay,
                Wire::Stalled | Wire::Cut => Duration::ZERO,
            };
            if sender.send((Instant::now() + delay, chunk)).await.is_err() {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = receiver.recv().await {
            sleep_until(due).await;
            let carries = state.wait_for(|state| state.wire != Wire::Stalled);
            let is_gone = carries.await.is_err();
            if is_gone || into.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // The other side may be gone already.
        let _ = into.shutdown().await;
    };
    tokio::join!(reading, writing);
}

const CONNECTIONS_MAX: usize = 256;
const CHUNK_BYTES: usize = 16 << 10;
const CHUNKS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A server that sends back what it hears.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut into) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut into).await;
                });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.write_all(b"ping").await?;
        timeout(LONG, stream.read_exact(&mut answer)).await??;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_cut_wire_refuses_and_the_same_address_works_afterwards() {
        let mut link = Link::to(echo().await).unwrap();
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), *b"ping");
        link.set(Wire::Cut).await.unwrap();
        assert!(ask(&mut stream).await.is_err());
        let refused = TcpStream::connect(link.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        link.lead_to(echo().await);
        link.set(Wire::Carries(Duration::ZERO)).await.unwrap();
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), *b"ping");
    }

    #[tokio::test]
    async fn a_stalled_wire_takes_connections_and_carries_later() {
        let mut link = Link::to(echo().await).unwrap();
        link.set(Wire::Stalled).await.unwrap();
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        let short = Duration::from_millis(100);
        assert!(timeout(short, stream.read(&mut answer)).await.is_err());
        link.set(Wire::Carries(Duration::ZERO)).await.unwrap();
        timeout(LONG, stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer, *b"ping");
    }

    #[tokio::test]
    async fn a_long_wire_costs_both_ways() {
        let mut link = Link::to(echo().await).unwrap();
        let each = Duration::from_millis(25);
        link.set(Wire::Carries(each)).await.unwrap();
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        let asked = Instant::now();
        ask(&mut stream).await.unwrap();
        assert!(asked.elapsed() >= 2 * each);
    }
}
