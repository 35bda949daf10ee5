//! `TARGET.following`: which rows of the reference were taken, and what they became.
//!
//! A SQLite file with a row for each row of the reference. It is written after the
//! target, so after a kill it may lack what was done last, which the next round does
//! again; it is worth nothing without the target, and the other way round.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::seal::Seal;
use crate::moving::work::with_suffix;
use crate::moving::{ImportError, ImportOptions};
use crate::namespace::DEFAULT_NAMESPACE;

/// What is made of a row's content; goes up when that changes.
const VERSION: i64 = 1;

/// `ours` is the task, or the number of the row of the relation O; NULL for a row that
/// was left out. Nearly all outputs keep their number, so those that do not are indexed.
const TABLES: &str = "
CREATE TABLE following (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    drop_invalid INTEGER NOT NULL,
    -- Whether every row of the source was taken once.
    is_whole INTEGER NOT NULL,
    -- The highest time of a row of the relation O.
    newest TEXT
) STRICT;
CREATE TABLE mapping (
    id INTEGER PRIMARY KEY, seal INTEGER NOT NULL, mark INTEGER NOT NULL, ours INTEGER
) STRICT;
CREATE TABLE output (
    id INTEGER PRIMARY KEY, seal INTEGER NOT NULL, mark INTEGER NOT NULL, ours INTEGER
) STRICT;
CREATE INDEX output_moved ON output (ours) WHERE ours <> id;";

/// The open record, with its lock.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
    /// Given back last: closing it would take SQLite's own locks along.
    _lock: File,
}

/// A relation, as the record calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Mappings,
    Outputs,
}

impl Relation {
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Mappings => "mapping",
            Self::Outputs => "output",
        }
    }
}

/// What the record has of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) id: i64,
    pub(super) seal: Seal,
    pub(super) ours: Option<i64>,
}

impl Record {
    /// Opens or makes the record of `target`, and checks that it fits.
    pub(super) fn open(
        target: &Path,
        source: &str,
        options: &ImportOptions<'_>,
    ) -> Result<Self, ImportError> {
        if options.namespace != DEFAULT_NAMESPACE {
            return Err(ImportError::no_namespace(target, options.namespace));
        }
        let path = with_suffix(target, ".following");
        if target.exists() && !path.exists() {
            return Err(ImportError::NotFollowed {
                path: target.to_owned(),
            });
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(ImportError::io(&path))?;
        if lock.try_lock().is_err() {
            return Err(ImportError::Running {
                path: target.to_owned(),
            });
        }
        let failed = ImportError::target(&path);
        let conn = connect(&path).map_err(&failed)?;
        let record = Self {
            conn,
            path,
            _lock: lock,
        };
        let settings = (VERSION, source, options.drop_invalid_unihashes);
        let fits = record.fits(settings, target.exists());
        if !fits.map_err(&failed)? {
            return Err(ImportError::FollowsOther {
                path: target.to_owned(),
            });
        }
        Ok(record)
    }

    /// Whether the record is of these settings; makes it if there is nothing in it, or
    /// if what it was about is gone.
    fn fits(&self, settings: (i64, &str, bool), target_exists: bool) -> rusqlite::Result<bool> {
        let is_made = self
            .conn
            .prepare("SELECT 1 FROM sqlite_master WHERE name = 'following'")?
            .exists([])?;
        if is_made && target_exists {
            return self
                .conn
                .prepare(
                    "SELECT 1 FROM following
                      WHERE version = ?1 AND source = ?2 AND drop_invalid = ?3",
                )?
                .exists(settings);
        }
        self.conn.execute_batch(
            "BEGIN; DROP TABLE IF EXISTS following; DROP TABLE IF EXISTS mapping;
             DROP TABLE IF EXISTS output;",
        )?;
        self.conn.execute_batch(TABLES)?;
        self.conn.execute(
            "INSERT INTO following (id, version, source, drop_invalid, is_whole)
             VALUES (1, ?1, ?2, ?3, 0)",
            settings,
        )?;
        self.conn.execute_batch("COMMIT")?;
        Ok(true)
    }

    /// A connection of its own for who reads while this one writes.
    pub(super) fn reader(&self) -> Result<Connection, ImportError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags).map_err(self.failed())
    }

    /// Wraps what SQLite said about this file.
    pub(super) fn failed(&self) -> impl Fn(rusqlite::Error) -> ImportError + use<> {
        ImportError::target(&self.path)
    }

    /// Whether every row of the source was taken once.
    pub(super) fn is_whole(&self) -> rusqlite::Result<bool> {
        self.conn
            .query_row("SELECT is_whole FROM following", [], |row| row.get(0))
    }

    pub(super) fn set_whole(&self) -> rusqlite::Result<()> {
        let set = "UPDATE following SET is_whole = 1 WHERE is_whole = 0";
        self.conn.execute(set, []).map(drop)
    }

    /// The highest time of a row of the relation O.
    pub(super) fn newest(&self) -> rusqlite::Result<Option<String>> {
        self.conn
            .query_row("SELECT newest FROM following", [], |row| row.get(0))
    }

    pub(super) fn set_newest(&self, newest: Option<&str>) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached("UPDATE following SET newest = ?1 WHERE newest IS NOT ?1")?
            .execute([newest])?;
        Ok(())
    }

    /// Rows that became rows of the target.
    pub(super) fn count(&self, relation: Relation) -> rusqlite::Result<u64> {
        let table = relation.table();
        let sql = format!("SELECT count(*) FROM {table} WHERE ours IS NOT NULL");
        self.conn.query_row(&sql, [], |row| row.get(0))
    }

    pub(super) fn put(&self, relation: Relation, row: &Taken) -> rusqlite::Result<()> {
        let table = relation.table();
        let sql = format!(
            "INSERT OR REPLACE INTO {table} (id, seal, mark, ours) VALUES (?1, ?2, ?3, ?4)"
        );
        self.conn.prepare_cached(&sql)?.execute((
            row.id,
            row.seal.content,
            row.seal.mark,
            row.ours,
        ))?;
        Ok(())
    }

    pub(super) fn remove_row(&self, relation: Relation, id: i64) -> rusqlite::Result<()> {
        let sql = format!("DELETE FROM {} WHERE id = ?1", relation.table());
        self.conn.prepare_cached(&sql)?.execute([id])?;
        Ok(())
    }

    /// The reference's row that became this row of the relation O.
    pub(super) fn source_of_output(&self, ours: i64) -> rusqlite::Result<Option<i64>> {
        let moved: Option<i64> = self
            .conn
            .prepare_cached("SELECT id FROM output WHERE ours = ?1 AND ours <> id")?
            .query_row([ours], |row| row.get(0))
            .optional()?;
        if moved.is_some() {
            return Ok(moved);
        }
        self.conn
            .prepare_cached("SELECT id FROM output WHERE id = ?1 AND ours = ?1")?
            .query_row([ours], |row| row.get(0))
            .optional()
    }

    /// Removes the record: nothing is followed any more.
    pub(super) fn remove(self) -> Result<(), ImportError> {
        let Self { conn, path, _lock } = self;
        let failed = ImportError::target(&path);
        conn.close().map_err(|(_, error)| failed(error))?;
        std::fs::remove_file(&path).map_err(ImportError::io(&path))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.set_prepared_statement_cache_capacity(32);
    conn.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA cache_size = -16384;",
    )?;
    Ok(conn)
}
