//! A service behind a door, with verbs.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, Permission, PermissionSet, SystemClock};
use fingerpost_db::{Settings, Sqlite};
use fingerpost_hashequiv::sqlite::MIGRATIONS;
use fingerpost_hashequiv::{Config, HashEquiv, NamespaceSet, Upstream};
use fingerpost_hashequiv_client::{Client, ClientOptions, request};
use fingerpost_hashequiv_front::{DoorOptions, NativeDoor, Placement, PlacementOptions};
use fingerpost_net::{
    Address, BindOptions, ConnectionGuard, LineDoor, Listener, Metrics, Peer, PeerAddress, Server,
    ServerOptions, Shutdown, Transport, bind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

/// The longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const HANDSHAKE: &str = "OEHASHEQUIV 1.1\nneeds-headers: false\n\n";

/// A service with its door, in a directory of its own.
pub(crate) struct World {
    pub(crate) service: Arc<HashEquiv>,
    pub(crate) placement: Placement,
    pub(crate) door: NativeDoor,
    pub(crate) shutdown: Shutdown,
    pub(crate) database: Sqlite,
    pub(crate) directory: tempfile::TempDir,
}

/// Whoever comes from there, without TLS.
pub(crate) fn peer(address: PeerAddress) -> Peer {
    Peer {
        address,
        transport: Transport::Tcp,
        listener: "test".into(),
        listener_name: None,
        proxy: None,
        tls: false,
        certificate: None,
    }
}

/// A server on sockets.
pub(crate) struct Listening {
    pub(crate) world: World,
    pub(crate) tcp: Address,
    pub(crate) v6: Option<Address>,
    pub(crate) running: JoinHandle<std::io::Result<usize>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(DoorOptions::default(), Config::default(), None).await
    }

    pub(crate) async fn with(
        options: DoorOptions,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Self {
        let config = Config {
            anonymous: PermissionSet::of(&[
                Permission::Read,
                Permission::Report,
                Permission::DbAdmin,
            ]),
            ..config
        };
        Self::at(Arc::new(SystemClock), options, config, upstream).await
    }

    /// With callers in the namespaces that `placement` says.
    pub(crate) async fn placed(config: Config, placement: PlacementOptions) -> Self {
        let clock = Arc::new(SystemClock);
        Self::build(clock, DoorOptions::default(), config, None, placement).await
    }

    /// A world whose anonymous clients may do what `config` says.
    pub(crate) async fn with_anonymous_as_configured(config: Config) -> Self {
        Self::at(Arc::new(SystemClock), DoorOptions::default(), config, None).await
    }

    pub(crate) async fn at(
        clock: Arc<dyn Clock>,
        options: DoorOptions,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Self {
        Self::build(
            clock,
            options,
            config,
            upstream,
            PlacementOptions::default(),
        )
        .await
    }

    async fn build(
        clock: Arc<dyn Clock>,
        options: DoorOptions,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
        placement: PlacementOptions,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(directory.path().join("test.fingerpost"));
        let db = Sqlite::open(settings, MIGRATIONS).unwrap();
        let config = Config {
            failed_login_delay: Duration::from_millis(10),
            ..config
        };
        let namespaces = NamespaceSet::open(db.clone(), config, upstream, clock);
        let namespaces = namespaces.await.unwrap();
        let service = Arc::clone(namespaces.default());
        service
            .accounts()
            .ensure_admin("admin", "secret")
            .await
            .unwrap();
        let placement = Placement::new(namespaces, placement).unwrap();
        let door = NativeDoor::new(placement.clone(), options);
        Self {
            service,
            placement,
            door,
            shutdown: Shutdown::new(),
            database: db,
            directory,
        }
    }

    /// Opens a connection in memory that holds `buffer` bytes each way.
    pub(crate) fn connect(&self, buffer: usize) -> Wire {
        self.connect_with(buffer, Duration::from_secs(10))
    }

    pub(crate) fn connect_with(&self, buffer: usize, handshake: Duration) -> Wire {
        self.connect_from(peer(PeerAddress::Unnamed), buffer, handshake)
    }

    /// By the listener of this name.
    pub(crate) fn connect_by(&self, listener: Option<&str>) -> Wire {
        let peer = Peer {
            listener_name: listener.map(Into::into),
            ..peer(PeerAddress::Unnamed)
        };
        self.connect_from(peer, 1 << 20, Duration::from_secs(10))
    }

    pub(crate) fn connect_from(&self, peer: Peer, buffer: usize, handshake: Duration) -> Wire {
        let (near, far) = tokio::io::duplex(buffer);
        let guard = ConnectionGuard::unlimited(&self.shutdown, handshake);
        let door = self.door.clone();
        let served = tokio::spawn(async move { door.serve(far, Vec::new(), peer, guard).await });
        Wire { io: near, served }
    }

    /// As [`World::connect`], with the handshake done.
    pub(crate) async fn open(&self) -> Wire {
        let mut wire = self.connect(1 << 20);
        wire.send(HANDSHAKE).await;
        wire
    }

    /// Listens on a free TCP port, on IPv6 where there is, and on a Unix socket.
    pub(crate) fn listen(self) -> Listening {
        self.listen_on("127.0.0.1:0")
    }

    pub(crate) fn listen_on(self, address: &str) -> Listening {
        let path = self.directory.path().join("x".repeat(120));
        std::fs::create_dir(&path).unwrap();
        let bind = |address: &Address| bind(address, &BindOptions::default());
        let tcp = bind(&address.parse().unwrap()).unwrap();
        let unix = bind(&Address::Unix(path.join("socket"))).unwrap();
        let v6 = bind(&"[::1]:0".parse().unwrap()).ok();
        let addresses = (
            tcp.client_address(),
            v6.as_ref().map(Listener::client_address),
        );
        let (door, metrics) = (self.door.clone(), Arc::new(Metrics::new()));
        let mut server = Server::new(
            door,
            ServerOptions::default(),
            metrics,
            self.shutdown.clone(),
        )
        .listen(tcp)
        .listen(unix);
        if let Some(v6) = v6 {
            server = server.listen(v6);
        }
        let running = tokio::spawn(server.run());
        Listening {
            world: self,
            tcp: addresses.0,
            v6: addresses.1,
            running,
        }
    }

    /// Lets `count` tasks of the method `m` have unihashes.
    pub(crate) async fn fill(&self, count: usize) {
        let mut wire = self.open().await;
        for task in 0..count {
            let line = format!(
                "{{\"report-equiv\": {{\"method\": \"m\", \"taskhash\": \"{}\", \"unihash\": \"{}\"}}}}",
                taskhash(task),
                unihash(task)
            );
            wire.send_line(&line).await;
        }
        for _ in 0..count {
            wire.line().await;
        }
    }
}

impl Listening {
    pub(crate) fn unix(&self) -> Address {
        let path = self
            .world
            .directory
            .path()
            .join("x".repeat(120))
            .join("socket");
        Address::Unix(path)
    }

    /// A client of the TCP port.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.options())
    }

    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions::to(self.tcp.clone())
    }

    /// A client of this address, after a ping.
    pub(crate) async fn reached(&self, address: Address) -> Client {
        let mut client = Client::new(ClientOptions::to(address));
        assert!(client.call(&request::ping()).await.unwrap().alive);
        client
    }
}

/// The near end of a connection in memory.
pub(crate) struct Wire {
    pub(crate) io: DuplexStream,
    pub(crate) served: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn send(&mut self, text: &str) {
        let sending = self.io.write_all(text.as_bytes());
        tokio::time::timeout(PATIENCE, sending)
            .await
            .unwrap()
            .unwrap();
    }

    pub(crate) async fn send_line(&mut self, line: &str) {
        self.send(&format!("{line}\n")).await;
    }

    /// One line, without its end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            let byte = tokio::time::timeout(PATIENCE, self.io.read_u8())
                .await
                .unwrap()
                .unwrap();
            if byte == b'\n' {
                return String::from_utf8(line).unwrap();
            }
            line.push(byte);
        }
    }

    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.send_line(line).await;
        self.line().await
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        let reading = self.io.read_to_string(&mut rest);
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap()
            .unwrap();
        rest
    }

    /// Whether the server closes its side before that; nothing else may come.
    pub(crate) async fn is_closed_within(&mut self, time: Duration) -> bool {
        match tokio::time::timeout(time, self.io.read(&mut [0])).await {
            Ok(read) => {
                assert_eq!(read.unwrap(), 0);
                true
            }
            Err(_) => false,
        }
    }

    /// Closes our side.
    pub(crate) async fn shut(&mut self) {
        self.io.shutdown().await.unwrap();
    }
}

pub(crate) fn taskhash(task: usize) -> String {
    format!("{task:064x}")
}

pub(crate) fn unihash(task: usize) -> String {
    format!("{:064x}", task + 0x00ab_cdef_0000)
}
