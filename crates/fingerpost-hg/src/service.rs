//! The service: opened repositories, and the view of one that a request works on.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, Dependency, Field, Service};
use fingerpost_hg_proto::Args;
use parking_lot::Mutex;

use self::open::Open;
use crate::commands::encode_canonical;
use crate::generation::Memory;
use crate::pushkey::PushkeyProgram;
use crate::revisions::Reader;
use crate::site::{RepositoryEntry, ServerView};
use crate::{
    Limits, Repository, RepositoryOptions, RequirementsError, Snapshot, StoreError, Verified,
};

mod open;

/// What the service is given.
#[derive(Clone, Debug)]
pub struct MercurialOptions {
    /// Limits of reading a store.
    pub limits: Limits,
    /// The most bytes that the plan of one answer may take. 64 MiB.
    pub request_bytes_max: usize,
    /// The most bytes for remembering which revisions were verified. 64 MiB.
    pub verified_bytes_max: usize,
    /// The most repositories that are kept open. 1,000.
    pub repositories_max: usize,
    /// An open repository that was not asked for this long keeps no caches.
    /// 10 minutes.
    pub idle: Duration,
    /// Told to clients: the most changesets of one `filesdata`. 50,000.
    pub files_batch: u64,
    /// Told to clients: the most nodes of one `manifestdata`. 100,000.
    pub manifests_batch: u64,
    /// Goes into the [`crate::Generation`] of every repository. Who keeps
    /// answers for longer than the process lives takes a number that was never
    /// used when a repository may have been rewritten (by `hg censor`, a strip,
    /// or another one in its place) while no process looked. 0.
    pub epoch: u64,
    /// What carries `pushkey` out; without it there is no such command.
    pub pushkey: Option<PushkeyProgram>,
}

impl Default for MercurialOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            request_bytes_max: 64 << 20,
            verified_bytes_max: 64 << 20,
            repositories_max: 1000,
            idle: Duration::from_secs(600),
            files_batch: 50_000,
            manifests_batch: 100_000,
            epoch: 0,
            pushkey: None,
        }
    }
}

/// Mercurial repositories, opened when they are first asked for.
pub struct Mercurial {
    options: MercurialOptions,
    clock: Arc<dyn Clock>,
    verified: Arc<Verified>,
    opened: Mutex<Open>,
}

impl Mercurial {
    /// A service without any repository open.
    pub fn new(options: MercurialOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            verified: Arc::new(Verified::new(options.verified_bytes_max)),
            options,
            clock,
            opened: Mutex::default(),
        }
    }

    /// What the service was given.
    pub const fn options(&self) -> &MercurialOptions {
        &self.options
    }

    /// The view of a repository as it is now. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// Fails if the repository cannot be opened or read; the error names the
    /// file.
    pub fn view(
        self: &Arc<Self>,
        entry: &Arc<RepositoryEntry>,
    ) -> Result<Arc<RepositoryView>, StoreError> {
        let repository = self.repository(entry)?;
        let snapshot = repository.snapshot()?;
        // No client of v2 can read them, and the commands know flat ones alone.
        if snapshot.store().requirements().treemanifest() {
            let refused = RequirementsError::Refused {
                file: "requires".to_owned(),
                name: "treemanifest".to_owned(),
                why: "no client of protocol v2 can read tree manifests",
            };
            return Err(refused.into());
        }
        Ok(Arc::new(RepositoryView {
            mercurial: Arc::clone(self),
            entry: Arc::clone(entry),
            snapshot,
        }))
    }

    fn repository(&self, entry: &RepositoryEntry) -> Result<Arc<Repository>, StoreError> {
        let now = self.clock.now();
        let (place, left) = self.opened.lock().place(entry, now, &self.options);
        // What follows takes time, and is for the callers of one repository.
        left.forget();
        place.get_or_open(|memory| self.open(entry, memory))
    }

    fn open(
        &self,
        entry: &RepositoryEntry,
        memory: Arc<Mutex<Memory>>,
    ) -> Result<Repository, StoreError> {
        let options = RepositoryOptions {
            publishing: entry.settings().publishing,
            public_only: entry.settings().view == ServerView::Immutable,
            // What is there by now, or what `sharedpath` says, nobody has looked at.
            store: Some(entry.store().clone()),
            limits: self.options.limits,
            verified: Arc::clone(&self.verified),
            clock: Arc::clone(&self.clock),
            ..RepositoryOptions::default()
        };
        Repository::open_again(entry.dot_hg(), options, memory)
    }
}

/// What the commands of one request work on: a repository at one moment, as
/// its callers may see it.
pub struct RepositoryView {
    mercurial: Arc<Mercurial>,
    entry: Arc<RepositoryEntry>,
    snapshot: Arc<Snapshot>,
}

impl RepositoryView {
    /// The repository's name and settings.
    pub fn entry(&self) -> &Arc<RepositoryEntry> {
        &self.entry
    }

    /// The state that the whole request sees.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What the service was given.
    pub fn options(&self) -> &MercurialOptions {
        &self.mercurial.options
    }

    /// Whether raw store files may be asked for: the repository allows it, and
    /// has nothing in it that is not served.
    pub fn serves_raw_files(&self) -> bool {
        self.entry.settings().raw_store_files && !self.snapshot.has_unserved()
    }

    /// Checks that the changesets of the snapshot are still those of the store.
    /// Link revisions are numbers of changesets, and those of a revlog that was
    /// opened after a strip may mean secret ones that this snapshot does not
    /// know. So who went by link revisions asks this before answering.
    pub(crate) fn check_not_stripped(&self) -> Result<(), StoreError> {
        let changelog = self.snapshot.changelog();
        match changelog.holds(self.snapshot.store(), &*self.mercurial.clock)? {
            true => Ok(()),
            false => Err(StoreError::Stripped {
                file: changelog.revlog().file().to_owned(),
            }),
        }
    }

    /// The view of the same repository as it is now, after something changed
    /// under this one.
    ///
    /// # Errors
    ///
    /// As [`Mercurial::view`].
    pub fn renewed(&self) -> Result<Arc<Self>, StoreError> {
        self.mercurial.view(&self.entry)
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.mercurial.options.request_bytes_max.min(TEXTS_BYTES))
    }
}

/// Recent texts help who walks a history along its deltas, which are mostly
/// against the last one or against one of another branch.
const TEXTS_BYTES: usize = 4 << 20;

impl Service for RepositoryView {
    type Wire = Args;

    fn dependency(&self, dependency: Dependency) -> Option<Vec<u8>> {
        match dependency {
            // By its configured name and never by its path or its first node:
            // forks and hosts share stores.
            Dependency::Incarnation => Some(self.entry.id().as_str().as_bytes().to_vec()),
            Dependency::State => Some(self.snapshot.state_token().0.to_vec()),
            Dependency::Generation => Some(self.snapshot.generation().0.to_vec()),
            // Whoever may read a repository sees the same of it.
            Dependency::Visibility => {
                let settings = self.entry.settings();
                Some(vec![u8::from(settings.view == ServerView::Immutable)])
            }
            Dependency::Namespace | Dependency::DeletionEpoch => None,
        }
    }

    fn encode_argument(args: &Args, fields: &[Field], out: &mut Vec<u8>) -> bool {
        encode_canonical(args, fields, out);
        true
    }
}

#[cfg(test)]
mod tests;
