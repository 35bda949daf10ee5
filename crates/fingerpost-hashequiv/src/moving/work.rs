//! The file that becomes a fresh target, and how far it has come.
//!
//! It lies beside the target as `TARGET.importing` and is renamed when it is
//! complete; so a target that exists is complete. Rows and the record of how
//! far they go are committed together, so a killed import goes on from its last
//! commit. Commits are not synced to the disk one by one: after a restart of
//! the machine the file is not trusted and made again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fingerpost_db::Settings;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};
use serde::{Deserialize, Serialize};

use super::reference::Generation;
use super::{ImportError, ImportReport};
use crate::sqlite::MIGRATIONS;

/// Page cache while rows are added, and while an index is sorted.
const CACHE_KIB: u32 = 48 << 10;

/// Of the file of rows, behind the name of the work file.
const ROWS_SUFFIX: &str = "-rows";

/// How far an import has come. What is beyond `mappings_until` and
/// `outputs_until` was added to the source after the import began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The boot of the machine during which the file was written.
    boot: Option<String>,
    pub(super) generation: Generation,
    pub(super) drop_invalid_unihashes: bool,
    /// The source's running collection.
    pub(super) mark: Option<String>,
    pub(super) mappings_until: i64,
    pub(super) outputs_until: i64,
    /// Id of the last row of the relation U that was read.
    pub(super) mappings_after: i64,
    /// Rows among them that carry `mark`.
    pub(super) mappings_marked: u64,
    pub(super) mappings_done: bool,
    /// Number of the last task and row of the relation U.
    pub(super) last_task: i64,
    /// Id of the last row of the relation O that was read.
    pub(super) outputs_after: i64,
    pub(super) outputs_read: bool,
    /// Rows in the file of rows, and bytes of it that count.
    pub(super) rows: u64,
    pub(super) rows_bytes: u64,
    /// Whether no row in it is older than the one before it.
    pub(super) rows_in_order: bool,
    pub(super) outputs_placed: bool,
    /// Name and statement of each index that was put off.
    pub(super) indexes: Vec<(String, String)>,
    pub(super) report: ImportReport,
}

impl Checkpoint {
    pub(super) fn new(report: ImportReport, drop_invalid_unihashes: bool) -> Self {
        Self {
            boot: boot(),
            generation: report.generation,
            drop_invalid_unihashes,
            mark: None,
            mappings_until: 0,
            outputs_until: 0,
            mappings_after: i64::MIN,
            mappings_marked: 0,
            mappings_done: false,
            last_task: 0,
            outputs_after: i64::MIN,
            outputs_read: false,
            rows: 0,
            rows_bytes: 0,
            rows_in_order: true,
            outputs_placed: false,
            indexes: Vec::new(),
            report,
        }
    }

    /// Whether what is in the file has survived for certain.
    fn is_trusted(&self) -> bool {
        self.boot.is_some() && self.boot == boot()
    }
}

/// The file and its checkpoint.
pub(super) struct Work {
    pub(super) conn: Connection,
    pub(super) checkpoint: Checkpoint,
    path: PathBuf,
    target: PathBuf,
}

impl Work {
    /// Opens what an interrupted import into `target` left; `None` when there
    /// is nothing, or nothing that can be trusted.
    pub(super) fn resume(target: &Path) -> Result<Option<Self>, ImportError> {
        let path = work_path(target);
        if !path.exists() {
            return Ok(None);
        }
        let conn = connect(&path, target)?;
        let state: Option<String> = conn
            .query_row("SELECT state FROM import", [], |row| row.get(0))
            .optional()
            .unwrap_or(None);
        let checkpoint = state
            .and_then(|state| serde_json::from_str::<Checkpoint>(&state).ok())
            .filter(Checkpoint::is_trusted);
        Ok(checkpoint.map(|checkpoint| Self {
            conn,
            checkpoint,
            path,
            target: target.to_owned(),
        }))
    }

    /// Makes the file anew.
    pub(super) fn create(target: &Path, checkpoint: Checkpoint) -> Result<Self, ImportError> {
        let path = work_path(target);
        if path.exists() {
            // Whoever imports now holds the file's lock.
            drop(connect(&path, target)?);
            remove(&path)?;
        }
        fingerpost_db::prepare(&Settings::new(&path), MIGRATIONS)?;
        let conn = connect(&path, target)?;
        let mut work = Self {
            conn,
            checkpoint,
            path,
            target: target.to_owned(),
        };
        work.put_off_indexes().map_err(work.failed())?;
        Ok(work)
    }

    /// Drops the indexes of the tables that are filled in bulk. Sorting once at
    /// the end costs a tenth of keeping them in order meanwhile.
    fn put_off_indexes(&mut self) -> rusqlite::Result<()> {
        let indexes: Vec<(String, String)> = self
            .conn
            .prepare(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
                    AND tbl_name IN ('task', 'unihash', 'outhash') ORDER BY rowid",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        self.conn.execute_batch("BEGIN")?;
        for (name, _) in &indexes {
            self.conn.execute_batch(&format!("DROP INDEX {name}"))?;
        }
        self.checkpoint.indexes = indexes;
        self.conn.execute_batch(
            "CREATE TABLE import (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT;
             INSERT INTO import VALUES (1, '')",
        )?;
        self.commit()
    }

    /// Begins a transaction.
    pub(super) fn begin(&self) -> rusqlite::Result<()> {
        self.conn.execute_batch("BEGIN")
    }

    /// Commits it together with the checkpoint.
    pub(super) fn commit(&self) -> rusqlite::Result<()> {
        let state = serde_json::to_string(&self.checkpoint)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.conn
            .prepare_cached("UPDATE import SET state = ?1")?
            .execute([state])?;
        self.conn.execute_batch("COMMIT")
    }

    /// Wraps what SQLite said about this file.
    pub(super) fn failed(&self) -> impl Fn(rusqlite::Error) -> ImportError + use<> {
        ImportError::target(&self.path)
    }

    /// Rows of the relation O that wait for their tasks.
    pub(super) fn rows_path(&self) -> PathBuf {
        with_suffix(&self.path, ROWS_SUFFIX)
    }

    /// Where scratch files belong.
    pub(super) fn directory(&self) -> PathBuf {
        directory_of(&self.path)
    }

    /// Waits until everything that was committed is on disk.
    pub(super) fn sync(&self) -> rusqlite::Result<()> {
        self.conn.execute_batch("PRAGMA synchronous = FULL")?;
        // Syncing is by file, whoever wrote to it and when.
        self.begin()?;
        self.commit()
    }

    /// Runs the last statements and makes the complete file the target.
    pub(super) fn publish(
        mut self,
        last: impl FnOnce(&Connection, &mut ImportReport) -> rusqlite::Result<()>,
    ) -> Result<ImportReport, ImportError> {
        let failed = self.failed();
        let complete = || {
            self.begin()?;
            last(&self.conn, &mut self.checkpoint.report)?;
            self.conn
                .execute_batch("DROP TABLE import; COMMIT; PRAGMA journal_mode = WAL")
        };
        complete().map_err(&failed)?;
        self.conn.close().map_err(|(_, error)| failed(error))?;
        remove_file(&with_suffix(&self.path, ROWS_SUFFIX))?;
        let path = &self.path;
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(ImportError::io(path))?;
        if self.target.exists() {
            return Err(ImportError::Appeared { path: self.target });
        }
        fs::rename(path, &self.target).map_err(ImportError::io(path))?;
        let directory = directory_of(path);
        let synced = File::open(&directory).and_then(|directory| directory.sync_all());
        synced.map_err(ImportError::io(&directory))?;
        Ok(self.checkpoint.report)
    }
}

/// `TARGET.importing`.
fn work_path(target: &Path) -> PathBuf {
    with_suffix(target, ".importing")
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

pub(super) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Opens the file for one process alone, without a log: what is added to a file
/// that nobody reads need not be written twice.
fn connect(path: &Path, target: &Path) -> Result<Connection, ImportError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(Duration::ZERO)?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch(&format!(
            "PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = TRUNCATE;
             PRAGMA synchronous = OFF;
             PRAGMA foreign_keys = OFF;
             PRAGMA cache_size = -{CACHE_KIB};
             PRAGMA threads = 1;
             BEGIN EXCLUSIVE;
             COMMIT;"
        ))?;
        Ok(conn)
    };
    open().map_err(|error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ImportError::Running {
            path: target.to_owned(),
        },
        _ => ImportError::target(path)(error),
    })
}

/// Removes the file and what may lie beside it.
fn remove(path: &Path) -> Result<(), ImportError> {
    for suffix in ["", "-journal", "-wal", "-shm", ROWS_SUFFIX] {
        remove_file(&with_suffix(path, suffix))?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), ImportError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ImportError::io(path)(error))
        }
        _ => Ok(()),
    }
}

/// Names the time since the machine was started; `None` where nobody tells.
fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}
