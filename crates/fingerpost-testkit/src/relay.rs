//! What stands between a client and a server of HTTP and does not do its job.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// How answers are passed on, those of them that are longer than
/// [`Relay::SHORT_BYTES`]; a probe sees nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As they are.
    Honest,
    /// With one bit changed.
    Lies,
    /// The connection is closed in the middle.
    BreaksOff,
    /// With a pause after each piece of [`Relay::SHORT_BYTES`].
    Dawdles(Duration),
    /// Nothing more comes in the middle.
    Hangs,
}

/// Takes connections on a port of its own and passes on what is said.
pub struct Relay {
    address: SocketAddr,
    server: SocketAddr,
    manner: watch::Sender<Manner>,
    spoilt: Arc<AtomicU64>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// Up to so many bytes of an answer and its head nothing happens to them.
    pub const SHORT_BYTES: usize = 4096;

    /// Starts one before a server of 127.0.0.1 on this port.
    pub async fn start(port: u16) -> Result<Self> {
        let mut relay = Self {
            address: SocketAddr::from(([127, 0, 0, 1], crate::free_port()?)),
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            manner: watch::Sender::new(Manner::Honest),
            spoilt: Arc::default(),
            accepting: None,
        };
        relay.go_on().await?;
        Ok(relay)
    }

    /// Its URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it does from now on, with connections that are open too.
    pub fn be(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Answers that it did not pass on as they are.
    pub fn spoilt(&self) -> u64 {
        self.spoilt.load(Ordering::SeqCst)
    }

    /// Nobody listens any more, and every connection is closed.
    pub async fn lose(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            _ = accepting.await;
        }
    }

    /// Listens again where it did before.
    pub async fn go_on(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await;
        let listener = listener.with_context(|| format!("{} is taken", self.address))?;
        let (server, manner) = (self.server, self.manner.subscribe());
        let spoilt = Arc::clone(&self.spoilt);
        self.accepting = Some(tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                passing.spawn(pass(client, server, manner.clone(), Arc::clone(&spoilt)));
                while passing.try_join_next().is_some() {}
            }
        }));
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

async fn pass(
    client: TcpStream,
    server: SocketAddr,
    manner: watch::Receiver<Manner>,
    spoilt: Arc<AtomicU64>,
) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Of the answer to what was asked last.
    let passed = AtomicU64::new(0);
    let asking = pass_questions(from_client, to_server, &passed);
    let answering = pass_answers(from_server, to_client, &passed, manner, &spoilt);
    tokio::select! {
        result = asking => result,
        result = answering => result,
    }
}

async fn pass_questions(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passed: &AtomicU64,
) -> io::Result<()> {
    let mut piece = vec![0; Relay::SHORT_BYTES];
    loop {
        let len = from.read(&mut piece).await?;
        if len == 0 {
            return Ok(());
        }
        passed.store(0, Ordering::SeqCst);
        to.write_all(&piece[..len]).await?;
    }
}

async fn pass_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passed: &AtomicU64,
    mut manner: watch::Receiver<Manner>,
    spoilt: &AtomicU64,
) -> io::Result<()> {
    let mut piece = vec![0; Relay::SHORT_BYTES];
    loop {
        let len = from.read(&mut piece).await?;
        if len == 0 {
            return Ok(());
        }
        let before = passed.fetch_add(len as u64, Ordering::SeqCst) as usize;
        let now = *manner.borrow_and_update();
        if before + len > Relay::SHORT_BYTES && now != Manner::Honest {
            if before <= Relay::SHORT_BYTES {
                spoilt.fetch_add(1, Ordering::SeqCst);
            }
            match now {
                Manner::Honest => {}
                Manner::Lies if before <= Relay::SHORT_BYTES => piece[len - 1] ^= 1,
                Manner::Lies => {}
                Manner::BreaksOff => return Ok(()),
                Manner::Dawdles(pause) => sleep(pause).await,
                Manner::Hangs => _ = manner.changed().await,
            }
        }
        to.write_all(&piece[..len]).await?;
    }
}
