//! A snapshot that answers together with what changed since.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fingerpost_signatures::KeyRing;
use fingerpost_snapshot::{
    Digest, Directory, Files, Hash, Manifest, ReadAt, Residence, Snapshot, SnapshotError, verify,
};
use parking_lot::Mutex;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::overlay::Overlay;
use super::place::Place;

/// A snapshot on this host.
pub(super) struct Opened {
    snapshot: Snapshot,
    /// Its name at the server.
    pub(super) name: String,
    /// Where it was put.
    path: PathBuf,
    /// Where it is once it was taken out of the way.
    retired: Mutex<Option<PathBuf>>,
    /// Whether a file was not what the manifest says when it was read.
    damaged: AtomicBool,
}

impl Opened {
    /// Opens a snapshot. Its shards are looked at when they are asked.
    pub(super) fn open(
        path: &Path,
        name: &str,
        publishers: Option<&KeyRing>,
    ) -> Result<Self, SnapshotError> {
        let manifest = manifest(path, publishers)?;
        let shards = path.join("shards");
        let files = Shards::open(&shards).map_err(|source| SnapshotError::Io {
            what: shards.display().to_string(),
            source,
        })?;
        Ok(Self {
            snapshot: Snapshot::new(manifest, Box::new(files), Residence::File),
            name: name.to_owned(),
            path: path.to_owned(),
            retired: Mutex::default(),
            damaged: AtomicBool::new(false),
        })
    }

    pub(super) const fn manifest(&self) -> &Manifest {
        self.snapshot.manifest()
    }

    /// Takes it out of the way of another one of its name, and says where it is from then on. Who
    /// reads it goes on.
    pub(super) fn retire(&self, place: &Place) -> io::Result<PathBuf> {
        let mut retired = self.retired.lock();
        if let Some(path) = &*retired {
            return Ok(path.clone());
        }
        let path = place.retire(&self.path)?;
        *retired = Some(path.clone());
        Ok(path)
    }

    /// Looks again at who signed it. If that is nobody who is believed it answers nothing any
    /// more. Reads files.
    pub(super) fn judge_again(&self, publishers: Option<&KeyRing>) {
        let path = self.retired.lock().clone();
        let path = path.as_ref().unwrap_or(&self.path);
        if let Err(error) = manifest(path, publishers)
            && !self.damaged.swap(true, Ordering::Relaxed)
        {
            let snapshot = &*self.name;
            tracing::warn!(%error, snapshot, "a snapshot is not believed any more");
        }
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The unihash of a task. After an error it is damaged for good.
    pub(super) fn lookup(
        &self,
        method: &str,
        taskhash: &Hash,
    ) -> Result<Option<Hash>, SnapshotError> {
        let found = self.snapshot.lookup(method, taskhash);
        if let Err(error) = &found
            && !self.damaged.swap(true, Ordering::Relaxed)
        {
            let why = error as &dyn std::error::Error;
            let snapshot = &*self.name;
            tracing::warn!(
                snapshot,
                error = why,
                "a snapshot is damaged: it is fetched again"
            );
        }
        found
    }

    /// Bytes of its shards.
    pub(super) fn bytes(&self) -> u64 {
        self.manifest().shards().map(|(_, shard)| shard.bytes).sum()
    }
}

/// The manifest of a snapshot, signed by one of these if there are any.
fn manifest(path: &Path, publishers: Option<&KeyRing>) -> Result<Manifest, SnapshotError> {
    let directory = Directory::open(path);
    let bytes = directory.manifest()?;
    match publishers {
        Some(publishers) => Ok(verify(&bytes, &directory.signature()?, publishers)?.0),
        None => Manifest::parse(&bytes).map_err(SnapshotError::Manifest),
    }
}

/// The shards of a directory, which are found wherever it is moved to.
struct Shards(OwnedFd);

impl Shards {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }
}

impl Files for Shards {
    fn open(&self, name: &Digest) -> io::Result<Box<dyn ReadAt>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.0, name.to_string(), flags, Mode::empty())?;
        Ok(Box::new(File::from(file)))
    }
}

/// A snapshot and what changed since.
pub(super) struct View {
    pub(super) opened: Arc<Opened>,
    pub(super) overlay: Overlay,
    /// Whether the overlay has all that came since; if not, only what was deleted.
    pub(super) follows_additions: bool,
}

/// What a view says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Unihash(Hash),
    /// Its unihash, which came since the snapshot: the server alone says so.
    Changed(Hash),
    /// It has none.
    Absent,
    /// A file cannot be read or is damaged, or nobody vouches for it any more: once that was
    /// so, the view is given up.
    Damaged,
}

impl View {
    pub(super) fn find(&self, method: &str, taskhash: &Hash) -> Says {
        match self.overlay.get(method, taskhash) {
            Some(Some(unihash)) => return Says::Changed(unihash),
            Some(None) => return Says::Absent,
            None => {}
        }
        if self.opened.is_damaged() {
            return Says::Damaged;
        }
        match self.opened.lookup(method, taskhash) {
            Ok(Some(unihash)) => Says::Unihash(unihash),
            Ok(None) => Says::Absent,
            Err(_) => Says::Damaged,
        }
    }

    /// Whether it knows of everything that its namespace has.
    pub(super) fn is_exhaustive(&self) -> bool {
        let all = self.opened.manifest().left_out == 0;
        all && self.follows_additions && self.overlay.is_complete()
    }
}
