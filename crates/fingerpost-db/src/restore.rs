//! Putting a backup in the place of a database.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, fcntl_lock};

use crate::connection;
use crate::copy::{self, CopyError, Part, io_error, is_locked};
use crate::format;

/// Copies the backup `from` to `target`, checks the copy, and gives it a new
/// incarnation id, so that nothing remembered from its old life is believed.
/// `progress` gets the pages copied and the pages in all.
///
/// The target appears complete and on disk, or stays as it was. An existing one
/// is replaced only when `overwrite` is set, and never while a process has it
/// open.
///
/// # Errors
///
/// See [`CopyError`].
pub fn restore(
    from: &Path,
    target: &Path,
    overwrite: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), CopyError> {
    let target = &*std::path::absolute(target).map_err(|source| io_error(target, source))?;
    if !overwrite && target.exists() {
        return Err(CopyError::Exists(target.into()));
    }
    let source = copy::open_source(from)?;
    let part = Part::create(target)?;
    let mut restored = part.open(None)?;
    copy::copy_database(&source, &mut restored, progress)?;
    drop(source);
    check(&restored, from)?;
    begin_new_life(&restored)?;
    restored.close().map_err(|(_, error)| error)?;
    part.give_to_owner_of(target);
    let lock = if target.exists() {
        clear(target)?
    } else {
        remove_companions(target)?;
        Lock::None
    };
    part.put_in_place(target, overwrite)?;
    drop(lock);
    Ok(())
}

fn check(conn: &Connection, from: &Path) -> Result<(), CopyError> {
    let finding: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding == "ok" {
        return Ok(());
    }
    Err(CopyError::Damaged {
        path: from.into(),
        finding,
    })
}

fn begin_new_life(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE fingerpost SET incarnation = randomblob(16)", [])?;
    // Whoever held them worked on another file.
    conn.execute("DELETE FROM lease", [])?;
    Ok(())
}

/// What keeps others from opening the old file until the new one has its name.
enum Lock {
    None,
    #[expect(dead_code, reason = "held, not used")]
    Database(Connection),
    #[expect(dead_code, reason = "held, not used")]
    File(File),
}

/// Makes sure that nobody uses the old file, and removes its companions: a log
/// that stayed behind would be played into the new file.
fn clear(target: &Path) -> Result<Lock, CopyError> {
    let lock = match lock_database(target) {
        Ok(conn) => Lock::Database(conn),
        Err(error) if is_locked(&error) => return Err(CopyError::InUse(target.into())),
        // Damaged, which may be why it is replaced.
        Err(_) => Lock::File(lock_file(target)?),
    };
    remove_companions(target)?;
    Ok(lock)
}

/// Leaving WAL mode needs the file to oneself, and empties the log.
fn lock_database(target: &Path) -> rusqlite::Result<Connection> {
    let conn = connection::plain(target, OpenFlags::SQLITE_OPEN_READ_WRITE, None)?;
    conn.busy_timeout(Duration::from_millis(100))?;
    conn.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    conn.execute_batch("BEGIN EXCLUSIVE")?;
    Ok(conn)
}

/// SQLite's locks are locks on byte ranges: a lock on all bytes meets them.
fn lock_file(target: &Path) -> Result<File, CopyError> {
    let io = |source| io_error(target, source);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(target)
        .map_err(io)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            Err(CopyError::InUse(target.into()))
        }
        Err(error) => Err(io(error.into())),
    }
}

fn remove_companions(target: &Path) -> Result<(), CopyError> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let path = format::beside(target, suffix);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&path, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::testing::{MIGRATIONS, TestFile, insert, names};
    use crate::{Settings, Sqlite};

    /// A file with the row `new`, and its backup with the row `old`.
    async fn file_and_backup() -> (TestFile, PathBuf, Sqlite) {
        let file = TestFile::new();
        let db = file.open();
        insert(&db, "old").await.unwrap().unwrap();
        let copy = file.sibling("copy.db");
        db.backup(&copy, &mut |_, _| {}).unwrap();
        db.write(|tx| tx.conn().execute("UPDATE item SET name = 'new'", []))
            .await
            .unwrap();
        (file, copy, db)
    }

    fn restore_to(from: &Path, to: &Path, overwrite: bool) -> Result<(), CopyError> {
        restore(from, to, overwrite, &mut |_, _| {})
    }

    #[tokio::test]
    async fn a_restored_file_begins_a_new_life() {
        let (file, copy, db) = file_and_backup().await;
        let target = file.sibling("restored.db");
        restore_to(&copy, &target, false).unwrap();
        let restored = Sqlite::open(Settings::new(&target), MIGRATIONS).unwrap();
        assert_eq!(names(&restored).await, ["old"]);
        assert_ne!(restored.incarnation(), db.incarnation());
        assert!(restored.close().await);
        assert!(db.close().await);
        assert_eq!(
            file.names_in_directory(),
            ["copy.db", "restored.db", "test.db"]
        );
    }

    #[tokio::test]
    async fn a_file_is_replaced_only_on_demand_and_when_unused() {
        let (file, copy, db) = file_and_backup().await;
        let target = file.path();
        assert!(matches!(
            restore_to(&copy, &target, false),
            Err(CopyError::Exists(_))
        ));
        assert!(matches!(
            restore_to(&copy, &target, true),
            Err(CopyError::InUse(_))
        ));
        assert_eq!(names(&db).await, ["new"]);
        insert(&db, "more").await.unwrap().unwrap();
        assert!(db.close().await);
        restore_to(&copy, &target, true).unwrap();
        assert_eq!(names(&file.open()).await, ["old"]);
    }

    #[tokio::test]
    async fn a_log_that_was_left_behind_is_not_played_into_the_restored_file() {
        let (file, copy, db) = file_and_backup().await;
        let left = file.sibling("test.db-wal");
        let log = std::fs::read(&left).unwrap();
        assert!(db.close().await);
        std::fs::write(&left, &log).unwrap();
        restore_to(&copy, &file.path(), true).unwrap();
        assert_eq!(names(&file.open()).await, ["old"]);

        let elsewhere = file.sibling("other.db");
        std::fs::write(file.sibling("other.db-wal"), &log).unwrap();
        restore_to(&copy, &elsewhere, false).unwrap();
        let restored = Sqlite::open(Settings::new(&elsewhere), MIGRATIONS).unwrap();
        assert_eq!(names(&restored).await, ["old"]);
    }

    #[tokio::test]
    async fn a_damaged_target_can_be_replaced_and_a_damaged_backup_is_refused() {
        let (file, copy, db) = file_and_backup().await;
        assert!(db.close().await);
        std::fs::write(file.path(), [7; 10_000]).unwrap();
        restore_to(&copy, &file.path(), true).unwrap();
        assert_eq!(names(&file.open()).await, ["old"]);

        let mut bytes = std::fs::read(&copy).unwrap();
        let end = bytes.len();
        bytes[end - 3 * 4096..].fill(0xff);
        std::fs::write(&copy, bytes).unwrap();
        let target = file.sibling("restored.db");
        let error = restore_to(&copy, &target, false).unwrap_err();
        assert!(
            matches!(error, CopyError::Damaged { .. } | CopyError::Sqlite(_)),
            "{error}"
        );
        assert!(!target.exists());
        assert!(
            !file
                .names_in_directory()
                .iter()
                .any(|name| name.contains("part"))
        );
    }
}
