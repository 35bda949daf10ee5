//! A client that speaks the protocol, over any transport.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::connection::{Connection, Received};

/// Lines of this length and above are sent in pieces.
const PIECE_CHARACTERS: usize = 32 * 1024 - 1;

/// A connection behind its handshake. Requests are JSON values.
pub struct Session {
    connection: Connection,
}

impl Session {
    /// Connects and shakes hands.
    pub async fn open(address: &str) -> Result<Self> {
        let connection = Connection::open(address).await?;
        let mut session = Self { connection };
        for item in ["OEHASHEQUIV 1.1", "needs-headers: false", ""] {
            session.send_item(item).await?;
        }
        Ok(session)
    }

    /// The connection itself.
    pub fn into_connection(self) -> Connection {
        self.connection
    }

    /// Sends one item: a line, or a message.
    pub async fn send_item(&mut self, item: &str) -> Result<()> {
        match &mut self.connection {
            Connection::Lines(lines) => lines.send(format!("{item}\n").as_bytes()).await,
            Connection::Messages(messages) => messages.send(item).await,
        }
    }

    /// Receives one item; `None` when the server closed.
    pub async fn item(&mut self) -> Result<Option<String>> {
        match &mut self.connection {
            Connection::Lines(lines) => {
                let mut line = lines.line().await?;
                if line.pop() != Some(b'\n') {
                    ensure!(line.is_empty(), "the server closed inside a line");
                    return Ok(None);
                }
                Ok(Some(String::from_utf8(line)?))
            }
            Connection::Messages(messages) => Ok(match messages.receive().await? {
                Received::Text(text) => Some(text),
                Received::Closed(_) => None,
            }),
        }
    }

    /// Sends a request without waiting for its answer, in pieces if it is long.
    pub async fn send(&mut self, request: &Value) -> Result<()> {
        let text = request.to_string();
        let in_one = matches!(self.connection, Connection::Messages(_));
        if in_one || text.len() < PIECE_CHARACTERS {
            return self.send_item(&text).await;
        }
        let mut out = String::from("{\"chunk-stream\": null}\n");
        for (position, character) in text.chars().enumerate() {
            if position > 0 && position % PIECE_CHARACTERS == 0 {
                out.push('\n');
            }
            out.push(character);
        }
        out.push('\n');
        self.send_item(&out).await
    }

    /// Receives one answer, joined if it came in pieces; `None` when the
    /// server closed.
    pub async fn answer(&mut self) -> Result<Option<Value>> {
        let Some(item) = self.item().await? else {
            return Ok(None);
        };
        let value: Value = serde_json::from_str(&item).with_context(|| item.clone())?;
        if value.get("chunk-stream").is_none() {
            return Ok(Some(value));
        }
        let mut joined = String::new();
        loop {
            match self.item().await?.as_deref() {
                Some("") => return Ok(Some(serde_json::from_str(&joined)?)),
                Some(piece) => joined.push_str(piece),
                None => bail!("the server closed inside pieces"),
            }
        }
    }

    /// Asks and waits; the server must answer.
    pub async fn ask(&mut self, request: Value) -> Result<Value> {
        self.send(&request).await?;
        self.answer()
            .await?
            .with_context(|| format!("the server closed instead of answering {request}"))
    }

    /// Logs in.
    pub async fn login(&mut self, username: &str, token: &str) -> Result<Value> {
        let answer = self
            .ask(json!({"auth": {"username": username, "token": token}}))
            .await?;
        ensure!(answer["result"] == json!(true), "not logged in: {answer}");
        Ok(answer)
    }

    /// Reports a task and gives the unihash of the answer.
    pub async fn report(&mut self, report: &Report) -> Result<String> {
        let answer = self.ask(report.request()).await?;
        let unihash = answer["unihash"].as_str();
        Ok(unihash.with_context(|| answer.to_string())?.to_owned())
    }

    /// Looks a unihash up; `None` when it is unknown.
    pub async fn unihash(&mut self, method: &str, taskhash: &str) -> Result<Option<String>> {
        let answer = self
            .ask(json!({"get": {"method": method, "taskhash": taskhash}}))
            .await?;
        Ok(answer["unihash"].as_str().map(str::to_owned))
    }

    /// Enters a stream, `get-stream` or another.
    pub async fn enter(&mut self, stream: &str) -> Result<()> {
        let answer = self.ask(json!({ stream: null })).await?;
        ensure!(answer == json!("ok"), "{stream} was not entered: {answer}");
        Ok(())
    }

    /// Sends one line of a stream and waits for its answer.
    pub async fn line(&mut self, line: &str) -> Result<String> {
        self.send_item(line).await?;
        self.item()
            .await?
            .with_context(|| format!("the server closed instead of answering {line}"))
    }

    /// Leaves a stream.
    pub async fn leave(&mut self) -> Result<()> {
        let answer = self.line("END").await?;
        ensure!(answer == "ok", "the stream was not left: {answer}");
        Ok(())
    }
}

/// A report, made from numbers: equal numbers give equal hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The method's name.
    pub method: String,
    /// 64 lower-case hex digits.
    pub taskhash: String,
    /// 64 lower-case hex digits.
    pub outhash: String,
    /// 64 lower-case hex digits.
    pub unihash: String,
    /// The listing behind the outhash.
    pub siginfo: Option<String>,
}

impl Report {
    /// Task `task` produced `output` and proposes its own taskhash, as a first
    /// build does.
    pub fn new(task: u64, output: u64) -> Self {
        Self {
            method: "TestMethod".to_owned(),
            taskhash: hash(1, task),
            outhash: hash(2, output),
            unihash: hash(1, task),
            siginfo: None,
        }
    }

    /// With a listing.
    #[must_use]
    pub fn with_siginfo(mut self, siginfo: impl Into<String>) -> Self {
        self.siginfo = Some(siginfo.into());
        self
    }

    /// The request.
    pub fn request(&self) -> Value {
        let mut fields = json!({
            "method": self.method,
            "taskhash": self.taskhash,
            "outhash": self.outhash,
            "unihash": self.unihash,
        });
        if let Some(siginfo) = &self.siginfo {
            fields["outhash_siginfo"] = json!(siginfo);
        }
        json!({ "report": fields })
    }
}

/// A hash that tells where it came from: 64 lower-case hex digits.
pub fn hash(kind: u8, number: u64) -> String {
    // Spread, so that no test depends on hashes being near each other.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{kind:02x}{spread:016x}{number:046x}")
}
