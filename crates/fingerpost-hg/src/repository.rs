//! A repository that is served while hg writes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, SystemClock};
use parking_lot::{Mutex, RwLock};

use crate::generation::Memory;
use crate::inputs::{Inputs, OpenStore};
use crate::snapshot::{Snapshot, Terms};
use crate::{Generation, Limits, StoreError, StorePlace, Verified};

/// How often a snapshot is tried while the repository keeps changing.
const ATTEMPTS: u32 = 8;
/// How often it is tried over an error that a change under the reader would
/// explain. Usually nothing changes, and the error is there to stay.
const ATTEMPTS_WITH_ERROR: u32 = 4;

/// How a repository is to be served.
#[derive(Clone)]
pub struct RepositoryOptions {
    /// Whether what is served counts as published: every draft is announced as
    /// public. `phases.publish` of the repository's configuration. Default: true.
    pub publishing: bool,
    /// Whether nothing but public changesets is served: `server.view =
    /// immutable`. Default: false.
    pub public_only: bool,
    /// Whether `listkeys namespaces` names `obsolete`, as hg does where
    /// `experimental.evolution.exchange` is on. Markers are honoured whatever
    /// it is, and sent never. Default: false.
    pub marker_exchange: bool,
    /// The `.hg` directory that holds the store, where that was decided
    /// already. Default: the repository's own, or the one that the file
    /// `sharedpath` names.
    pub store: Option<StorePlace>,
    /// Goes into every [`Generation`]. Who keeps answers for longer than a
    /// process lives changes it when the repository may have been rewritten
    /// while nobody looked. Default: 0.
    pub epoch: u64,
    /// How much is read at once.
    pub limits: Limits,
    /// Tells how long ago files were written.
    pub clock: Arc<dyn Clock>,
    /// The process's memory of verified revisions.
    pub verified: Arc<Verified>,
}

impl Default for RepositoryOptions {
    fn default() -> Self {
        Self {
            publishing: true,
            public_only: false,
            marker_exchange: false,
            store: None,
            epoch: 0,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            verified: Arc::default(),
        }
    }
}

/// A repository on disk. hg may write it at any time; no lock is taken, and
/// nothing is written.
///
/// What a request sees is a [`Snapshot`]: one consistent state, for as long as
/// the request holds it. Everything here blocks.
///
/// # While hg writes
///
/// A transaction of hg appends file revisions, then manifests, then markers,
/// then replaces `phaseroots`, and only then makes changesets visible by
/// appending to the changelog; bookmarks follow. We read in the order that
/// makes each intermediate state harmless: the changelog first, then phases,
/// then markers, then bookmarks; and then look at changelog and phases again,
/// and start over if one of them is not what it was. So a changeset is never
/// seen without the phase root that makes it secret.
///
/// A file `journal` says that a transaction is running, or that a writer died
/// in one; we do not look at it. Whatever the changelog holds is whole by the
/// order above and is served, as hg itself would; should `hg recover` cut it
/// off, that is noticed as any strip is.
pub struct Repository {
    dot_hg: PathBuf,
    terms: Terms,
    options: RepositoryOptions,
    current: RwLock<Option<Arc<Snapshot>>>,
    /// What survives forgetting: enough to tell whether the history is the same.
    memory: Arc<Mutex<Memory>>,
    building: Mutex<()>,
}

impl Repository {
    /// Opens the repository whose `.hg` directory this is, and takes a first
    /// snapshot: the changelog's index and the small files of state are read,
    /// and no revision.
    ///
    /// # Errors
    ///
    /// Returns a requirement that is not supported, a file that breaks its
    /// format, or what the system said.
    pub fn open(dot_hg: &Path, options: RepositoryOptions) -> Result<Self, StoreError> {
        let memory = Memory::new(options.epoch);
        Self::open_again(dot_hg, options, Arc::new(Mutex::new(memory)))
    }

    /// Opens a repository of which something is remembered from before.
    pub(crate) fn open_again(
        dot_hg: &Path,
        options: RepositoryOptions,
        memory: Arc<Mutex<Memory>>,
    ) -> Result<Self, StoreError> {
        let repository = Self {
            dot_hg: dot_hg.to_owned(),
            terms: Terms {
                publishing: options.publishing,
                public_only: options.public_only,
                marker_exchange: options.marker_exchange,
            },
            memory,
            options,
            current: RwLock::new(None),
            building: Mutex::new(()),
        };
        repository.snapshot()?;
        Ok(repository)
    }

    /// The `.hg` directory.
    pub fn dot_hg(&self) -> &Path {
        &self.dot_hg
    }

    /// The repository as it is now. When nothing has changed this is the last
    /// snapshot again, for the price of a few `stat` calls.
    ///
    /// # Errors
    ///
    /// As [`Repository::open`]; also if the repository kept changing while it
    /// was read.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, StoreError> {
        if let Some(current) = self.current_if_it_holds() {
            return Ok(current);
        }
        let _building = self.building.lock();
        if let Some(current) = self.current_if_it_holds() {
            return Ok(current);
        }
        let mut last_error = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 1 {
                // A writer is at work; hg needs some milliseconds for its last steps.
                std::thread::sleep(Duration::from_millis(1 << attempt));
            }
            match self.build() {
                Ok(Some(snapshot)) => return Ok(snapshot),
                Ok(None) => last_error = None,
                Err(error) if error.may_be_stale() && attempt + 1 < ATTEMPTS_WITH_ERROR => {
                    last_error = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last_error.unwrap_or_else(|| StoreError::Changing {
            file: "00changelog.i".to_owned(),
        }))
    }

    /// Drops everything that can be read again: what a repository that nobody
    /// asks about holds in memory is a few hundred bytes then. Snapshots that
    /// are still held stay valid. Does nothing while a snapshot is made, which
    /// may take for ever on a file system that does not answer.
    pub fn forget_caches(&self) {
        let Some(_building) = self.building.try_lock() else {
            return;
        };
        let forgotten = self.current.write().take();
        if let Some(snapshot) = forgotten {
            self.memory.lock().keep(&snapshot);
        }
    }

    /// Says that a file of the store was found rewritten that the snapshots do
    /// not watch, such as a filelog with another inode: the generation changes,
    /// for content under old nodes may have.
    pub fn note_rewrite(&self) {
        let _building = self.building.lock();
        self.memory.lock().note_rewrite();
        let previous = self.current.write().take();
        if let Some(snapshot) = previous {
            self.memory.lock().keep(&snapshot);
        }
    }

    /// The last snapshot, if every file that it was made from is unchanged. A
    /// file that cannot be looked at is for the building to report.
    fn current_if_it_holds(&self) -> Option<Arc<Snapshot>> {
        let current = self.current.read().clone()?;
        let clock = &*self.options.clock;
        current.inputs().hold(clock).ok()?.then_some(current)
    }

    /// Reads what changed and makes a snapshot of it; `None` if the repository
    /// changed meanwhile.
    fn build(&self) -> Result<Option<Arc<Snapshot>>, StoreError> {
        let previous = self.current.read().clone();
        let clock = &*self.options.clock;
        let before = previous.as_deref().map(Snapshot::inputs);
        let open = match before {
            Some(before) if before.open.holds(clock)? => Arc::clone(&before.open),
            _ => {
                let (limits, verified) = (self.options.limits, &self.options.verified);
                let place = self.options.store.as_ref();
                let open = OpenStore::open(&self.dot_hg, place, limits, verified, clock)?;
                Arc::new(open)
            }
        };
        let inputs = Inputs::read(open, before, clock)?;
        if !inputs.are_consistent(clock)? {
            return Ok(None);
        }
        let generation = self.memory.lock().generation(before, &inputs);
        let shared = previous
            .as_ref()
            .map(|previous| Arc::clone(previous.shared()));
        let shared = shared.unwrap_or_default();
        let snapshot = Arc::new(Snapshot::new(inputs, self.terms, generation, shared)?);
        *self.current.write() = Some(Arc::clone(&snapshot));
        Ok(Some(snapshot))
    }

    /// The generation of the last snapshot, without looking at the disk.
    pub fn generation(&self) -> Option<Generation> {
        self.current.read().as_deref().map(Snapshot::generation)
    }
}

#[cfg(test)]
mod tests;
