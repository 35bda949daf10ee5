//! The table of opened repositories.

use std::sync::{Arc, OnceLock};

use fingerpost_core::Timestamp;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::MercurialOptions;
use crate::generation::Memory;
use crate::site::{DirectoryIdentity, RepositoryEntry, RepositoryId, ServerView};
use crate::{Repository, StoreError, StorePlace};

/// Repositories that are open. Everything here is short: what takes time is
/// handed back as [`Left`], for after the lock.
#[derive(Default)]
pub(super) struct Open {
    repositories: HashMap<RepositoryId, Opened>,
    memories: Memories,
    swept: Option<Timestamp>,
}

/// A place for one repository. Whoever comes first opens it there, and others
/// wait for that. A failure leaves it empty, and the next one tries again.
pub(super) struct Place {
    memory: Arc<Mutex<Memory>>,
    /// Whether what is remembered is of other directories.
    is_other: bool,
    repository: OnceLock<Arc<Repository>>,
    opening: Mutex<()>,
}

impl Place {
    pub(super) fn get_or_open(
        &self,
        open: impl FnOnce(Arc<Mutex<Memory>>) -> Result<Repository, StoreError>,
    ) -> Result<Arc<Repository>, StoreError> {
        if let Some(repository) = self.repository.get() {
            return Ok(Arc::clone(repository));
        }
        let _opening = self.opening.lock();
        if let Some(repository) = self.repository.get() {
            return Ok(Arc::clone(repository));
        }
        if self.is_other {
            self.memory.lock().note_rewrite();
        }
        let repository = Arc::new(open(Arc::clone(&self.memory))?);
        Ok(Arc::clone(self.repository.get_or_init(|| repository)))
    }
}

struct Opened {
    place: Arc<Place>,
    /// Another directory in the same place is another repository.
    identity: DirectoryIdentity,
    /// What it was opened with.
    terms: OpenTerms,
    used: Timestamp,
}

/// What a repository has to be opened again for when it changes: whether it
/// publishes, its view, and where its store is.
type OpenTerms = (bool, ServerView, StorePlace);

fn terms(entry: &RepositoryEntry) -> OpenTerms {
    let settings = entry.settings();
    (settings.publishing, settings.view, entry.store().clone())
}

/// Repositories that nobody asks about.
#[must_use]
#[derive(Default)]
pub(super) struct Left(Vec<Arc<Place>>);

impl Left {
    /// Drops their caches.
    pub(super) fn forget(self) {
        for repository in self.0.iter().filter_map(|place| place.repository.get()) {
            repository.forget_caches();
        }
    }
}

impl Open {
    /// The place of a repository, perhaps a new one instead of that of the
    /// repository that was not asked for the longest; and what is left.
    pub(super) fn place(
        &mut self,
        entry: &RepositoryEntry,
        now: Timestamp,
        options: &MercurialOptions,
    ) -> (Arc<Place>, Left) {
        let mut left = Vec::new();
        let place = match self.find(entry, now) {
            Some(place) => place,
            None => self.insert(entry, now, options, &mut left),
        };
        self.sweep(now, options, &mut left);
        (place, Left(left))
    }

    fn find(&mut self, entry: &RepositoryEntry, now: Timestamp) -> Option<Arc<Place>> {
        let opened = self.repositories.get_mut(entry.id())?;
        let is_same = opened.identity == entry.identity() && opened.terms == terms(entry);
        if !is_same {
            return None;
        }
        opened.used = now;
        Some(Arc::clone(&opened.place))
    }

    fn insert(
        &mut self,
        entry: &RepositoryEntry,
        now: Timestamp,
        options: &MercurialOptions,
        left: &mut Vec<Arc<Place>>,
    ) -> Arc<Place> {
        let (memory, is_other) = self.memories.of(entry, options.epoch);
        let place = Place {
            memory,
            is_other,
            repository: OnceLock::new(),
            opening: Mutex::default(),
        };
        let opened = Opened {
            place: Arc::new(place),
            identity: entry.identity(),
            terms: terms(entry),
            used: now,
        };
        let place = Arc::clone(&opened.place);
        let replaced = self.repositories.insert(entry.id().clone(), opened);
        left.extend(replaced.map(|replaced| replaced.place));
        while self.repositories.len() > options.repositories_max.max(1) {
            let all = self.repositories.iter();
            let others = all.filter(|(id, _)| *id != entry.id());
            let oldest = others.min_by_key(|(_, opened)| opened.used);
            let Some((id, _)) = oldest else { break };
            let id = id.clone();
            let evicted = self.repositories.remove(&id);
            left.extend(evicted.map(|evicted| evicted.place));
        }
        place
    }

    /// Looks now and then which repositories were not asked for in a while.
    fn sweep(&mut self, now: Timestamp, options: &MercurialOptions, left: &mut Vec<Arc<Place>>) {
        let idle_micros = options.idle.as_micros().try_into().unwrap_or(i64::MAX);
        let idle = |since: Timestamp| since <= now.minus_micros(idle_micros);
        if !self.swept.is_none_or(idle) {
            return;
        }
        self.swept = Some(now);
        let all = self.repositories.values();
        let idle = all.filter(|opened| idle(opened.used));
        left.extend(idle.map(|opened| Arc::clone(&opened.place)));
    }
}

/// What is remembered of every repository that was opened, also of those that
/// were closed: answers that somebody keeps are good for a [`crate::Generation`],
/// which therefore must not begin anew.
#[derive(Default)]
struct Memories {
    known: HashMap<RepositoryId, Known>,
    /// How often everything was forgotten.
    losses: u64,
}

struct Known {
    /// Which directories it is of.
    directories: (DirectoryIdentity, StorePlace),
    memory: Arc<Mutex<Memory>>,
}

impl Memories {
    /// The memory of a repository, and whether it was of other directories so
    /// far.
    fn of(&mut self, entry: &RepositoryEntry, epoch: u64) -> (Arc<Mutex<Memory>>, bool) {
        let directories = (entry.identity(), entry.store().clone());
        if let Some(known) = self.known.get_mut(entry.id()) {
            let is_other = known.directories != directories;
            known.directories = directories;
            return (Arc::clone(&known.memory), is_other);
        }
        if self.known.len() >= MEMORIES_MAX {
            self.known.clear();
            self.losses += 1;
        }
        let memory = Memory::after_losses(epoch, self.losses);
        let memory = Arc::new(Mutex::new(memory));
        let known = Known {
            directories,
            memory: Arc::clone(&memory),
        };
        self.known.insert(entry.id().clone(), known);
        (memory, false)
    }
}

/// Most repositories of which something is remembered: some megabytes.
const MEMORIES_MAX: usize = 16_384;
