//! The files that a snapshot is made from.

use std::path::Path;
use std::sync::Arc;

use fingerpost_core::Clock;
use rustix::fs::{AtFlags, CWD};

use crate::changelog::Changelog;
use crate::obsstore_file::{ObsstoreContent, ObsstoreFile};
use crate::site::DirectoryIdentity;
use crate::state_file::{Content, StateFile, corrupt, stamp_of};
use crate::{
    Bookmarks, FileStamp, Limits, Obsstore, PhaseRoots, Store, StoreError, StorePlace, Verified,
};

/// The longest `phaseroots` or `bookmarks` file in bytes: a million lines.
const STATE_BYTES_MAX: u64 = 64 << 20;
/// The longest file of requirements, or that says what is shared, in bytes.
const SETUP_BYTES_MAX: u64 = 1 << 20;

/// An opened store, and the files that say that it is still the one to open.
#[derive(Debug)]
pub(crate) struct OpenStore {
    store: Arc<Store>,
    setup: Vec<(StateFile, Content)>,
    /// Which directory `store` is: its times change with every write, this when
    /// it is replaced.
    dir: DirectoryIdentity,
    phaseroots: StateFile,
    bookmarks: StateFile,
    obsstore: ObsstoreFile,
}

impl OpenStore {
    /// Opens the store of this `.hg` directory; `place` as in [`Store::open`].
    pub(crate) fn open(
        dot_hg: &Path,
        place: Option<&StorePlace>,
        limits: Limits,
        verified: &Arc<Verified>,
        clock: &dyn Clock,
    ) -> Result<Self, StoreError> {
        let setup_file = |dir: &Path, name: &str, shown: &'static str| {
            let file = StateFile::new(dir.join(name), shown, SETUP_BYTES_MAX);
            file.read(clock).map(|content| (file, content))
        };
        // Without this a repository that is gone would pass for a very old one.
        if !dot_hg.is_dir() {
            return Err(StoreError::Missing {
                file: dot_hg.display().to_string(),
            });
        }
        // Read before the store is opened by them, so that what changes in
        // between is noticed.
        let mut setup = vec![setup_file(dot_hg, "requires", "requires")?];
        let store = Store::open(dot_hg, place, limits, Arc::clone(verified))?;
        let source = store.source().to_owned();
        setup.push(setup_file(&source, "store/requires", "store/requires")?);
        let mut bookmarks = dot_hg.join("bookmarks");
        if store.requirements().is_shared() {
            setup.push(setup_file(dot_hg, "sharedpath", "sharedpath")?);
            let (file, shared) = setup_file(dot_hg, "shared", "shared")?;
            if shares_bookmarks(shared.bytes()) {
                bookmarks = source.join("bookmarks");
            }
            setup.push((file, shared));
        }
        if store.requirements().bookmarks_in_store() {
            bookmarks = source.join("store/bookmarks");
        }
        let dir = rustix::fs::fstat(store.dir()).map_err(dir_error)?;
        Ok(Self {
            setup,
            dir: FileStamp::of(&dir).identity(),
            phaseroots: StateFile::new(
                source.join("store/phaseroots"),
                "phaseroots",
                STATE_BYTES_MAX,
            ),
            bookmarks: StateFile::new(bookmarks, "bookmarks", STATE_BYTES_MAX),
            obsstore: ObsstoreFile::new(source.join("store/obsstore")),
            store: Arc::new(store),
        })
    }

    /// Whether opening it again would open the same.
    pub(crate) fn holds(&self, clock: &dyn Clock) -> Result<bool, StoreError> {
        for (file, content) in &self.setup {
            if !file.holds(content, clock)? {
                return Ok(false);
            }
        }
        let path = self.store.source().join("store");
        match rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileStamp::of(&stat).identity() == self.dir),
            Err(error) => Err(dir_error(error)),
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The stamp of a file of the store that only some transactions leave.
    pub(crate) fn stamp(&self, name: &'static str) -> Result<Option<FileStamp>, StoreError> {
        stamp_of(&self.store.source().join("store").join(name), name)
    }
}

/// Whether the file `shared` says that bookmarks are those of the source.
fn shares_bookmarks(shared: &[u8]) -> bool {
    let mut lines = shared.split(|byte| *byte == b'\n');
    lines.any(|line| line.trim_ascii() == b"bookmarks")
}

fn dir_error(error: rustix::io::Errno) -> StoreError {
    StoreError::Io {
        file: "store".to_owned(),
        what: "cannot read its status",
        source: error.into(),
    }
}

/// Everything that a snapshot is made from, as it was read.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) open: Arc<OpenStore>,
    pub(crate) changelog: Arc<Changelog>,
    phaseroots: Arc<Content>,
    obsstore: Arc<ObsstoreContent>,
    bookmarks: Arc<Content>,
    /// hg leaves this file behind each transaction.
    pub(crate) undo: Option<FileStamp>,
}

impl Inputs {
    /// Reads what changed since `before`, in the order of which
    /// [`crate::Repository`] says why.
    pub(crate) fn read(
        open: Arc<OpenStore>,
        before: Option<&Self>,
        clock: &dyn Clock,
    ) -> Result<Self, StoreError> {
        let before = before.filter(|before| Arc::ptr_eq(&before.open, &open));
        let undo = open.stamp("undo")?;
        let changelog = match before {
            None => Arc::new(Changelog::open(&open.store, clock)?),
            Some(before) => match before.changelog.refreshed(&open.store, clock)? {
                None => Arc::clone(&before.changelog),
                Some(changed) => Arc::new(changed),
            },
        };
        let small = |file: &StateFile, before: Option<&Arc<Content>>| match before {
            Some(before) if file.holds(before, clock)? => Ok(Arc::clone(before)),
            _ => file.read(clock).map(Arc::new),
        };
        let phaseroots = small(&open.phaseroots, before.map(|before| &before.phaseroots))?;
        let obsstore = match before {
            Some(before) if open.obsstore.holds(&before.obsstore, clock)? => {
                Arc::clone(&before.obsstore)
            }
            _ => {
                let before = before.map(|before| &*before.obsstore);
                Arc::new(open.obsstore.read(before, clock)?)
            }
        };
        let bookmarks = small(&open.bookmarks, before.map(|before| &before.bookmarks))?;
        Ok(Self {
            open,
            changelog,
            phaseroots,
            obsstore,
            bookmarks,
            undo,
        })
    }

    /// Whether what was read is of one state: the changelog still holds every
    /// changeset, and the phase roots are those that were read after it.
    pub(crate) fn are_consistent(&self, clock: &dyn Clock) -> Result<bool, StoreError> {
        Ok(self.open.holds(clock)?
            && self.changelog.holds(&self.open.store, clock)?
            && self.open.phaseroots.holds(&self.phaseroots, clock)?)
    }

    /// Whether reading everything again would read the same.
    pub(crate) fn hold(&self, clock: &dyn Clock) -> Result<bool, StoreError> {
        let open = &self.open;
        Ok(open.holds(clock)?
            && self.changelog.is_whole_file(&open.store, clock)?
            && open.phaseroots.holds(&self.phaseroots, clock)?
            && open.obsstore.holds(&self.obsstore, clock)?
            && open.bookmarks.holds(&self.bookmarks, clock)?
            && open.stamp("undo")? == self.undo)
    }

    /// Whether only the transaction counter differs from another reading.
    pub(crate) fn same_state(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.changelog, &other.changelog)
            && Arc::ptr_eq(&self.phaseroots, &other.phaseroots)
            && Arc::ptr_eq(&self.obsstore, &other.obsstore)
            && Arc::ptr_eq(&self.bookmarks, &other.bookmarks)
    }

    /// The phase roots.
    pub(crate) fn phase_roots(&self) -> Result<PhaseRoots, StoreError> {
        PhaseRoots::parse(self.phaseroots.bytes())
            .map_err(|error| corrupt(self.open.phaseroots.name(), error.to_string()))
    }

    /// The bytes of `phaseroots` and `bookmarks`, for the state token.
    pub(crate) fn state_bytes(&self) -> [&[u8]; 2] {
        [self.phaseroots.bytes(), self.bookmarks.bytes()]
    }

    /// The markers.
    pub(crate) fn markers(&self) -> &Obsstore {
        self.obsstore.markers()
    }

    /// The bookmarks as listed, on unknown changesets too.
    pub(crate) fn bookmarks(&self) -> Bookmarks {
        Bookmarks::parse(self.bookmarks.bytes())
    }
}
