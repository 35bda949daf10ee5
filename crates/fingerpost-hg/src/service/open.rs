//! The table of opened repositories.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use hashbrown::HashMap;

use super::MercurialOptions;
use crate::site::{DirectoryIdentity, RepositoryEntry, RepositoryId, ServerView};
use crate::{Repository, StorePlace};

/// Repositories that are open. Everything here is short: what takes time is
/// handed back as [`Left`], for after the lock.
#[derive(Default)]
pub(super) struct Open {
    repositories: HashMap<RepositoryId, Opened>,
    swept: Option<Timestamp>,
}

struct Opened {
    repository: Arc<Repository>,
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
pub(super) struct Left(Vec<Arc<Repository>>);

impl Left {
    /// Drops their caches.
    pub(super) fn forget(self) {
        for repository in self.0 {
            repository.forget_caches();
        }
    }
}

impl Open {
    pub(super) fn find(
        &mut self,
        entry: &RepositoryEntry,
        now: Timestamp,
    ) -> Option<Arc<Repository>> {
        let opened = self.repositories.get_mut(entry.id())?;
        let is_same = opened.identity == entry.identity() && opened.terms == terms(entry);
        if !is_same {
            return None;
        }
        opened.used = now;
        Some(Arc::clone(&opened.repository))
    }

    /// Takes in a repository, for the one that was not asked for the longest
    /// when there are too many.
    pub(super) fn insert(
        &mut self,
        entry: &RepositoryEntry,
        repository: Arc<Repository>,
        now: Timestamp,
        options: &MercurialOptions,
    ) -> Left {
        let opened = Opened {
            repository,
            identity: entry.identity(),
            terms: terms(entry),
            used: now,
        };
        let replaced = self.repositories.insert(entry.id().clone(), opened);
        let mut left: Vec<_> = replaced.into_iter().collect();
        while self.repositories.len() > options.repositories_max.max(1) {
            let others = self.repositories.iter().filter(|(id, _)| *id != entry.id());
            let oldest = others.min_by_key(|(_, opened)| opened.used);
            let Some((id, _)) = oldest else { break };
            let id = id.clone();
            left.extend(self.repositories.remove(&id));
        }
        Left(left.into_iter().map(|left| left.repository).collect())
    }

    /// Tells now and then which repositories were not asked for in a while.
    pub(super) fn sweep(&mut self, now: Timestamp, options: &MercurialOptions) -> Left {
        let idle_micros = options.idle.as_micros().try_into().unwrap_or(i64::MAX);
        let idle = |since: Timestamp| since <= now.minus_micros(idle_micros);
        if !self.swept.is_none_or(idle) {
            return Left::default();
        }
        self.swept = Some(now);
        let all = self.repositories.values();
        let idle = all.filter(|opened| idle(opened.used));
        Left(idle.map(|opened| Arc::clone(&opened.repository)).collect())
    }
}
