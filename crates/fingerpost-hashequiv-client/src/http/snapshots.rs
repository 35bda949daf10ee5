//! Snapshots and their files.

use reqwest::header::{ACCEPT_ENCODING, LOCATION};
use reqwest::{Response, StatusCode, Url};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::ask::Ask;
use super::body::Coming;
use super::changes::broken;
use super::outside::may_follow;
use super::shared::Unanswered;
use super::{HttpClient, said};
use crate::AskError;

/// Bytes of a manifest, and of a list of snapshots, at most.
const MANIFEST_BYTES_MAX: usize = 8 << 20;
const SIGNATURE_BYTES_MAX: usize = 64 << 10;

/// The codes of problems that say that there is nothing.
const UNKNOWN: [&str; 2] = ["no-such-snapshot", "not-published"];

/// A shard, or side shard, of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardName<'a> {
    /// The snapshot's name.
    pub snapshot: &'a str,
    /// Digest of its bytes, 64 lower-case hex digits.
    pub sha256: &'a str,
}

impl HttpClient {
    /// Which snapshots there are, as JSON: `{"snapshots": [...]}`, the newest first.
    pub async fn snapshots(&self, give_up: Instant) -> Result<Vec<u8>, AskError> {
        let mut ask = Ask::get(&["snapshots"]);
        ask.answer_bytes_max = MANIFEST_BYTES_MAX;
        Ok(self.0.ask_beside(&ask, give_up).await?.bytes)
    }

    /// The manifest of a snapshot, `latest` for the newest, byte for byte; `None` if there
    /// is no such snapshot.
    pub async fn manifest(
        &self,
        snapshot: &str,
        give_up: Instant,
    ) -> Result<Option<Vec<u8>>, AskError> {
        let mut ask = Ask::get(&["snapshots", snapshot, "manifest.json"]);
        ask.answer_bytes_max = MANIFEST_BYTES_MAX;
        self.file(&ask, give_up).await
    }

    /// The signature of a manifest, byte for byte; `None` if nobody signed it.
    pub async fn manifest_signature(
        &self,
        snapshot: &str,
        give_up: Instant,
    ) -> Result<Option<Vec<u8>>, AskError> {
        let mut ask = Ask::get(&["snapshots", snapshot, "manifest.sig"]);
        ask.accept = "text/plain";
        ask.answer_bytes_max = SIGNATURE_BYTES_MAX;
        self.file(&ask, give_up).await
    }

    async fn file(&self, ask: &Ask, give_up: Instant) -> Result<Option<Vec<u8>>, AskError> {
        match self.0.ask_beside(ask, give_up).await {
            Ok(answer) => Ok(Some(answer.bytes)),
            Err(Unanswered::Refused(refusal))
                if refusal.status == StatusCode::NOT_FOUND && UNKNOWN.contains(&&*refusal.code) =>
            {
                Ok(None)
            }
            Err(unanswered) => Err(unanswered.into()),
        }
    }

    /// Writes the bytes of a shard, from the server or from where it says that they lie,
    /// to whom nothing is shown. Gives how many there were. Whether they are the right
    /// ones is for the caller to see; after an error some may have been written.
    pub async fn shard<W: AsyncWrite + Unpin + Send>(
        &self,
        shard: ShardName<'_>,
        bytes_max: u64,
        into: &mut W,
        give_up: Instant,
    ) -> Result<u64, AskError> {
        let ShardName { snapshot, sha256 } = shard;
        let mut ask = Ask::get(&["snapshots", snapshot, "shards", sha256]);
        ask.accept = "application/octet-stream";
        ask.may_be_elsewhere = true;
        let (_, response) = self.0.begin(&ask, give_up).await?;
        let writing = async {
            let response = match response.status().is_redirection() {
                true => self.elsewhere(&response).await?,
                false => response,
            };
            write(response, bytes_max, into).await
        };
        let written = timeout_at(give_up, writing).await;
        written.map_err(|_| AskError::late())?
    }

    /// What lies where a response sends us.
    async fn elsewhere(&self, response: &Response) -> Result<Response, AskError> {
        let place = place(response).map_err(AskError::senseless)?;
        let client = self.0.means.outside.client(&place).await;
        let client = client.map_err(AskError::senseless)?;
        // What was compressed on its way would not be what was published.
        let asked = client.get(place).header(ACCEPT_ENCODING, "identity");
        let found = asked.send().await;
        let found = found.map_err(|error| AskError::senseless(said(error)))?;
        match found.status() {
            StatusCode::OK => Ok(found),
            status => Err(AskError::senseless(format!(
                "the place of a shard answers {status}"
            ))),
        }
    }
}

fn place(response: &Response) -> Result<Url, String> {
    let none = || "it redirects to no place".to_owned();
    let location = response.headers().get(LOCATION).ok_or_else(none)?;
    let location = location.to_str().map_err(|_| none())?;
    let place = response.url().join(location).map_err(|_| none())?;
    may_follow(Some(response.url()), &place)?;
    Ok(place)
}

async fn write<W: AsyncWrite + Unpin + Send>(
    response: Response,
    bytes_max: u64,
    into: &mut W,
) -> Result<u64, AskError> {
    let mut body = Coming::new(response).map_err(broken)?;
    let failed = |error: std::io::Error| AskError::senseless(format!("cannot write: {error}"));
    let mut written = 0;
    while let Some(piece) = body.next().await.map_err(broken)? {
        written += piece.len() as u64;
        if written > bytes_max {
            let why = format!("the shard is longer than {bytes_max} bytes");
            return Err(AskError::senseless(why));
        }
        into.write_all(&piece).await.map_err(failed)?;
    }
    into.flush().await.map_err(failed)?;
    Ok(written)
}
