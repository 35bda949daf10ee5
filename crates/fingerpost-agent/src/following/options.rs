//! What may be set about following, and how long things take.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fingerpost_signatures::KeyRing;
use rand::RngExt as _;

/// Changes in memory, some 80 bytes each.
pub(crate) const OVERLAY_MAX: usize = 500_000;

/// How a namespace is followed. [`FollowOptions::in_directory`] has the defaults.
#[derive(Clone)]
pub(crate) struct FollowOptions {
    /// Where snapshots lie, with a directory for each namespace.
    pub(crate) directory: PathBuf,
    /// The namespace, which the server must tell of. None: whichever it puts the agent into.
    pub(crate) namespace: Option<String>,
    /// Whether snapshots are fetched. Otherwise only deletions are heard of. On.
    pub(crate) snapshots: bool,
    /// Who must have signed a snapshot.
    pub(crate) publishers: Publishers,
    /// Whether what was added since the snapshot is answered, for which nobody vouches but the
    /// server. Otherwise it is asked for. On.
    pub(crate) believes_changes: bool,
    /// A larger snapshot is not fetched. 4 GiB.
    pub(crate) snapshot_bytes_max: u64,
    /// Changes that are kept since the snapshot. Further additions are let go, and what is in neither is
    /// asked for. 500,000.
    pub(crate) overlay_max: usize,
    /// Deletions and kept additions together. With more the snapshot is dropped. 1,000,000.
    pub(crate) overlay_and_deletions_max: usize,
    /// How long a snapshot answers without the server. 24 h.
    pub(crate) max_offline_age: Duration,
    /// How much newer a snapshot must be to be fetched while the other one will do. An hour.
    pub(crate) newer_by: Duration,
    /// When things are done.
    pub(crate) pace: Pace,
    /// Free bytes of the file system that a directory is on.
    pub(crate) free_bytes: fn(&Path) -> io::Result<u64>,
}

/// Who must have signed a snapshot, for now; nobody in particular: whoever made it is believed.
/// Clones are the same ones.
#[derive(Clone, Default)]
pub(crate) struct Publishers(Arc<ArcSwapOption<KeyRing>>);

impl Publishers {
    pub(crate) fn new(ring: Option<KeyRing>) -> Self {
        Self(Arc::new(ArcSwapOption::from_pointee(ring)))
    }

    pub(super) fn set(&self, ring: Option<KeyRing>) {
        self.0.store(ring.map(Arc::new));
    }

    pub(super) fn now(&self) -> Option<Arc<KeyRing>> {
        self.0.load_full()
    }
}

/// When things are done. Pauses are varied by chance, so that hosts do not come together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How often it is looked for a newer snapshot. 5 min.
    pub(crate) look_every: Duration,
    /// How long the server is to wait for a change. 4 s: what it answered is as old as the request, and must
    /// be no older than 10 s when the next answer comes.
    pub(crate) wait: Duration,
    /// The least time from one request for changes to the next one. 1 s.
    pub(crate) poll_every: Duration,
    /// The first and the longest pause after a failed request for changes. 1 s and 10 s.
    pub(crate) retry: (Duration, Duration),
    /// The first pause before a snapshot is tried again; the longest one is `look_every`. 10 s.
    pub(crate) fetch_again: Duration,
    /// How often it is noted on disk where the follower is. 60 s.
    pub(crate) save_every: Duration,
}

impl FollowOptions {
    /// The defaults, with snapshots in `directory`.
    pub(crate) fn in_directory(directory: PathBuf) -> Self {
        Self {
            directory,
            namespace: None,
            snapshots: true,
            publishers: Publishers::default(),
            believes_changes: true,
            snapshot_bytes_max: 4 << 30,
            overlay_max: OVERLAY_MAX,
            overlay_and_deletions_max: 2 * OVERLAY_MAX,
            max_offline_age: Duration::from_secs(24 * 3600),
            newer_by: Duration::from_secs(3600),
            pace: Pace::default(),
            free_bytes,
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(300),
            wait: Duration::from_secs(4),
            poll_every: Duration::from_secs(1),
            retry: (Duration::from_secs(1), Duration::from_secs(10)),
            fetch_again: Duration::from_secs(10),
            save_every: Duration::from_secs(60),
        }
    }
}

/// A time that is up to a fifth longer or shorter.
pub(super) fn about(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.8..1.2))
}

/// A pause that doubles with each failure before.
pub(super) fn growing(first: Duration, failures: u32, longest: Duration) -> Duration {
    let pause = first.saturating_mul(1 << failures.min(16));
    about(pause.min(longest))
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
