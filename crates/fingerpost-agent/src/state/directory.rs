//! The state directory: one agent's at a time, with a database that is whole.
//!
//! A database that is damaged, or is none of ours, is moved aside: builds are worth
//! more than what it may have had, and a person can still look at it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fingerpost_db::{Migration, OpenError, Settings, Sqlite};
use rusqlite::{Connection, ErrorCode};

use super::options::StateOptions;
use super::provisional::Index;
use super::spool;
use super::{StateError, error};

const DATABASE: &str = "agent.db";
const ASIDE: &str = "agent.db.aside";
const LOCK: &str = "agent.lock";
/// Says that the database was found damaged while it was in use.
const DAMAGED: &str = "agent.db.damaged";
/// What SQLite keeps beside a file.
const COMPANIONS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "agent_state",
        sql: include_str!("schema.sql"),
        min_reader: 1,
    },
    // Whoever does not know it stores what nobody judged.
    Migration {
        version: 2,
        name: "judged",
        sql: include_str!("judged.sql"),
        min_reader: 2,
    },
];

/// The right to use a state directory, for as long as it lives.
pub(super) struct Lock {
    _file: File,
}

/// A directory that was opened.
pub(super) struct Opened {
    pub(super) lock: Lock,
    pub(super) db: Sqlite,
    pub(super) index: Index,
}

/// Opens the directory, and makes what is missing. Blocks.
pub(super) fn open(options: &StateOptions) -> Result<Opened, StateError> {
    let directory = &*options.directory;
    make(directory).map_err(error::io(directory))?;
    let lock = lock(directory)?;
    let marker = directory.join(DAMAGED);
    if marker.exists() {
        move_aside(directory, "it was found damaged")?;
        fs::remove_file(&marker).map_err(error::io(&marker))?;
    }
    let opened = open_database(options).or_else(|trouble| match trouble {
        Trouble::Elsewhere(error) => Err(StateError::Open(error)),
        Trouble::OfTheFile(why) => {
            move_aside(directory, &why)?;
            open_database(options).map_err(|trouble| match trouble {
                Trouble::Elsewhere(error) => StateError::Open(error),
                Trouble::OfTheFile(why) => {
                    error::io(&directory.join(DATABASE))(io::Error::other(why))
                }
            })
        }
    });
    let (db, index) = opened?;
    Ok(Opened { lock, db, index })
}

/// Has the database moved aside by whoever opens the directory next.
pub(super) fn mark_damaged(directory: &Path) {
    if let Err(error) = fs::write(directory.join(DAMAGED), "") {
        tracing::debug!(%error, "the damage of the agent's state is not noted");
    }
}

pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn lock(directory: &Path) -> Result<Lock, StateError> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse {
            directory: directory.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(error::io(&path)(source)),
    }
}

/// Why the database was not opened.
enum Trouble {
    /// Another file would do.
    OfTheFile(String),
    /// Another file would not help.
    Elsewhere(OpenError),
}

impl From<OpenError> for Trouble {
    fn from(error: OpenError) -> Self {
        let of_the_file = match &error {
            OpenError::NotOurs { .. }
            | OpenError::ReferenceDatabase { .. }
            | OpenError::TooNew { .. }
            | OpenError::Migration { .. } => true,
            OpenError::Sqlite { source, .. } => is_of_the_file(source),
            _ => false,
        };
        if of_the_file {
            let cause = std::error::Error::source(&error);
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            Self::OfTheFile(format!("{error}{cause}"))
        } else {
            Self::Elsewhere(error)
        }
    }
}

/// Whether what SQLite says is about the bytes in the file, and not about the drive
/// or the right to use it.
fn is_of_the_file(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
        )
    )
}

fn open_database(options: &StateOptions) -> Result<(Sqlite, Index), Trouble> {
    let settings = settings(options);
    let index = Index::default();
    if settings.path.exists() {
        // On a connection of its own, of which nothing is left when the file moves.
        let conn = fingerpost_db::connect(&settings, MIGRATIONS)?;
        check_and_load(&conn, &index).map_err(|source| {
            Trouble::from(OpenError::Sqlite {
                path: settings.path.clone(),
                source,
            })
        })?;
    }
    Ok((Sqlite::open(settings, MIGRATIONS)?, index))
}

/// Looks at every page of what has to be right. The server's answers can be had
/// again, and are too many to look at while a build waits.
fn check_and_load(conn: &Connection, index: &Index) -> rusqlite::Result<()> {
    for table in ["spool", "provisional", "tally"] {
        let found: String = conn.query_row(&format!("PRAGMA quick_check({table})"), [], |row| {
            row.get(0)
        })?;
        if found != "ok" {
            let damaged = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(damaged, Some(found)));
        }
    }
    spool::load(conn, index)
}

/// An agent is light: small caches, and no reader but one.
fn settings(options: &StateOptions) -> Settings {
    let mut settings = Settings::new(options.directory.join(DATABASE));
    settings.readers = 1;
    settings.reader_cache_bytes = 2 << 20;
    settings.writer_cache_bytes = 4 << 20;
    settings.busy_timeout = options.patience.min(Duration::from_secs(1));
    settings.queue_timeout = options.patience;
    settings.checkpoint_bytes = 4 << 20;
    settings.vfs.clone_from(&options.vfs);
    settings
}

/// Puts the database and what belongs to it under another name, over what was put
/// there before.
fn move_aside(directory: &Path, why: &str) -> Result<(), StateError> {
    let named = |name: &str, companion: &str| directory.join(format!("{name}{companion}"));
    let unless_missing = |outcome: io::Result<()>, path: PathBuf| match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error::io(&path)(error)),
        _ => Ok(()),
    };
    // First all that was there: an older log must not come to a newer file.
    for companion in COMPANIONS {
        let old = named(ASIDE, companion);
        unless_missing(fs::remove_file(&old), old)?;
    }
    for companion in COMPANIONS {
        let from = named(DATABASE, companion);
        unless_missing(fs::rename(&from, named(ASIDE, companion)), from)?;
    }
    let aside = named(ASIDE, "");
    sync_directory_of(&aside).map_err(error::io(directory))?;
    tracing::warn!(
        why,
        aside = %aside.display(),
        "the agent's state cannot be used and was moved aside; reports that the server has \
         not seen are in there"
    );
    Ok(())
}
