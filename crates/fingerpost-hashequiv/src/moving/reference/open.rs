//! Opening a database of the reference without changing it.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use super::generation::{Generation, Tables};
use crate::moving::ImportError;

/// A server that writes now keeps others out for moments only.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A database of the reference, opened read-only, in one snapshot.
pub(in crate::moving) struct Reference {
    pub(in crate::moving) conn: Connection,
    pub(in crate::moving) tables: Tables,
    /// The file, or whatever messages are to call it.
    pub(in crate::moving) path: PathBuf,
}

/// The schema version of a database of the reference; `None` when the file is
/// something else or does not exist. The file is not changed.
pub fn generation_of(path: &Path) -> Result<Option<Generation>, ImportError> {
    if !path.exists() {
        return Ok(None);
    }
    match Reference::open(path) {
        Ok(reference) => Ok(Some(reference.tables.generation)),
        Err(ImportError::NotReference { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Reference {
    /// Opens the file and begins the snapshot that everything is read from.
    /// A reference server may run on it.
    pub(in crate::moving) fn open(path: &Path) -> Result<Self, ImportError> {
        // SQLite would say "unable to open" only.
        std::fs::metadata(path).map_err(ImportError::io(path))?;
        let refused = |error: rusqlite::Error| refusal(path, error);
        let conn = match connect(path) {
            Err(error) if is_unwritable(&error) && !has_log(path) => connect_immutable(path),
            other => other,
        }
        .map_err(refused)?;
        let tables = Tables::find(&conn).map_err(refused)?;
        Ok(Self {
            conn,
            tables: tables.ok_or_else(|| ImportError::NotReference {
                path: path.to_owned(),
            })?,
            path: path.to_owned(),
        })
    }

    /// Takes a database that was copied from elsewhere; messages call it `name`.
    pub(in crate::moving) fn copied(conn: Connection, name: PathBuf) -> Result<Self, ImportError> {
        let failed = ImportError::source(&name);
        let conn = prepare(conn).map_err(&failed)?;
        let tables = Tables::find(&conn).map_err(&failed)?;
        Ok(Self {
            conn,
            tables: tables.ok_or_else(|| ImportError::NotReference { path: name.clone() })?,
            path: name,
        })
    }

    /// Wraps what SQLite said about this file.
    pub(in crate::moving) fn failed(&self) -> impl Fn(rusqlite::Error) -> ImportError + use<> {
        ImportError::source(&self.path)
    }

    /// The highest id of a table; 0 when it is empty.
    pub(in crate::moving) fn last_id(&self, table: &str) -> Result<i64, ImportError> {
        let last: Option<i64> = self
            .conn
            .query_row(&format!("SELECT max(id) FROM {table}"), [], |row| {
                row.get(0)
            })
            .map_err(self.failed())?;
        Ok(last.unwrap_or(0))
    }

    /// The lowest id of a table; 1 when it is empty.
    pub(in crate::moving) fn first_id(&self, table: &str) -> Result<i64, ImportError> {
        let first: Option<i64> = self
            .conn
            .query_row(&format!("SELECT min(id) FROM {table}"), [], |row| {
                row.get(0)
            })
            .map_err(self.failed())?;
        Ok(first.unwrap_or(1))
    }

    /// The highest number that a row of the relation O was ever given.
    pub(in crate::moving) fn output_sequence(&self) -> Result<i64, ImportError> {
        let last: Option<i64> = self
            .conn
            .query_row(
                "SELECT seq FROM sqlite_sequence WHERE name = ?1 AND typeof(seq) = 'integer'",
                [self.tables.output_table()],
                |row| row.get(0),
            )
            // Made by SQLAlchemy, a file has no such table.
            .unwrap_or(None);
        Ok(last.unwrap_or(0))
    }

    /// The mark of the running collection.
    pub(in crate::moving) fn mark(&self) -> Result<Option<String>, ImportError> {
        if !self.tables.has_config {
            return Ok(None);
        }
        let mark: Option<Option<String>> = self
            .conn
            .query_row(
                "SELECT value FROM config WHERE name = 'gc-mark'",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(self.failed())?;
        Ok(mark.flatten())
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    prepare(Connection::open_with_flags(path, flags)?)
}

/// Reads a file whose directory cannot be written. Nobody else can write the
/// file either, as long as it has no log.
fn connect_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => write!(uri, "%{other:02x}").expect("writing to a string"),
        }
    }
    uri.push_str("?immutable=1");
    prepare(Connection::open_with_flags(uri, flags)?)
}

/// Sets a connection up and begins its snapshot. The file is a stranger's:
/// nothing in its schema may do more than name tables.
fn prepare(conn: Connection) -> rusqlite::Result<Connection> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.execute_batch(
        "PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA cache_size = -16384;
         BEGIN;
         SELECT count(*) FROM sqlite_master;",
    )?;
    Ok(conn)
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)
    )
}

fn refusal(path: &Path, error: rusqlite::Error) -> ImportError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => ImportError::NotReference { path },
        _ if is_unwritable(&error) && has_log(&path) => ImportError::WalUnreadable { path },
        _ => ImportError::Source {
            path,
            source: error,
        },
    }
}
