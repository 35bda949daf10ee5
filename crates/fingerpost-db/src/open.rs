//! The way from a path to a writer's connection on a file that is up to date.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};
use rustix::fs::Access;

use crate::connection;
use crate::copy;
use crate::file_system;
use crate::format::{self, Header, Kind};
use crate::migrate::{self, Migration};
use crate::{OpenError, Settings};

/// Makes the file, or brings it up to date, as [`Sqlite::open`] does, and closes
/// it again: for programs that fill it with a connection of their own.
///
/// [`Sqlite::open`]: crate::Sqlite::open
pub fn prepare(settings: &Settings, migrations: &[Migration]) -> Result<(), OpenError> {
    open(&resolved(settings)?, migrations).map(drop)
}

/// Opens the file, as [`Sqlite::open`] does, as a single connection without
/// threads, and without checkpoints: for programs that write beside a server.
///
/// [`Sqlite::open`]: crate::Sqlite::open
pub fn connect(settings: &Settings, migrations: &[Migration]) -> Result<Connection, OpenError> {
    open(&resolved(settings)?, migrations).map(|(conn, _)| conn)
}

/// Opens a file that exists as a single connection that cannot write. The
/// schema stays as it is: statements have to suit every version of it.
pub fn connect_read_only(
    settings: &Settings,
    migrations: &[Migration],
) -> Result<Connection, OpenError> {
    open_read_only(&resolved(settings)?, migrations)
}

/// The settings with an absolute path, which SQLite never takes for a URI and
/// which survives a change of directory. Links are followed: the log lies
/// beside the file itself.
pub(crate) fn resolved(settings: &Settings) -> Result<Settings, OpenError> {
    let path = &*settings.path;
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(path));
    Ok(Settings {
        path: absolute.map_err(|source| io_error(path, source))?,
        ..settings.clone()
    })
}

/// The newest version that this program knows.
pub(crate) fn known_version(migrations: &[Migration]) -> u32 {
    let versions = migrations.iter().map(|step| step.version);
    versions.max().unwrap_or(0)
}

/// Opens, makes or migrates the file. Nothing in here scans a table.
pub(crate) fn open(
    settings: &Settings,
    migrations: &[Migration],
) -> Result<(Connection, Header), OpenError> {
    let path = &*settings.path;
    if settings.vfs.is_none() {
        if !settings.allow_network_file_system {
            refuse_network_file_systems(path)?;
        }
        create(path)
            .and_then(|()| may_write(path))
            .map_err(|source| io_error(path, source))?;
    }
    match format::examine(path, settings.vfs.as_deref()) {
        Ok(Kind::Ours | Kind::Empty) => {}
        Ok(Kind::Reference) => return Err(OpenError::ReferenceDatabase { path: path.into() }),
        Ok(Kind::Foreign) => return Err(OpenError::NotOurs { path: path.into() }),
        // With a VFS the file may have to be made yet.
        Err(error) if settings.vfs.is_some() && is_missing(&error) => {}
        Err(error) => return Err(sqlite_error(path, error)),
    }
    let conn = connection::writer(settings).map_err(|error| sqlite_error(path, error))?;
    format::initialize(&conn, settings.busy_timeout).map_err(|error| sqlite_error(path, error))?;
    let header = bring_up_to_date(settings, &conn, migrations)?;
    Ok((conn, header))
}

/// Opens a file that has to be ours already, without changing it.
fn open_read_only(settings: &Settings, migrations: &[Migration]) -> Result<Connection, OpenError> {
    let path = &*settings.path;
    std::fs::metadata(path).map_err(|source| io_error(path, source))?;
    match format::examine(path, settings.vfs.as_deref()) {
        Ok(Kind::Ours) => {}
        Ok(Kind::Reference) => return Err(OpenError::ReferenceDatabase { path: path.into() }),
        Ok(Kind::Empty | Kind::Foreign) => return Err(OpenError::NotOurs { path: path.into() }),
        Err(error) => return Err(sqlite_error(path, error)),
    }
    let conn = connection::reader(settings).map_err(|error| sqlite_error(path, error))?;
    let known = known_version(migrations);
    checked_header(path, &conn, known)?;
    Ok(conn)
}

/// Makes an empty file that only its owner can read. The log and the shared
/// memory get the file's permissions from SQLite.
fn create(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(_) => copy::sync_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// SQLite would say no more than that it cannot open the file. The log is made
/// in the file's directory.
fn may_write(path: &Path) -> io::Result<()> {
    for place in [path, file_system::directory_of(path)] {
        rustix::fs::access(place, Access::READ_OK | Access::WRITE_OK)?;
    }
    Ok(())
}

fn refuse_network_file_systems(path: &Path) -> Result<(), OpenError> {
    match file_system::network(path) {
        Ok(None) => Ok(()),
        Ok(Some(file_system)) => Err(OpenError::NetworkFileSystem {
            path: path.into(),
            file_system,
        }),
        Err(source) => Err(io_error(path, source)),
    }
}

/// Checks the version, and migrates when that is needed. Whoever migrates holds
/// the write lock all the while; whoever comes second finds nothing to do.
fn bring_up_to_date(
    settings: &Settings,
    conn: &Connection,
    migrations: &[Migration],
) -> Result<Header, OpenError> {
    let path = &*settings.path;
    let known = known_version(migrations);
    let header = checked_header(path, conn, known)?;
    if header.version >= known {
        return Ok(header);
    }
    conn.execute_batch("BEGIN IMMEDIATE")
        .map_err(|error| sqlite_error(path, error))?;
    let outcome = migrate_locked(settings, conn, migrations, known);
    let end = if outcome.is_ok() {
        "COMMIT"
    } else {
        "ROLLBACK"
    };
    let ended = if conn.is_autocommit() {
        Ok(())
    } else {
        conn.execute_batch(end)
    };
    let header = outcome?;
    ended.map_err(|error| sqlite_error(path, error))?;
    Ok(header)
}

fn migrate_locked(
    settings: &Settings,
    conn: &Connection,
    migrations: &[Migration],
    known: u32,
) -> Result<Header, OpenError> {
    let path = &*settings.path;
    let mut header = checked_header(path, conn, known)?;
    if header.version >= known {
        return Ok(header);
    }
    let min_reader = migrations
        .iter()
        .map(|step| step.min_reader)
        .max()
        .unwrap_or(0);
    if header.version > 0 && min_reader > header.min_reader {
        copy_before_migration(settings, header.version)?;
    }
    migrate::run(conn, migrations).map_err(|source| OpenError::Migration {
        path: path.into(),
        source: Box::new(source),
    })?;
    header.version = known;
    header.min_reader = header.min_reader.max(min_reader);
    conn.execute(
        "UPDATE fingerpost SET version = ?1, min_reader = ?2",
        [header.version, header.min_reader],
    )
    .map_err(|error| sqlite_error(path, error))?;
    Ok(header)
}

fn checked_header(path: &Path, conn: &Connection, known: u32) -> Result<Header, OpenError> {
    let header = format::header(conn).map_err(|error| sqlite_error(path, error))?;
    if header.min_reader > known {
        return Err(OpenError::TooNew {
            path: path.into(),
            version: header.version,
            min_reader: header.min_reader,
            known,
        });
    }
    Ok(header)
}

/// Older programs cannot go back to the file afterwards; they can to the copy,
/// `FILE.before-migration-from-N`.
fn copy_before_migration(settings: &Settings, version: u32) -> Result<(), OpenError> {
    let path = &*settings.path;
    let target = format::beside(path, &format!(".before-migration-from-{version}"));
    let source = connection::reader(settings).map_err(|error| sqlite_error(path, error))?;
    let needed = copy::size(&source).map_err(|error| sqlite_error(path, error))?;
    let free = file_system::free_bytes(path).map_err(|source| io_error(path, source))?;
    if free < needed {
        return Err(OpenError::NoRoomForCopy {
            path: path.into(),
            needed,
            free,
        });
    }
    tracing::info!(copy = %target.display(), "copying the database before its migration");
    let plan = copy::Plan {
        vfs: settings.vfs.as_deref(),
        overwrite: true,
    };
    let mut told = 0;
    let mut progress = |done: u64, total: u64| {
        let percent = done * 100 / total.max(1);
        if percent >= told + 10 {
            told = percent;
            tracing::info!(percent, "copying the database before its migration");
        }
    };
    copy::copy(&source, &target, &plan, &mut progress).map_err(|source| OpenError::Copy {
        path: path.into(),
        source: Box::new(source),
    })
}

fn is_missing(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        path: path.into(),
        source,
    }
}

pub(crate) fn sqlite_error(path: &Path, source: rusqlite::Error) -> OpenError {
    if source.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
        return OpenError::Locked { path: path.into() };
    }
    OpenError::Sqlite {
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests;
