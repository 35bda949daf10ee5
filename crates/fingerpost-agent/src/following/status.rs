//! How following is.

use std::time::Duration;

use fingerpost_signatures::UnixTime;

use crate::state::DeletionEpoch;

/// How following is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowStatus {
    /// The snapshot that answers.
    pub(crate) snapshot: Option<SnapshotStatus>,
    /// Up to where changes were read.
    pub(crate) position: Option<u64>,
    /// Up to which deletion everything was heard of.
    pub(crate) epoch: Option<DeletionEpoch>,
    /// How long ago the server told everything that it had.
    pub(crate) current: Option<Duration>,
    /// Changes in memory.
    pub(crate) changes: usize,
    /// Whether what is not known here is known not to be.
    pub(crate) knows_all: bool,
    /// Snapshots that were fetched.
    pub(crate) fetched: u64,
    /// Snapshots that nobody signed who is trusted.
    pub(crate) untrusted: u64,
    /// Times that a snapshot could not be fetched for another reason, or was damaged.
    pub(crate) failures: u64,
    /// What went wrong last, unless it went well since.
    pub(crate) trouble: Option<String>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotStatus {
    /// Its name at the server.
    pub(crate) name: String,
    /// Rows.
    pub(crate) rows: u64,
    /// Bytes of its shards.
    pub(crate) bytes: u64,
    /// When it was cut.
    pub(crate) created: UnixTime,
    /// The last position that is in it.
    pub(crate) position: u64,
}
