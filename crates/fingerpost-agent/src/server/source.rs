//! The server of Fingerpost as a follower sees it.

use std::io;
use std::time::Duration;

use fingerpost_hashequiv_client::AskError;
use fingerpost_hashequiv_client::http::{self, HttpClient, ShardName, WantedChanges};
use fingerpost_signatures::UnixTime;
use fingerpost_snapshot::Digest;
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::following::{Changes, FollowError, Listed, Listing, Source, Wanted};

/// Longest wait for the head of an answer, beside what the server was asked to wait.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the next piece of a body.
const PIECE_MAX: Duration = Duration::from_secs(30);
/// A shard comes at 20 KiB/s at least.
const SHARD_BYTES_A_SECOND: u64 = 20 << 10;

/// Follows over HTTP.
pub(crate) struct HttpSource(pub(crate) HttpClient);

#[derive(Deserialize)]
struct Told {
    snapshots: Vec<ToldSnapshot>,
    /// Servers from before 2026-12 do not tell.
    #[serde(default)]
    fallbacks: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ToldSnapshot {
    name: String,
    position: u64,
    created: String,
}

impl Source for HttpSource {
    async fn snapshots(&self) -> Result<Listing, FollowError> {
        let told = self.0.snapshots(soon()).await.map_err(failed)?;
        let told: Told = serde_json::from_slice(&told).map_err(senseless)?;
        let listed: Result<Vec<_>, _> = told.snapshots.into_iter().map(listed).collect();
        Ok(Listing {
            snapshots: listed?,
            fallbacks: told.fallbacks,
        })
    }

    async fn manifest(&self, name: &str) -> Result<Vec<u8>, FollowError> {
        let manifest = self.0.manifest(name, soon() + PIECE_MAX).await;
        let gone = || FollowError::Failed(format!("there is no snapshot {name} any more"));
        manifest.map_err(failed)?.ok_or_else(gone)
    }

    async fn signature(&self, name: &str) -> Result<Option<Vec<u8>>, FollowError> {
        self.0
            .manifest_signature(name, soon())
            .await
            .map_err(failed)
    }

    async fn shard(
        &self,
        name: &str,
        digest: &Digest,
        bytes: u64,
        mut into: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), FollowError> {
        let shard = ShardName {
            snapshot: name,
            sha256: &digest.to_string(),
        };
        let by = soon() + Duration::from_secs(bytes / SHARD_BYTES_A_SECOND);
        let written = self.0.shard(shard, bytes, &mut into, by).await;
        written.map(drop).map_err(failed)
    }

    async fn changes(&self, wanted: Wanted) -> Result<Changes, FollowError> {
        let asked = WantedChanges {
            since: wanted.since,
            deletions_only: wanted.deletions_only,
            limit: Some(wanted.limit as u64),
            wait: wanted.wait,
        };
        // A server may be waited for longer than it is asked to wait.
        let by = soon() + 3 * wanted.wait;
        let told = match self.0.changes(asked, by).await.map_err(failed)? {
            http::Changes::Gone(_) => return Err(FollowError::Gone),
            http::Changes::Told(told) => told,
        };
        let epoch = told.epoch().ok_or_else(|| {
            FollowError::Failed("the server does not tell its deletion epoch".to_owned())
        })?;
        let body = stream::unfold(Some(told), async |told| {
            let mut told = told?;
            match told.next(Instant::now() + PIECE_MAX).await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(told))),
                Ok(None) => None,
                Err(error) => Some((Err(io::Error::other(error)), None)),
            }
        });
        let body = body.boxed();
        Ok(Changes { epoch, body })
    }
}

fn listed(told: ToldSnapshot) -> Result<Listed, FollowError> {
    let created = UnixTime::parse_rfc3339(&told.created);
    Ok(Listed {
        name: told.name,
        position: told.position,
        created: created.ok_or_else(|| senseless("a snapshot was cut at no time"))?,
    })
}

fn soon() -> Instant {
    Instant::now() + HEAD_MAX
}

fn failed(error: AskError) -> FollowError {
    FollowError::Failed(error.to_string())
}

fn senseless(error: impl std::fmt::Display) -> FollowError {
    FollowError::Failed(error.to_string())
}
