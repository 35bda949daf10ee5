//! Counters of one database handle.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_core::Histogram;

/// Counters and gauges, read at any time. `fingerpost-net` shows them on
/// `/metrics`; nothing here knows how.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Transactions committed by the writer.
    pub commits: AtomicU64,
    /// Transactions that were rolled back, or could not begin.
    pub commit_failures: AtomicU64,
    /// Foreground jobs answered with success.
    pub jobs: AtomicU64,
    /// Jobs answered with an error.
    pub job_failures: AtomicU64,
    /// Foreground groups committed.
    pub groups: AtomicU64,
    /// Sum of their sizes in jobs.
    pub group_jobs: AtomicU64,
    /// Their sizes in jobs.
    pub group_sizes: Histogram,
    /// Their times from the first job to the end of the commit, microseconds.
    pub group_micros: Histogram,
    /// Times that the commits themselves took, groups' and others', microseconds:
    /// mostly the drive's.
    pub commit_micros: Histogram,
    /// Background jobs committed.
    pub background_batches: AtomicU64,
    /// Jobs waiting for the writer now.
    pub write_queue_depth: AtomicU64,
    /// Jobs run by the readers.
    pub read_jobs: AtomicU64,
    /// Jobs waiting for a reader now.
    pub read_queue_depth: AtomicU64,
    /// Jobs refused because a queue stayed full.
    pub queue_timeouts: AtomicU64,
    /// Checkpoints run.
    pub checkpoints: AtomicU64,
    /// Checkpoints that failed (a full disk); they are tried again.
    pub checkpoint_failures: AtomicU64,
    /// Time spent in checkpoints, microseconds.
    pub checkpoint_micros: AtomicU64,
    /// Length of the write-ahead log in use, bytes.
    pub wal_bytes: AtomicU64,
    /// Polls for commits of other connections.
    pub polls: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Adds `more`.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
