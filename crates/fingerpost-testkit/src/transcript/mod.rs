//! Recorded sessions: their form, and replaying them against a real server.
//!
//! The file's form is described in `tests/fixtures/README.md`, beside the file.

mod compare;
mod replay;
mod transport;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

pub use self::replay::{Failed, Manner, replay_all};
pub use self::transport::Inexpressible;

/// A recorded session.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// Identifier.
    pub name: String,
    /// One sentence; for a difference from the reference, the reason.
    pub about: String,
    /// Servers to start on empty databases, by name. One is called `main`.
    pub servers: BTreeMap<String, Setup>,
    /// What is done, and what must come back.
    pub steps: Vec<(Step, Expectation)>,
}

/// How a server is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Setup {
    /// Permissions without a login.
    pub anon_perms: String,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// Name and password of the user made at the start.
    pub admin: Option<(String, String)>,
    /// Name of another server of the session.
    pub upstream: Option<String>,
    /// `tcp`, `unix` or `ws`.
    pub transport: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            anon_perms: "@read,@report,@db-admin".to_owned(),
            read_only: false,
            admin: None,
            upstream: None,
            transport: "tcp".to_owned(),
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends on a connection, which is opened at its first use. A connection
    /// `up:x` belongs to server `up`, a plain name to `main`.
    Send {
        /// The connection.
        connection: String,
        /// What is sent.
        payload: Payload,
        /// Whether the direction is closed afterwards.
        half_close: bool,
    },
    /// Closes a connection.
    Close(String),
    /// Stops a server and starts it again on its database.
    Restart {
        /// Its name.
        server: String,
        /// What changes.
        change: Change,
    },
    /// Stops a server.
    Stop(String),
    /// Waits.
    Sleep(Duration),
}

/// Options that change with a restart.
#[derive(Clone, Debug, Deserialize, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// Another name or password of the user made at the start.
    pub admin: Option<(String, String)>,
    /// From now on it refuses writes.
    pub read_only: bool,
}

/// What goes over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Websocket messages.
    Messages(Vec<String>),
}

/// What must come back after a step.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Expectation {
    /// Exactly this; `None`: nothing to check.
    pub payload: Option<Payload>,
    /// The server closes afterwards. Else it stays open.
    pub eof: bool,
    /// The code of a websocket's close.
    pub close_code: Option<u16>,
    /// Lists inside are compared as sets.
    pub unordered: bool,
}

impl Transcript {
    /// Reads a file of transcripts, one JSON object a line.
    pub fn read_all(text: &str) -> Result<Vec<Self>> {
        text.lines()
            .map(|line| {
                let raw: RawTranscript = serde_json::from_str(line)?;
                let name = raw.name.clone();
                raw.cooked().with_context(|| format!("transcript {name}"))
            })
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTranscript {
    name: String,
    about: String,
    setup: RawSetup,
    send: Vec<RawStep>,
    expect: Vec<RawExpectation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSetup {
    servers: BTreeMap<String, Setup>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawStep {
    conn: Option<String>,
    data: Option<Data>,
    messages: Option<Vec<Data>>,
    shutdown: bool,
    close: bool,
    restart: Option<String>,
    with: Change,
    stop: Option<String>,
    sleep: Option<f64>,
    /// A hint how long the answer may take to begin; we wait as long as it takes.
    #[serde(rename = "wait")]
    _wait: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawExpectation {
    data: Option<Data>,
    messages: Option<Vec<Data>>,
    eof: bool,
    close_code: Option<u16>,
    unordered: bool,
}

/// Text, or parts of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Repeat { repeat: String, times: usize },
    Hex { hex: String },
}

impl RawTranscript {
    fn cooked(self) -> Result<Transcript> {
        if self.send.len() != self.expect.len() {
            bail!("as many expectations as steps");
        }
        let steps = self
            .send
            .into_iter()
            .zip(self.expect)
            .map(|(step, expectation)| Ok((step.cooked()?, expectation.cooked()?)))
            .collect::<Result<_>>()?;
        Ok(Transcript {
            name: self.name,
            about: self.about,
            servers: self.setup.servers,
            steps,
        })
    }
}

impl RawStep {
    fn cooked(self) -> Result<Step> {
        if let Some(server) = self.restart {
            let change = self.with;
            return Ok(Step::Restart { server, change });
        }
        if let Some(server) = self.stop {
            return Ok(Step::Stop(server));
        }
        if let Some(seconds) = self.sleep {
            return Ok(Step::Sleep(Duration::from_secs_f64(seconds)));
        }
        let connection = self.conn.context("a step without a connection")?;
        if self.close {
            return Ok(Step::Close(connection));
        }
        Ok(Step::Send {
            connection,
            payload: payload(self.data, self.messages)?.context("nothing to send")?,
            half_close: self.shutdown,
        })
    }
}

impl RawExpectation {
    fn cooked(self) -> Result<Expectation> {
        Ok(Expectation {
            payload: payload(self.data, self.messages)?,
            eof: self.eof,
            close_code: self.close_code,
            unordered: self.unordered,
        })
    }
}

fn payload(data: Option<Data>, messages: Option<Vec<Data>>) -> Result<Option<Payload>> {
    Ok(match (data, messages) {
        (Some(data), None) => Some(Payload::Bytes(data.bytes()?)),
        (None, Some(messages)) => {
            let texts = messages
                .into_iter()
                .map(|message| Ok(String::from_utf8(message.bytes()?)?))
                .collect::<Result<_>>()?;
            Some(Payload::Messages(texts))
        }
        (None, None) => None,
        (Some(_), Some(_)) => bail!("data and messages"),
    })
}

impl Data {
    fn bytes(self) -> Result<Vec<u8>> {
        let parts = match self {
            Self::Text(text) => return Ok(text.into_bytes()),
            Self::Parts(parts) => parts,
        };
        let mut bytes = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => bytes.extend(text.into_bytes()),
                Part::Repeat { repeat, times } => bytes.extend(repeat.repeat(times).into_bytes()),
                Part::Hex { hex } => {
                    for pair in hex.as_bytes().chunks(2) {
                        bytes.push(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
                    }
                }
            }
        }
        Ok(bytes)
    }
}
