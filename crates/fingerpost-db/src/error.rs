//! The ways in which opening a file and running a job fail.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// Why a file was not opened. The texts are whole sentences for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite's locks and shared memory do not work there.
    #[error(
        "{} is on {file_system}, where SQLite is not safe; put the database on a local disk \
         of this machine (or use PostgreSQL when this version offers it)",
        path.display()
    )]
    NetworkFileSystem {
        /// The file.
        path: PathBuf,
        /// Name of the file system, `NFS`.
        file_system: String,
    },
    /// The file was made by `bitbake-hashserv`. It was not changed.
    #[error("{} is a bitbake-hashserv database, which has to be imported first", path.display())]
    ReferenceDatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else. It was not changed.
    #[error("{} is no Fingerpost database", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version that made it unreadable for this one.
    #[error(
        "{} has format version {version} and needs a program that knows version {min_reader}; \
         this one knows version {known}: upgrade it, or restore an older backup",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Version of the file's schema.
        version: u32,
        /// The oldest version that can read it.
        min_reader: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The safety copy before a migration does not fit beside the file.
    #[error(
        "{} must be migrated, and {needed} bytes for a copy of it are not free in its \
         directory (free: {free}); make room and start again",
        path.display()
    )]
    NoRoomForCopy {
        /// The file.
        path: PathBuf,
        /// Size of the copy in bytes.
        needed: u64,
        /// Free bytes in the directory.
        free: u64,
    },
    /// Another process kept the file locked for the whole of the busy timeout.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A migration failed; the file is as it was before.
    #[error("the schema of {} could not be brought up to date", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// What refinery says.
        source: Box<refinery_core::Error>,
    },
    /// The safety copy before a migration failed.
    #[error("{} could not be copied before its migration", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Box<crate::CopyError>,
    },
    /// The file could not be reached.
    #[error("{} cannot be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("{} cannot be opened", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// Why a job gave no result. After any of these nothing of the job is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DbError {
    /// The queue stayed full for the whole of its timeout.
    #[error("too many requests are waiting for the database")]
    QueueFull,
    /// Another process held the file for the whole of the busy timeout.
    #[error("the database is locked by another process")]
    Locked,
    /// The disk, or the allowed size of the file, is full.
    #[error("the disk of the database is full")]
    Full,
    /// Reading or writing the file failed.
    #[error("input or output of the database failed")]
    Io(#[source] Arc<rusqlite::Error>),
    /// A statement failed.
    #[error("the database refused")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// The job panicked.
    #[error("a database job panicked: {0}")]
    Panicked(String),
    /// The job ended the transaction that it ran in, or hid an error that did.
    #[error("a database job lost its transaction")]
    TransactionLost,
    /// A newer program migrated the file in such a way that this one must not
    /// write to it any more.
    #[error("a newer program migrated the database; start this one anew")]
    Superseded,
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
}

impl DbError {
    /// Whether the same request may succeed a little later.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::QueueFull | Self::Locked)
    }

    /// Whether the storage itself fails, so that the next write would too.
    pub const fn is_storage(&self) -> bool {
        matches!(self, Self::Full | Self::Io(_))
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Self::Io(Arc::new(error)),
            _ => Self::Sqlite(Arc::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> DbError {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()
    }

    #[test]
    fn errors_are_sorted_by_what_the_caller_can_do() {
        assert!(failure(rusqlite::ffi::SQLITE_BUSY).is_busy());
        assert!(failure(rusqlite::ffi::SQLITE_FULL).is_storage());
        assert!(failure(rusqlite::ffi::SQLITE_IOERR_FSYNC).is_storage());
        let constraint = failure(rusqlite::ffi::SQLITE_CONSTRAINT);
        assert!(!constraint.is_busy() && !constraint.is_storage());
    }
}
