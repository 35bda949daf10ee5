//! A running server with a door that repeats lines, and what tests say to it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use fingerpost_core::SystemClock;
use fingerpost_net::{
    Address, BindOptions, ConnectionGuard, Host, LineDoor, Listener, Metrics, Peer, Server,
    ServerOptions, Shortcut, Shutdown, Tls, TlsOptions, TlsPolicy, bind, close_websocket,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No step of a test takes longer, on a machine however busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Repeats every line; `slow` is answered after 300 ms, `stuck` never, and
/// `who` with the peer.
#[derive(Clone)]
pub(crate) struct Echo;

impl LineDoor for Echo {
    async fn serve<IO>(&self, io: IO, first: Vec<u8>, peer: Peer, guard: ConnectionGuard)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (read, mut write) = tokio::io::split(io);
        let mut lines = BufReader::new(first.as_slice().chain(read)).lines();
        while !guard.draining() {
            let line = tokio::select! {
                biased;
                line = lines.next_line() => line,
                () = guard.drained() => return,
            };
            let Ok(Some(line)) = line else { return };
            let answer = answer(line, &peer).await + "\n";
            if write.write_all(answer.as_bytes()).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
    }

    fn takes_path(&self, path: &str) -> bool {
        path != "/nowhere"
    }

    async fn serve_websocket(
        &self,
        mut socket: WebSocket,
        _: String,
        peer: Peer,
        guard: ConnectionGuard,
    ) {
        while !guard.draining() {
            let message = tokio::select! {
                biased;
                message = socket.recv() => message,
                () = guard.drained() => break,
            };
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => continue,
                Some(Err(error)) => return close_websocket(socket, Some(&error), &guard).await,
                None => return,
            };
            let answer = answer(text.to_string(), &peer).await;
            if socket.send(Message::text(answer)).await.is_err() {
                return;
            }
        }
        close_websocket(socket, None, &guard).await;
    }
}

async fn answer(line: String, peer: &Peer) -> String {
    match line.as_str() {
        "slow" => tokio::time::sleep(Duration::from_millis(300)).await,
        "stuck" => std::future::pending().await,
        "who" => return format!("{peer} {:?} {}", peer.transport, peer.listener),
        "local" => return peer.is_local().to_string(),
        "name" => return peer.certificate.as_deref().unwrap_or("nobody").to_owned(),
        _ => {}
    }
    line
}

/// A server that runs until it is told to stop.
pub(crate) struct World {
    /// Of the first listener, as clients write it.
    pub(crate) address: Address,
    /// Of the listener for metrics and probes.
    pub(crate) probes: Address,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Arc<Metrics>,
    server: JoinHandle<io::Result<usize>>,
}

/// A variant of [`TlsPolicy`].
pub(crate) type Policy = fn(Tls) -> TlsPolicy;

/// How a world differs from the default.
pub(crate) struct Plan {
    pub(crate) listen: String,
    pub(crate) options: ServerOptions,
    pub(crate) router: Router,
    pub(crate) shortcut: Option<Arc<dyn Shortcut>>,
    pub(crate) ready: Result<Option<String>, String>,
    pub(crate) tls: Option<(Policy, TlsOptions)>,
    pub(crate) proxy_protocol: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            options: ServerOptions::default(),
            router: Router::new(),
            shortcut: None,
            ready: Ok(None),
            tls: None,
            proxy_protocol: false,
        }
    }
}

impl Plan {
    /// The same with other options.
    pub(crate) fn with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let mut plan = Self::default();
        change(&mut plan.options);
        plan
    }

    pub(crate) fn start(self) -> World {
        let (shutdown, metrics) = (Shutdown::new(), Arc::new(Metrics::new()));
        let mut listener = listener(&self.listen).with_proxy_protocol(self.proxy_protocol);
        if let Some((policy, options)) = self.tls {
            let tls = Tls::load(options, Arc::new(SystemClock), &metrics);
            listener = listener.with_tls(policy(tls.expect("files that are right")));
        }
        let probes = listener_on_loopback();
        let (address, probe_address) = (listener.client_address(), probes.client_address());
        let ready = self.ready;
        let mut server = Server::new(Echo, self.options, metrics.clone(), shutdown.clone())
            .router(self.router)
            .readiness(move || ready.clone())
            .listen(listener)
            .listen_probes(probes);
        if let Some(shortcut) = self.shortcut {
            server = server.shortcut(shortcut);
        }
        let server = tokio::spawn(server.run());
        World {
            address,
            probes: probe_address,
            shutdown,
            metrics,
            server,
        }
    }
}

pub(crate) fn listener(address: &str) -> Listener {
    let address = address.parse().expect("a valid address");
    bind(&address, &BindOptions::default()).expect("a free address")
}

fn listener_on_loopback() -> Listener {
    listener("127.0.0.1:0")
}

impl World {
    pub(crate) async fn connect(&self) -> Client {
        connect(&self.address).await
    }

    /// Stops the server; how many connections it had to drop.
    pub(crate) async fn stop(self) -> usize {
        self.shutdown.start();
        self.ended().await
    }

    /// Waits for a server that was told to stop.
    pub(crate) async fn ended(self) -> usize {
        let ended = timeout(PATIENCE, self.server).await.expect("in time");
        ended.expect("no panic").expect("no failure")
    }

    /// The value of a metric, named with its labels as `/metrics` shows it.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.encode();
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values
            .next()
            .map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// Waits until a metric has a value.
    pub(crate) async fn metric_becomes(&self, name: &str, value: u64) {
        let reached = async {
            while self.metric(name) != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = timeout(PATIENCE, reached).await;
        assert!(outcome.is_ok(), "{name} stays at {}", self.metric(name));
    }
}

/// A raw connection, over TCP or within TLS.
pub(crate) struct Client<IO = TcpStream>(pub(crate) IO);

pub(crate) async fn connect(address: &Address) -> Client {
    let Some((Host::Name(host), port)) = address.host_port() else {
        panic!("{address}")
    };
    Client(
        TcpStream::connect((host.as_str(), port))
            .await
            .expect("somebody listens"),
    )
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0
            .write_all(bytes.as_ref())
            .await
            .expect("the server reads");
        self.0.flush().await.expect("the server reads");
    }

    /// As [`Client::send`], to a server that may have closed.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref()).await?;
        self.0.flush().await
    }

    /// The next line without its end; what there is when the server closes.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let reading = async {
            while let Ok(byte) = self.0.read_u8().await
                && byte != b'\n'
            {
                line.push(byte);
            }
        };
        timeout(PATIENCE, reading).await.expect("in time");
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Exactly the next bytes.
    pub(crate) async fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let wanted = bytes.as_ref();
        let mut got = vec![0; wanted.len()];
        let outcome = timeout(PATIENCE, self.0.read_exact(&mut got))
            .await
            .expect("in time");
        outcome.expect("the server answers");
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(wanted)
        );
    }

    /// Whatever comes until the server closes; a reset counts as a close.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest))
            .await
            .expect("in time");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Sends a request and takes the whole answer; the server closes.
    pub(crate) async fn http(&mut self, request: &str) -> String {
        self.send(request).await;
        self.rest().await
    }
}

/// `GET path` on a connection of its own.
pub(crate) async fn get(address: &Address, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    connect(address).await.http(&request).await
}
