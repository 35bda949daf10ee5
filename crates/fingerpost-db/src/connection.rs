//! Connections with the pragmas that every one of ours has.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::{Durability, Settings};

/// Pages are what the operating system's are, and what `checkpoint` counts in.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// More statements than the services have; a cached one saves its parsing.
const STATEMENTS_CACHED: usize = 256;
/// A log that grew while a long read held it up is cut back to this.
const LOG_KEPT_BYTES: u64 = 64 << 20;

/// Opens the connection that writes. Nothing is written yet.
pub(crate) fn writer(settings: &Settings) -> rusqlite::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    if settings.vfs.is_some() {
        // Otherwise the file is there already, made with narrow permissions.
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let conn = open(settings, flags, settings.writer_cache_bytes)?;
    if let Some(pages) = settings.page_count_max {
        pragma(&conn, "max_page_count", pages)?;
    }
    Ok(conn)
}

/// Opens a connection that cannot write.
pub(crate) fn reader(settings: &Settings) -> rusqlite::Result<Connection> {
    open(
        settings,
        OpenFlags::SQLITE_OPEN_READ_ONLY,
        settings.reader_cache_bytes,
    )
}

/// Opens the connection for checkpoints, which needs hardly any cache.
pub(crate) fn checkpointer(settings: &Settings) -> rusqlite::Result<Connection> {
    let conn = open(
        settings,
        OpenFlags::SQLITE_OPEN_READ_WRITE,
        256 * PAGE_BYTES,
    )?;
    // A connection knows of the log only after its first read.
    conn.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    Ok(conn)
}

/// Opens `path` without any of our pragmas.
pub(crate) fn plain(
    path: &Path,
    flags: OpenFlags,
    vfs: Option<&str>,
) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time: SQLite's own mutex is
    // not needed.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    }
}

fn open(settings: &Settings, flags: OpenFlags, cache_bytes: u64) -> rusqlite::Result<Connection> {
    let conn = plain(&settings.path, flags, settings.vfs.as_deref())?;
    conn.busy_timeout(settings.busy_timeout.max(Duration::from_millis(1)))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // Otherwise SQLite, built with STAT4, plans a cached statement anew whenever
    // another value is bound to it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // An I/O error in a mapped file kills the process; a read returns it.
    pragma(&conn, "mmap_size", 0)?;
    pragma(&conn, "wal_autocheckpoint", 0)?;
    pragma(&conn, "foreign_keys", 0)?;
    pragma(&conn, "journal_size_limit", LOG_KEPT_BYTES)?;
    let cache_kib = i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX);
    conn.execute_batch(&format!("PRAGMA cache_size = -{}", cache_kib.max(64)))?;
    conn.execute_batch(match settings.durability {
        Durability::Full => "PRAGMA synchronous = FULL",
        Durability::Relaxed => "PRAGMA synchronous = NORMAL",
    })?;
    Ok(conn)
}

/// Sets a pragma, whether it answers or not.
fn pragma(conn: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    conn.execute_batch(&format!("PRAGMA {name} = {value}"))
}
