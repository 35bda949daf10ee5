//! What stands between a client and a server and does not do its job.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::ports::{free_port, listen_again};

/// How answers are passed on. But for [`Manner::Flips`] that is about those that are
/// longer than [`Relay::SHORT_BYTES`]; a probe sees nothing of it.
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
    /// With one bit changed somewhere in a piece, of short answers too.
    Flips {
        /// Where: the same one finds the same places in the same pieces.
        seed: u64,
        /// One of so many pieces is changed.
        one_in: u32,
    },
}

/// Takes connections on a port of its own and passes on what is said.
pub struct Relay {
    address: SocketAddr,
    server: SocketAddr,
    manner: watch::Sender<Manner>,
    counts: Arc<Counts>,
    accepting: Option<JoinHandle<()>>,
}

/// What went through.
#[derive(Default)]
struct Counts {
    spoilt: AtomicU64,
    /// Pieces under [`Manner::Flips`].
    pieces: AtomicU64,
}

impl Relay {
    /// Up to so many bytes of an answer and its head nothing happens to them.
    pub const SHORT_BYTES: usize = 4096;

    /// Starts one before a server of 127.0.0.1 on this port.
    pub async fn start(port: u16) -> Result<Self> {
        let mut relay = Self {
            address: SocketAddr::from(([127, 0, 0, 1], free_port()?)),
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            manner: watch::Sender::new(Manner::Honest),
            counts: Arc::default(),
            accepting: None,
        };
        relay.go_on().await?;
        Ok(relay)
    }

    /// Its URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its `HOST:PORT`.
    pub fn host_and_port(&self) -> String {
        self.address.to_string()
    }

    /// What it does from now on, with connections that are open too.
    pub fn be(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Answers that it did not pass on as they are; with [`Manner::Flips`], pieces.
    pub fn spoilt(&self) -> u64 {
        self.counts.spoilt.load(Ordering::SeqCst)
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
        let listener = listen_again(self.address).await?;
        let (server, manner) = (self.server, self.manner.subscribe());
        let counts = Arc::clone(&self.counts);
        self.accepting = Some(tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                passing.spawn(pass(client, server, manner.clone(), Arc::clone(&counts)));
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
    counts: Arc<Counts>,
) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Of the answer to what was asked last.
    let passed = AtomicU64::new(0);
    let asking = pass_questions(from_client, to_server, &passed);
    let answering = pass_answers(from_server, to_client, &passed, manner, &counts);
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
    counts: &Counts,
) -> io::Result<()> {
    let mut piece = vec![0; Relay::SHORT_BYTES];
    loop {
        let len = from.read(&mut piece).await?;
        if len == 0 {
            return Ok(());
        }
        let before = passed.fetch_add(len as u64, Ordering::SeqCst) as usize;
        let now = *manner.borrow_and_update();
        if let Manner::Flips { seed, one_in } = now {
            flip(&mut piece[..len], counts, seed, one_in);
        } else if before + len > Relay::SHORT_BYTES && now != Manner::Honest {
            if before <= Relay::SHORT_BYTES {
                counts.spoilt.fetch_add(1, Ordering::SeqCst);
            }
            match now {
                Manner::Honest | Manner::Flips { .. } => {}
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

/// Changes a bit of the piece, if it is its turn.
fn flip(piece: &mut [u8], counts: &Counts, seed: u64, one_in: u32) {
    let number = counts.pieces.fetch_add(1, Ordering::SeqCst);
    let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
    if random.random_range(0..one_in.max(1)) == 0 {
        counts.spoilt.fetch_add(1, Ordering::SeqCst);
        let place = random.random_range(0..piece.len());
        piece[place] ^= 1 << random.random_range(0..8);
    }
}
