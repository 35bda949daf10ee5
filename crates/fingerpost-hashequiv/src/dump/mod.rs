//! The cache on disk: written now and then and at the end, read at the next start, so
//! that a restart does not send every look-up to the database.
//!
//! A remembered mapping may have been deleted since: by this process, by others on the
//! database, by a tool while nobody served. Why what is loaded is true all the same:
//!
//! 1. Every deletion is in the log of its namespace's changes, and has a position there,
//!    whoever deleted.
//! 2. Before the first entry is written the position *p* of each namespace is read, with
//!    its epoch, and then it is waited until the cache has forgotten what was deleted up
//!    to these epochs. An older answer cannot enter it any more (a `Fill` is refused
//!    then). So what is in the cache from there on was not deleted at or before *p*,
//!    and what is deleted later has a later position.
//! 3. Before an entry is believed a `Fill` is taken, and then the changes since *p* are
//!    read up to a position *q*. What was deleted between is left out. The rest is true
//!    at *q*, as if it had been looked up then, and from there on the rule of each
//!    look-up holds: who deletes after *q* makes the cache forget and the `Fill` void.
//!    Then another one is taken, and the changes since *q* are read.
//! 4. A position means something within one history of the database only. Another one,
//!    a position that is not known, or another epoch there: nothing is believed.
//!
//! **Fallbacks.** An entry is remembered under the namespace that was asked, wherever the
//! row lives. So a deletion in any namespace of its chain takes it out, and an addition
//! in one that comes before the last does too: it may stand before what was found
//! further along. A namespace that falls back to others than it did is left out. What a
//! tool put before a fallback's row *before* the dump was begun stays behind what was
//! remembered, as it did in the server that wrote the dump: what a fallback answered
//! stays the answer.
//!
//! **What is not told.** The log leaves out methods whose names are no snapshot's; so
//! does a dump. A database that may lose commits after a power cut may lose rows that
//! a dump has: whoever opens it so must write none.

mod follow;
mod format;
mod load;
mod metrics;
mod write;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_core::Clock;
use prometheus_client::registry::Registry;

pub use self::load::Loaded;
use self::metrics::Metrics;
pub use self::write::{NotWritten, Written};
use crate::cache::UnihashCache;
use crate::namespace::Chain;
use crate::store::{Store, StoreError};

/// Why a dump, or the rest of it, is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// Another version of the program wrote it.
    #[error("it has another version's format")]
    Version,
    /// The database is another one, or had another life when it was written.
    #[error("it is of another history of the database")]
    History,
    /// What was deleted since is not known any more.
    #[error("what was deleted since is not known any more")]
    Forgotten,
    /// More was changed since than is worth reading.
    #[error("too much was changed since")]
    TooMuch,
    /// The database failed.
    #[error("the changes since cannot be read: {0}")]
    Store(#[source] StoreError),
}

impl Unusable {
    /// The word for counters.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Io(_) => "unreadable",
            Self::Damaged(_) => "damaged",
            Self::Version => "version",
            Self::History => "history",
            Self::Forgotten => "forgotten",
            Self::TooMuch => "changes",
            Self::Store(_) => "database",
        }
    }
}

/// The look-up cache of a server and the file that it is dumped to.
pub struct CacheDump {
    path: PathBuf,
    cache: Arc<UnihashCache>,
    store: Arc<dyn Store>,
    /// One for each namespace, in the order of their numbers.
    chains: Vec<Chain>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    hurry: Arc<AtomicBool>,
    /// The cache's revision in the file.
    revision: AtomicU64,
}

impl CacheDump {
    pub(crate) fn new(
        path: PathBuf,
        cache: Arc<UnihashCache>,
        store: Arc<dyn Store>,
        mut chains: Vec<Chain>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        chains.sort_by_key(Chain::own);
        Self {
            path,
            cache,
            store,
            chains,
            clock,
            metrics: Metrics::default(),
            hurry: Arc::default(),
            revision: AtomicU64::new(0),
        }
    }

    /// Adds every counter to `registry`, whose prefix is `fingerpost`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// From here on nothing rests between two steps: the server stops.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }
}

/// The rest after work, for those who have clients waiting.
fn rest(hurry: &AtomicBool, worked: Duration) -> Duration {
    match hurry.load(Ordering::Relaxed) {
        true => Duration::ZERO,
        false => (worked / 2).min(REST_MAX),
    }
}

const REST_MAX: Duration = Duration::from_millis(100);
