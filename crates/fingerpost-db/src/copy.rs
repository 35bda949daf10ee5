//! Copying a file that is in use.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::connection::{self, PAGE_BYTES};
use crate::file_system::directory_of;
use crate::format::{self, Kind};

/// Why a file was not copied. Nothing is left at the target.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The target is there already, and overwriting was not asked for.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// A process has the target open.
    #[error("{} is in use; stop the server first", .0.display())]
    InUse(PathBuf),
    /// What should be copied is no database of ours.
    #[error("{} is no Fingerpost database", .0.display())]
    NotOurs(PathBuf),
    /// The copy was read back and is broken; so is probably the source.
    #[error("{} is damaged: {finding}", path.display())]
    Damaged {
        /// The source.
        path: PathBuf,
        /// What SQLite's check found first.
        finding: String,
    },
    /// The operating system refused.
    #[error("{} cannot be written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the database cannot be copied")]
    Sqlite(#[from] rusqlite::Error),
}

/// Copies the database file `from`, in use or not, to the new file `to`; see
/// [`Sqlite::backup`](crate::Sqlite::backup).
///
/// # Errors
///
/// When `from` is not ours, or `to` exists or cannot be written.
pub fn backup(from: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), CopyError> {
    let source = open_source(from)?;
    let plan = Plan {
        vfs: None,
        overwrite: false,
    };
    copy(&source, to, &plan, progress)
}

/// Opens a file of ours for reading.
pub(crate) fn open_source(path: &Path) -> Result<Connection, CopyError> {
    let absolute = std::path::absolute(path).map_err(|source| io_error(path, source))?;
    std::fs::metadata(&absolute).map_err(|source| io_error(path, source))?;
    match format::examine(&absolute, None)? {
        Kind::Ours => {}
        Kind::Empty | Kind::Reference | Kind::Foreign => {
            return Err(CopyError::NotOurs(path.into()));
        }
    }
    let source = connection::plain(&absolute, OpenFlags::SQLITE_OPEN_READ_ONLY, None)?;
    source.busy_timeout(Duration::from_secs(5))?;
    Ok(source)
}

/// How a copy is made.
pub(crate) struct Plan<'a> {
    pub(crate) vfs: Option<&'a str>,
    pub(crate) overwrite: bool,
}

/// Copies all of `source` to the file `to`: complete, on disk and under its
/// name, or not at all.
pub(crate) fn copy(
    source: &Connection,
    to: &Path,
    plan: &Plan<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), CopyError> {
    let to = &*std::path::absolute(to).map_err(|source| io_error(to, source))?;
    if !plan.overwrite && to.exists() {
        return Err(CopyError::Exists(to.into()));
    }
    let part = Part::create(to)?;
    let mut copy = part.open(plan.vfs)?;
    copy_database(source, &mut copy, progress)?;
    copy.close().map_err(|(_, error)| error)?;
    part.put_in_place(to, plan.overwrite)
}

/// Bytes of the whole file, with what is still in its log.
pub(crate) fn size(conn: &Connection) -> rusqlite::Result<u64> {
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    Ok(pages.unsigned_abs() * PAGE_BYTES)
}

/// Pages that are copied between two calls of `progress`.
const STEP_PAGES: i32 = 1024;
/// How long another process may lock the source in the middle of a copy.
const LOCKED_MAX: Duration = Duration::from_secs(10);

/// Makes `target` a copy of `source`, in a form that needs no files beside it:
/// it can be read from a read-only medium. Opening turns the log on again.
pub(crate) fn copy_database(
    source: &Connection,
    target: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), CopyError> {
    copy_pages(source, target, progress)?;
    target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    Ok(())
}

/// Copies page by page. The open read transaction keeps the source's snapshot:
/// without it each commit of another connection would start the copy over.
fn copy_pages(
    source: &Connection,
    target: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), CopyError> {
    let snapshot = source.unchecked_transaction()?;
    format::header(&snapshot)?;
    let backup = Backup::new(&snapshot, target)?;
    let mut moved = Instant::now();
    loop {
        let step = backup.step(STEP_PAGES)?;
        let pages = backup.progress();
        let total = u64::try_from(pages.pagecount).unwrap_or(0);
        progress(
            total.saturating_sub(u64::try_from(pages.remaining).unwrap_or(0)),
            total,
        );
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => moved = Instant::now(),
            _ if moved.elapsed() > LOCKED_MAX => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(rusqlite::Error::SqliteFailure(busy, None).into());
            }
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// A half-made file beside its later name; removed unless put in place.
pub(crate) struct Part {
    path: PathBuf,
}

impl Part {
    /// Makes an empty file that only its owner can read.
    pub(crate) fn create(target: &Path) -> Result<Self, CopyError> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = format::beside(target, &format!(".part-{}", std::process::id()));
        let part = Self { path };
        part.remove();
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part.path)
            .map_err(|source| io_error(target, source))?;
        Ok(part)
    }

    /// Opens the file for writing, for this process alone.
    pub(crate) fn open(&self, vfs: Option<&str>) -> rusqlite::Result<Connection> {
        let conn = connection::plain(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE, vfs)?;
        conn.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA mmap_size = 0; PRAGMA cache_size = -32768;",
        )?;
        Ok(conn)
    }

    /// Gives the file to whom the old one belongs, or the directory. Root
    /// restores what another user serves.
    pub(crate) fn give_to_owner_of(&self, target: &Path) {
        use std::os::unix::fs::{MetadataExt, chown};
        let like = std::fs::metadata(target);
        let like = like.or_else(|_| std::fs::metadata(directory_of(target)));
        if let Ok(like) = like {
            // Others than root can only keep it, which is right for them.
            let _ = chown(&self.path, Some(like.uid()), Some(like.gid()));
        }
    }

    /// Syncs the file and gives it its name. Every connection to it is closed.
    pub(crate) fn put_in_place(self, target: &Path, overwrite: bool) -> Result<(), CopyError> {
        let io = |source| io_error(target, source);
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .map_err(io)?;
        if overwrite {
            std::fs::rename(&self.path, target).map_err(io)?;
        } else {
            self.rename_new(target)?;
        }
        sync_directory_of(target).map_err(io)
    }

    fn rename_new(&self, target: &Path) -> Result<(), CopyError> {
        use rustix::io::Errno;
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(CopyError::Exists(target.into())),
            // Some file systems do not know the flag; whether the target exists
            // was looked at when the copy began.
            Err(Errno::INVAL | Errno::NOSYS) => {
                std::fs::rename(&self.path, target).map_err(|source| io_error(target, source))
            }
            Err(error) => Err(io_error(target, error.into())),
        }
    }

    fn remove(&self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // It is usually not there.
            let _ = std::fs::remove_file(format::beside(&self.path, suffix));
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Makes a new or renamed entry of the directory durable.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

pub(crate) fn io_error(path: &Path, source: io::Error) -> CopyError {
    CopyError::Io {
        path: path.into(),
        source,
    }
}

/// Whether SQLite found the file locked.
pub(crate) fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MIGRATIONS, TestFile, count_items, insert, value};
    use crate::{Settings, Sqlite};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_copy_under_load_is_one_moment_of_the_file() {
        let file = TestFile::new();
        let db = file.open();
        let fill = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 5000)
                    INSERT INTO item (data) SELECT randomblob(4000) FROM n";
        db.write(|tx| tx.conn().execute(fill, [])).await.unwrap();
        let writing = db.clone();
        let writer = tokio::spawn(async move {
            // Both rows or none: a copy that mixes moments has an odd number.
            loop {
                writing
                    .write(|tx| {
                        let add = "INSERT INTO item (data) VALUES (randomblob(2000))";
                        tx.conn().execute(add, [])?;
                        tx.conn().execute(add, [])
                    })
                    .await
                    .unwrap();
            }
        });
        let (copying, to) = (db.clone(), file.sibling("copy.db"));
        let target = to.clone();
        let steps = tokio::task::spawn_blocking(move || {
            let mut steps = Vec::new();
            copying
                .backup(&target, &mut |done, total| steps.push((done, total)))
                .unwrap();
            steps
        })
        .await
        .unwrap();
        writer.abort();
        assert!(steps.len() > 3 && steps.is_sorted());
        assert!(steps.last().is_some_and(|(done, total)| done == total));
        let copy = Sqlite::open(Settings::new(&to), MIGRATIONS).unwrap();
        assert_eq!(count_items(&copy).await % 2, 0);
        assert_eq!(copy.incarnation(), db.incarnation());
        let check = copy
            .read(|conn| Ok(value(conn, "PRAGMA integrity_check")))
            .await
            .unwrap();
        assert_eq!(check.as_deref(), Some("ok"));
    }

    #[tokio::test]
    async fn a_stopped_file_is_copied_and_nothing_is_overwritten() {
        let file = TestFile::new();
        let db = file.open();
        insert(&db, "a").await.unwrap().unwrap();
        assert!(db.close().await);
        let to = file.sibling("copy.db");
        backup(&file.path(), &to, &mut |_, _| {}).unwrap();
        let again = backup(&file.path(), &to, &mut |_, _| {});
        assert!(matches!(again, Err(CopyError::Exists(_))));
        let copy = Sqlite::open(Settings::new(&to), MIGRATIONS).unwrap();
        assert_eq!(count_items(&copy).await, 1);
    }

    #[tokio::test]
    async fn a_copy_that_fails_leaves_nothing_behind() {
        let file = TestFile::new();
        // Closed to the end: its last checkpoint is no moment to look at the file.
        assert!(file.open().close().await);
        let nowhere = file.sibling("none/copy.db");
        assert!(matches!(
            backup(&file.path(), &nowhere, &mut |_, _| {}),
            Err(CopyError::Io { .. })
        ));
        let text = file.sibling("text");
        std::fs::write(&text, "no database").unwrap();
        let to = file.sibling("copy.db");
        assert!(matches!(
            backup(&text, &to, &mut |_, _| {}),
            Err(CopyError::NotOurs(_))
        ));
        assert!(!to.exists());
    }
}
