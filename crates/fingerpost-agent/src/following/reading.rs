//! Changes as they come: read within limits of time and size.

use std::time::Duration;

use fingerpost_snapshot::{Change, ChangeError, ChangeReader, Since};
use futures_util::TryStreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::blocking;
use super::source::{Changes, FollowError, Source, Wanted};
use crate::state::DeletionEpoch;

/// Changes of an answer, at most: some 2 MiB of lines.
pub(super) const CHANGES_MAX: usize = 10_000;
/// Bytes of them, at most; what is behind is asked for again.
const BYTES_MAX: usize = 16 << 20;
/// How much longer than it is to wait the server may take to begin.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// And how long all of the rest may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// An answer that was read.
pub(super) struct Batch {
    pub(super) since: Since,
    pub(super) history: [u8; 16],
    /// In the order of their positions.
    pub(super) changes: Vec<Change>,
    /// Everything up to here was told.
    pub(super) position: u64,
    /// The deletion epoch there.
    pub(super) epoch: u64,
    /// Whether that is all that there was when it was asked for. If so, everything with an
    /// epoch up to `epoch` was told, and else maybe not: an epoch and what was deleted
    /// with it come in one step and are told in several lines, in whatever order.
    pub(super) is_all: bool,
    /// When it was asked for: it is as fresh as that.
    pub(super) asked: Instant,
}

/// Asks, and tells of the epoch that the answer begins with before it is read.
pub(super) async fn read<S: Source>(
    source: &S,
    wanted: Wanted,
    saw: impl FnOnce(DeletionEpoch),
) -> Result<Batch, FollowError> {
    let asked = Instant::now();
    let changes = timeout(wanted.wait + HEAD_PATIENCE, source.changes(wanted)).await;
    let changes = changes.map_err(|_| failed("no answer to a request for changes"))??;
    saw(changes.epoch);
    let history = changes.epoch.history;
    let bytes = collect(changes).await;
    let lines = blocking(move || parse(&bytes, wanted)).await;
    let lines = lines.map_err(|error| failed(&error.to_string()))??;
    Ok(Batch {
        since: lines.since,
        history,
        is_all: lines.has_end && lines.changes.len() < wanted.limit,
        changes: lines.changes,
        position: lines.position,
        epoch: lines.epoch,
        asked,
    })
}

/// What comes of a body before it is cut, too long or too late.
async fn collect(mut changes: Changes) -> Vec<u8> {
    let until = Instant::now() + BODY_PATIENCE;
    let mut bytes = Vec::new();
    while let Ok(Ok(Some(part))) = timeout_at(until, changes.body.try_next()).await {
        let room = BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&part[..part.len().min(room)]);
        if part.len() >= room {
            break;
        }
    }
    bytes
}

struct Lines {
    since: Since,
    changes: Vec<Change>,
    position: u64,
    epoch: u64,
    has_end: bool,
}

/// Whole lines of a stream, which may be cut behind the first change.
fn parse(bytes: &[u8], wanted: Wanted) -> Result<Lines, FollowError> {
    let (mut reader, since) = ChangeReader::new(bytes).map_err(|error| of(&error))?;
    if wanted.since.is_some_and(|wanted| wanted != since.position) {
        return Err(failed("the server tells changes since another position"));
    }
    let mut changes = Vec::new();
    let has_end = loop {
        match reader.next_change() {
            Ok(Some(change)) => changes.push(change),
            Ok(None) => break true,
            Err(ChangeError::Cut(_)) if !changes.is_empty() => break false,
            Err(error) => return Err(of(&error)),
        }
    };
    Ok(Lines {
        since,
        position: reader.position(),
        epoch: reader.epoch(),
        changes,
        has_end,
    })
}

fn of(error: &ChangeError) -> FollowError {
    FollowError::Failed(error.to_string())
}

fn failed(why: &str) -> FollowError {
    FollowError::Failed(why.to_owned())
}
