//! Where things lie below the directory of a disk store.
//!
//! `00` to `ff` hold the entries, each under the 64 hex digits of its name in
//! the directory of the first two; `tmp` what is being written; `lock` is held
//! shared by every process that uses the directory.

use std::fs::{DirBuilder, File, FileTimes, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use fingerpost_core::{EntryName, Timestamp};

/// How many directories entries are spread over.
pub(super) const DIRECTORIES: usize = 256;

/// The file that every process with the directory holds.
const LOCK: &str = "lock";

/// What is left in `tmp` after this by a process that died while others ran.
const ABANDONED_AFTER_MICROS: i64 = 86_400_000_000;

#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    /// Tells the temporary files of this process from others'.
    own: u64,
    next: AtomicU64,
    lock: File,
}

impl Layout {
    /// Whether anything was ever laid out there.
    pub(super) fn is_at(root: &Path) -> io::Result<bool> {
        root.join(LOCK).try_exists()
    }

    /// Makes the directories that are missing and clears away what a process
    /// left behind that was killed.
    pub(super) fn open(root: &Path, now: Timestamp) -> io::Result<Self> {
        private().recursive(true).create(root)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(root.join(LOCK))?;
        let layout = Self {
            root: root.to_owned(),
            own: RandomState::new().hash_one(root),
            next: AtomicU64::new(0),
            lock,
        };
        layout.make_temporary()?;
        for number in 0..DIRECTORIES {
            make(&layout.directory(number))?;
        }
        // A file system may know no locks; then only what is old goes.
        let alone = layout.lock.try_lock().is_ok();
        layout.clear_temporary(alone, now)?;
        if let Err(error) = layout.lock.lock_shared() {
            tracing::debug!(%error, "the directory of the disk store cannot be locked");
        }
        Ok(layout)
    }

    pub(super) fn directory(&self, number: usize) -> PathBuf {
        self.root.join(format!("{number:02x}"))
    }

    pub(super) fn path(&self, name: &EntryName) -> PathBuf {
        let digits = faster_hex::hex_string(name.as_bytes());
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + 68);
        path.push(&self.root);
        path.push(&digits[..2]);
        path.push(&digits);
        path
    }

    /// A file for an entry that is being written, which nobody else has.
    pub(super) fn create_temporary(&self) -> io::Result<(PathBuf, File)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.temporary().join(format!("{:016x}-{number}", self.own));
        let create = || {
            OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(&path)
        };
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_temporary()?;
                create()?
            }
            made => made?,
        };
        Ok((path, file))
    }

    /// Moves a written file to its name.
    pub(super) fn rename(&self, temporary: &Path, name: &EntryName) -> io::Result<()> {
        let path = self.path(name);
        match std::fs::rename(temporary, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&self.directory(directory_of(name)))?;
                std::fs::rename(temporary, &path)
            }
            renamed => renamed,
        }
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn make_temporary(&self) -> io::Result<()> {
        make(&self.temporary())
    }

    fn clear_temporary(&self, alone: bool, now: Timestamp) -> io::Result<()> {
        for file in std::fs::read_dir(self.temporary())? {
            let file = file?;
            let old = now.minus_micros(ABANDONED_AFTER_MICROS);
            if alone || file.metadata().is_ok_and(|it| modified(&it) < old) {
                tracing::debug!(file = ?file.file_name(), "left over, removed");
                std::fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }
}

/// The number of an entry's directory.
pub(super) const fn directory_of(name: &EntryName) -> usize {
    name.as_bytes()[0] as usize
}

/// When a file was used last, which is kept as its time of modification.
pub(super) fn modified(metadata: &std::fs::Metadata) -> Timestamp {
    let micros = metadata.mtime().saturating_mul(1_000_000);
    Timestamp(micros.saturating_add(metadata.mtime_nsec() / 1000))
}

pub(super) fn set_modified(file: &File, moment: Timestamp) -> io::Result<()> {
    let since = Duration::from_micros(moment.0.max(0).unsigned_abs());
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + since))
}

/// Not recursive: if the root is gone, a disk may be missing, and what lies
/// under its mount point has no room for us.
fn make(directory: &Path) -> io::Result<()> {
    match private().create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Names may open public stores, so they are for the server's eyes only.
fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}
