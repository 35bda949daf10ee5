//! What makes a file ours: application id, the table `fingerpost` with its one
//! row, and the version rules. Also tells other files apart without touching
//! them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::connection::{self, PAGE_BYTES};

/// `FPst` as a number, in the header of every file of ours.
pub(crate) const APPLICATION_ID: i32 = 0x4650_7374;

/// The tables of this crate, in every file from its first moment on.
pub(crate) const BASE_SQL: &str = "
CREATE TABLE fingerpost (
    -- One row.
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Of the services' schema; 0 before the first migration.
    version INTEGER NOT NULL,
    -- The oldest version of the program that can read the file.
    min_reader INTEGER NOT NULL,
    -- 16 random bytes; others after a restore.
    incarnation BLOB NOT NULL
) STRICT;
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    -- Microseconds since 1970.
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The row of the table `fingerpost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) min_reader: u32,
    pub(crate) incarnation: [u8; 16],
}

/// Reads the header of a file of ours.
pub(crate) fn header(conn: &Connection) -> rusqlite::Result<Header> {
    conn.query_row(
        "SELECT version, min_reader, incarnation FROM fingerpost",
        [],
        |row| {
            Ok(Header {
                version: row.get(0)?,
                min_reader: row.get(1)?,
                incarnation: row.get(2)?,
            })
        },
    )
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No table yet, and no mark of anybody.
    Empty,
    Ours,
    /// A database of `bitbake-hashserv`.
    Reference,
    /// Another program's, or no database at all.
    Foreign,
}

/// Tells what the file at `path` is, without changing it or its neighbours.
///
/// Only SQLite opens the file: closing a descriptor of our own would drop the
/// locks that SQLite holds on it for other connections of this process.
pub(crate) fn examine(path: &Path, vfs: Option<&str>) -> rusqlite::Result<Kind> {
    // "Immutable" reads the file alone, without locks, log or shared memory.
    // Our application id is in the file itself before there is a log.
    let uri = PathBuf::from(immutable_uri(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let first = connection::plain(&uri, flags, vfs).and_then(|conn| kind_of(&conn));
    let by_the_log = match &first {
        // Somebody else's tables may still be in the log.
        Ok(kind) => matches!(kind, Kind::Empty | Kind::Foreign),
        // A power cut during a checkpoint leaves a file that only its log
        // makes whole.
        Err(error) => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    };
    let kind = if by_the_log && has_companion(path, "-wal") {
        // Reading the log leaves it and the file alone.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        connection::plain(path, flags, vfs).and_then(|conn| kind_of(&conn))
    } else {
        first
    };
    match kind {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            let cut_short = has_companion(path, "-journal") && begins_with_zeros(path);
            Ok(if cut_short {
                Kind::Empty
            } else {
                Kind::Foreign
            })
        }
        other => other,
    }
}

fn kind_of(conn: &Connection) -> rusqlite::Result<Kind> {
    let id = application_id(conn)?;
    if id == APPLICATION_ID {
        return Ok(Kind::Ours);
    }
    let (tables, reference): (i64, i64) = conn.query_row(
        "SELECT count(*), count(CASE WHEN name IN
         ('unihashes_v3', 'unihashes_v2', 'outhashes_v2', 'tasks_v2') THEN 1 END)
         FROM sqlite_master",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(match (id, tables, reference) {
        (0, 0, _) => Kind::Empty,
        (_, _, 0) => Kind::Foreign,
        _ => Kind::Reference,
    })
}

/// Whether a power cut left a file that was just being made: it has its length
/// but not its content. SQLite empties it by the journal.
fn begins_with_zeros(path: &Path) -> bool {
    use std::io::Read;
    let mut header = [1; 100];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut header))
        .is_ok()
        && header == [0; 100]
}

fn has_companion(path: &Path, suffix: &str) -> bool {
    std::fs::metadata(beside(path, suffix)).is_ok_and(|file| file.len() > 0)
}

/// `path` with `suffix` appended to its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A URI for SQLite. Bytes that mean something there are escaped; all others,
/// UTF-8 or not, are taken as they are.
fn immutable_uri(path: &Path) -> std::ffi::OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut uri = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02x}").bytes()),
            _ => uri.push(byte),
        }
    }
    uri.extend(b"?immutable=1");
    std::ffi::OsString::from_vec(uri)
}

/// Makes an empty file ours, in WAL mode; does nothing to a file that is.
/// Several processes may do this at once.
pub(crate) fn initialize(conn: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    if application_id(conn)? != APPLICATION_ID {
        prepare_pages(conn)?;
        conn.execute_batch("BEGIN EXCLUSIVE")?;
        let outcome = create_base(conn);
        conn.execute_batch(if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        })?;
        outcome?;
    }
    enter_wal_mode(conn, busy_timeout)
}

/// Page size and vacuum mode are those of the first page; it is written here,
/// outside of the transaction that makes the file ours.
fn prepare_pages(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL;"
    ))?;
    let size: u64 = number(conn, "PRAGMA page_size")?;
    let incremental = number(conn, "PRAGMA auto_vacuum")? == 2;
    if size != PAGE_BYTES || !incremental {
        // An empty file that somebody else made; rewriting it takes no time.
        conn.execute_batch("VACUUM")?;
    }
    Ok(())
}

fn number(conn: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    conn.query_row(pragma, [], |row| {
        row.get::<_, i64>(0).map(i64::unsigned_abs)
    })
}

fn create_base(conn: &Connection) -> rusqlite::Result<()> {
    if application_id(conn)? == APPLICATION_ID {
        return Ok(());
    }
    conn.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
    conn.execute_batch(BASE_SQL)?;
    conn.execute(
        "INSERT INTO fingerpost (id, version, min_reader, incarnation) VALUES (1, 0, 0, randomblob(16))",
        [],
    )?;
    Ok(())
}

fn application_id(conn: &Connection) -> rusqlite::Result<i32> {
    conn.query_row("PRAGMA application_id", [], |row| row.get(0))
}

/// The change of mode does not always wait for other connections by itself.
fn enter_wal_mode(conn: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    let deadline = Instant::now() + busy_timeout;
    loop {
        let mode: rusqlite::Result<Option<String>> = conn
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .optional();
        let busy = match mode {
            Ok(Some(mode)) if mode == "wal" => return Ok(()),
            Ok(_) => {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
                    Some("the file system allows no write-ahead log".to_owned()),
                ));
            }
            Err(error) => error,
        };
        let retry = busy.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        if !retry || Instant::now() >= deadline {
            return Err(busy);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
