//! The file that becomes the export.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::moving::ExportError;
use crate::moving::work::with_suffix;

/// `TO.exporting`, removed unless it is published.
pub(super) struct Unfinished {
    path: PathBuf,
    published: bool,
}

impl Unfinished {
    pub(super) fn create(to: &Path) -> Result<Self, ExportError> {
        let unfinished = Self {
            path: with_suffix(to, ".exporting"),
            published: false,
        };
        unfinished.remove();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished.path)
            .map_err(ExportError::io(&unfinished.path))?;
        Ok(unfinished)
    }

    /// Opens the file without any safety: it is worth something only when it
    /// is complete and synced.
    pub(super) fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags)?;
        conn.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = OFF;
             PRAGMA synchronous = OFF;
             PRAGMA cache_size = -98304;
             PRAGMA threads = 1;",
        )?;
        Ok(conn)
    }

    pub(super) fn publish(mut self, to: &Path) -> Result<(), ExportError> {
        let io = ExportError::io(&self.path);
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .map_err(&io)?;
        if to.exists() {
            return Err(ExportError::Exists {
                path: to.to_owned(),
            });
        }
        fs::rename(&self.path, to).map_err(&io)?;
        self.published = true;
        Ok(())
    }

    fn remove(&self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // What cannot be removed is met again when it is made.
            let _ = fs::remove_file(with_suffix(&self.path, suffix));
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published {
            self.remove();
        }
    }
}
