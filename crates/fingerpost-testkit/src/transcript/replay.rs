//! Replaying a transcript against real servers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::compare::{Tokens, compare, fill_in};
use super::{Change, Expectation, Payload, Setup, Step, Transcript};
use crate::connection::{Connection, Lines, Messages, Received, Transport};
use crate::farm::TestFarm;
use crate::server::{Server, ServerOptions, Stopped};

/// The longest time for one transcript.
const TRANSCRIPT_LIMIT: Duration = Duration::from_secs(90);
/// How long a connection that must stay silent is watched at the end.
const SILENCE: Duration = Duration::from_millis(50);

/// A transcript that did not replay, and why.
#[derive(Debug)]
pub struct Failed {
    /// The transcript's name.
    pub name: String,
    /// What was expected and what was found.
    pub reason: String,
}

/// How transcripts are replayed.
#[derive(Clone, Copy)]
pub struct Manner {
    /// May change a server's options, given the transcript's name.
    pub adjust: fn(&str, ServerOptions) -> ServerOptions,
    /// Transcripts that are replayed at the same time.
    pub at_once: usize,
    /// Bytes go out in small pieces instead of as they were recorded.
    pub in_pieces: bool,
}

/// Replays transcripts, each in a farm of its own that `farm` makes. Gives
/// those that failed.
pub async fn replay_all(
    transcripts: Vec<Transcript>,
    farm: impl Fn() -> Result<TestFarm>,
    manner: Manner,
) -> Result<Vec<Failed>> {
    let places = Arc::new(Semaphore::new(manner.at_once));
    let mut running = JoinSet::new();
    for transcript in transcripts {
        let place = Arc::clone(&places).acquire_owned().await?;
        let farm = farm()?;
        running.spawn(async move {
            let result = replay(&transcript, &farm, manner).await;
            drop(place);
            result.err().map(|error| Failed {
                name: transcript.name,
                reason: format!("{error:#}"),
            })
        });
    }
    let mut failed = Vec::new();
    while let Some(result) = running.join_next().await {
        failed.extend(result?);
    }
    failed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(failed)
}

/// Replays one transcript, within a limit of time.
async fn replay(transcript: &Transcript, farm: &TestFarm, manner: Manner) -> Result<()> {
    let replaying = async {
        let mut stage = Stage::set(transcript, farm, manner).await?;
        for (number, (step, expectation)) in transcript.steps.iter().enumerate() {
            stage
                .perform(step, expectation)
                .await
                .with_context(|| format!("step {number}"))?;
        }
        stage.stays_silent().await
    };
    timeout(TRANSCRIPT_LIMIT, replaying)
        .await
        .context("the transcript takes too long")?
}

/// The servers and connections of one transcript.
struct Stage {
    servers: BTreeMap<String, Server>,
    connections: HashMap<String, Connection>,
    tokens: Tokens,
    in_pieces: bool,
}

impl Stage {
    async fn set(transcript: &Transcript, farm: &TestFarm, manner: Manner) -> Result<Self> {
        let mut servers: BTreeMap<String, Server> = BTreeMap::new();
        let (upstreams, others): (Vec<_>, Vec<_>) = transcript
            .servers
            .iter()
            .partition(|(_, setup)| setup.upstream.is_none());
        for (name, setup) in upstreams.into_iter().chain(others) {
            let upstream = match &setup.upstream {
                Some(name) => Some(servers.get(name).context("no such upstream")?.address()),
                None => None,
            };
            let options = options(setup, farm, upstream)?;
            let options = (manner.adjust)(&transcript.name, options);
            servers.insert(name.clone(), options.start().await?);
        }
        Ok(Self {
            servers,
            connections: HashMap::new(),
            tokens: Tokens::new(),
            in_pieces: manner.in_pieces,
        })
    }

    async fn perform(&mut self, step: &Step, expectation: &Expectation) -> Result<()> {
        match step {
            Step::Send {
                connection,
                payload,
                half_close,
            } => {
                self.exchange(connection, payload, *half_close, expectation)
                    .await
            }
            Step::Close(connection) => {
                self.connections.remove(connection);
                Ok(())
            }
            Step::Restart { server, change } => self.restart(server, change).await,
            Step::Stop(name) => {
                let server = self.take(name)?;
                ensure!(server.stop().await?.status.success(), "a stop is a success");
                Ok(())
            }
            Step::Sleep(duration) => {
                sleep(*duration).await;
                Ok(())
            }
        }
    }

    /// Takes a server off the stage; its connections are of no use then.
    fn take(&mut self, name: &str) -> Result<Server> {
        self.connections
            .retain(|connection, _| server_of(connection) != name);
        self.servers.remove(name).context("no such server")
    }

    async fn restart(&mut self, name: &str, change: &Change) -> Result<()> {
        let server = self.take(name)?;
        let Stopped { mut options, .. } = server.stop().await?;
        if let Some((username, password)) = &change.admin {
            options = options.admin(username, password);
        }
        if change.read_only {
            options = options.read_only();
        }
        self.servers.insert(name.to_owned(), options.start().await?);
        Ok(())
    }

    async fn exchange(
        &mut self,
        name: &str,
        payload: &Payload,
        half_close: bool,
        expectation: &Expectation,
    ) -> Result<()> {
        if !self.connections.contains_key(name) {
            let server = self
                .servers
                .get(server_of(name))
                .context("no such server")?;
            self.connections
                .insert(name.to_owned(), server.connect().await?);
        }
        let connection = self.connections.get_mut(name).context("just opened")?;
        match (connection, payload) {
            (Connection::Lines(lines), Payload::Bytes(bytes)) => {
                let bytes = with_tokens(bytes, &self.tokens);
                send_bytes(lines, &bytes, self.in_pieces).await?;
                if half_close {
                    lines.half_close().await?;
                }
                check_lines(lines, expectation, &mut self.tokens).await?;
            }
            (Connection::Messages(socket), Payload::Messages(messages)) => {
                for message in messages {
                    socket.send(&fill_in(message, &self.tokens)).await?;
                }
                check_messages(socket, expectation, &mut self.tokens).await?;
            }
            _ => bail!("the payload does not fit the transport"),
        }
        if expectation.eof {
            self.connections.remove(name);
        }
        Ok(())
    }

    /// What was read line by line must have been all, and nobody hung up.
    async fn stays_silent(&mut self) -> Result<()> {
        for (name, connection) in &mut self.connections {
            connection
                .stays_silent(SILENCE)
                .await
                .with_context(|| format!("connection {name} at the end"))?;
        }
        Ok(())
    }
}

/// The server that a connection belongs to.
fn server_of(connection: &str) -> &str {
    connection
        .split_once(':')
        .map_or("main", |(server, _)| server)
}

fn options(setup: &Setup, farm: &TestFarm, upstream: Option<&str>) -> Result<ServerOptions> {
    let transport = match setup.transport.as_str() {
        "tcp" => Transport::Tcp,
        "unix" => Transport::Unix,
        "ws" => Transport::WebSocket,
        other => bail!("unknown transport {other}"),
    };
    let mut options = farm
        .server()
        .transport(transport)
        .anonymous(&setup.anon_perms);
    if setup.read_only {
        options = options.read_only();
    }
    if let Some((username, password)) = &setup.admin {
        options = options.admin(username, password);
    }
    if let Some(address) = upstream {
        options = options.upstream(address);
    }
    Ok(options)
}

fn with_tokens(bytes: &[u8], tokens: &Tokens) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => fill_in(text, tokens).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

/// A server that closes early may not take everything; what it answered is
/// checked all the same.
async fn send_bytes(lines: &mut Lines, bytes: &[u8], in_pieces: bool) -> Result<()> {
    if !in_pieces {
        return lines.send_in_vain(bytes).await;
    }
    // Uneven, so that borders fall everywhere; not too many for long input.
    let longest = 1 + bytes.len() / 40;
    let mut rest = bytes;
    for length in (1..=longest).cycle() {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        lines.send_in_vain(piece).await?;
        rest = after;
        if rest.is_empty() {
            break;
        }
        yield_now().await;
    }
    Ok(())
}

async fn check_lines(
    lines: &mut Lines,
    expectation: &Expectation,
    tokens: &mut Tokens,
) -> Result<()> {
    let Some(Payload::Bytes(expected)) = &expectation.payload else {
        return Ok(());
    };
    let expected = std::str::from_utf8(expected)?;
    let mut found = Vec::new();
    if expectation.eof {
        found = lines.rest().await?;
    } else {
        for number in 0..expected.matches('\n').count() {
            let line = lines.line().await?;
            let ended = line.last() != Some(&b'\n');
            found.extend_from_slice(&line);
            let so_far = String::from_utf8_lossy(&found);
            ensure!(!ended, "closed after {number} lines: {so_far:?}");
        }
    }
    let found = std::str::from_utf8(&found)?;
    ensure!(
        found.is_empty() || found.ends_with('\n'),
        "the last line has no end: {found:?}"
    );
    compare(
        &expected.lines().collect::<Vec<_>>(),
        &found.lines().collect::<Vec<_>>(),
        expectation.unordered,
        tokens,
    )
}

async fn check_messages(
    socket: &mut Messages,
    expectation: &Expectation,
    tokens: &mut Tokens,
) -> Result<()> {
    let Some(Payload::Messages(expected)) = &expectation.payload else {
        return Ok(());
    };
    let mut found = Vec::new();
    for number in 0..expected.len() {
        match socket.receive().await? {
            Received::Text(text) => found.push(text),
            Received::Closed(code) => bail!("closed ({code:?}) after {number} messages: {found:?}"),
        }
    }
    if expectation.eof {
        match socket.receive().await? {
            Received::Closed(code) => ensure!(
                code == expectation.close_code,
                "closed with {code:?} instead of {:?}",
                expectation.close_code
            ),
            Received::Text(text) => bail!("unexpected message {text:?}"),
        }
    }
    compare(
        &expected.iter().map(String::as_str).collect::<Vec<_>>(),
        &found.iter().map(String::as_str).collect::<Vec<_>>(),
        expectation.unordered,
        tokens,
    )
}
