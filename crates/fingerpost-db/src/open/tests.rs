//! New files, migrations and refusals.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::*;
use crate::Sqlite;
use crate::testing::{MIGRATIONS, TestFile, count_items, insert, names, value};

const NEXT: &[Migration] = &[
    MIGRATIONS[0],
    Migration {
        version: 2,
        name: "labels",
        sql: "ALTER TABLE item ADD COLUMN label TEXT; UPDATE item SET label = name;",
        min_reader: 1,
    },
];

const BREAKING: &[Migration] = &[
    MIGRATIONS[0],
    Migration {
        version: 2,
        name: "rename",
        sql: "ALTER TABLE item RENAME TO thing;",
        min_reader: 2,
    },
];

#[tokio::test]
async fn a_new_file_is_ours_and_private() {
    let file = TestFile::new();
    let db = file.open();
    let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    let conn = file.connect();
    for (pragma, expected) in [
        ("application_id", "1179677556"),
        ("journal_mode", "wal"),
        ("auto_vacuum", "2"),
        ("page_size", "4096"),
    ] {
        assert_eq!(
            value(&conn, &format!("PRAGMA {pragma}")).as_deref(),
            Some(expected)
        );
    }
    assert_ne!(db.incarnation(), [0; 16]);
    let incarnation = db.incarnation();
    assert!(db.close().await);
    assert_eq!(file.open().incarnation(), incarnation);
}

/// A power cut in the middle of a checkpoint: the first page tells of more
/// pages than the file has, and the log has them all.
#[tokio::test]
async fn a_file_that_only_its_log_makes_whole_is_opened() {
    let file = TestFile::new();
    let db = file.open();
    insert(&db, "large").await.unwrap().unwrap();
    db.write(|tx| {
        tx.conn()
            .execute("UPDATE item SET data = randomblob(100000)", [])
            .map(drop)
    })
    .await
    .unwrap();
    value(&file.connect_and_read(), "PRAGMA wal_checkpoint(PASSIVE)");
    let torn = TestFile::new();
    for suffix in ["", "-wal"] {
        std::fs::copy(beside(&file, suffix), beside(&torn, suffix)).unwrap();
    }
    let length = std::fs::metadata(torn.path()).unwrap().len();
    let main = OpenOptions::new().write(true).open(torn.path()).unwrap();
    main.set_len(length / 2 + 512).unwrap();
    let torn = torn.open();
    assert_eq!(names(&torn).await, ["large"]);
    let whole = torn.read(|conn| Ok(value(conn, "PRAGMA integrity_check")));
    assert_eq!(whole.await.unwrap().as_deref(), Some("ok"));
    drop(db);
}

fn beside(file: &TestFile, suffix: &str) -> std::path::PathBuf {
    format::beside(&file.path(), suffix)
}

#[tokio::test]
async fn every_connection_has_its_pragmas() {
    let file = TestFile::new();
    let db = file.open();
    let pragmas = |conn: &Connection| {
        let get = |name| value(conn, &format!("PRAGMA {name}")).unwrap();
        Ok([
            "synchronous",
            "wal_autocheckpoint",
            "foreign_keys",
            "cache_size",
        ]
        .map(get))
    };
    assert_eq!(db.read(pragmas).await.unwrap(), ["2", "0", "0", "-16384"]);
    assert_eq!(
        db.write(move |tx| pragmas(tx.conn())).await.unwrap(),
        ["2", "0", "0", "-32768"]
    );
    let read_only = db.read(|conn| conn.execute("DELETE FROM item", [])).await;
    assert!(read_only.is_err());
}

#[test]
fn many_may_make_the_same_file_at_once() {
    for _ in 0..5 {
        let file = TestFile::new();
        let barrier = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (settings, barrier) = (file.settings(), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    barrier.wait();
                    Sqlite::open(settings, NEXT).unwrap().incarnation()
                })
            })
            .collect();
        let ids: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}

#[tokio::test]
async fn a_migration_that_old_programs_survive_makes_no_copy() {
    let file = TestFile::new();
    let db = file.open();
    insert(&db, "a").await.unwrap().unwrap();
    assert!(db.close().await);
    let db = Sqlite::open(file.settings(), NEXT).unwrap();
    let label = db
        .read(|conn| Ok(value(conn, "SELECT label FROM item")))
        .await
        .unwrap();
    assert_eq!(label.as_deref(), Some("a"));
    assert!(db.close().await);
    assert_eq!(file.names_in_directory(), ["test.db"]);
    // The old program goes on with the new file.
    assert_eq!(names(&file.open()).await, ["a"]);
}

#[tokio::test]
async fn a_migration_that_shuts_old_programs_out_copies_the_file_first() {
    let file = TestFile::new();
    let db = file.open();
    insert(&db, "a").await.unwrap().unwrap();
    let migrated = Sqlite::open(file.settings(), BREAKING).unwrap();
    let refused = Sqlite::open(file.settings(), MIGRATIONS).err().unwrap();
    assert_eq!(
        refused.to_string(),
        format!(
            "{} has format version 2 and needs a program that knows version 2; this one knows \
             version 1: upgrade it, or restore an older backup",
            file.path().display()
        )
    );
    assert!(migrated.close().await);
    // Nor does an old one that runs already go on.
    let late = insert(&db, "b").await.unwrap();
    assert!(matches!(late, Err(crate::DbError::Superseded)));
    drop(db);
    let copy = file.sibling("test.db.before-migration-from-1");
    let old = Sqlite::open(Settings::new(copy), MIGRATIONS).unwrap();
    assert_eq!(count_items(&old).await, 1);
}

#[test]
fn a_failed_migration_changes_nothing() {
    let file = TestFile::new();
    drop(file.open());
    let broken = [
        NEXT[0],
        NEXT[1],
        Migration {
            version: 3,
            name: "broken",
            sql: "CREATE TABLE more (id); CREATE TABLE nonsense (",
            min_reader: 1,
        },
    ];
    let error = Sqlite::open(file.settings(), &broken).err().unwrap();
    assert!(matches!(error, OpenError::Migration { .. }), "{error}");
    let conn = file.connect();
    assert_eq!(
        value(&conn, "SELECT version FROM fingerpost").as_deref(),
        Some("1")
    );
    let tables = "SELECT count(*) FROM sqlite_master WHERE name = 'more'";
    assert_eq!(value(&conn, tables).as_deref(), Some("0"));
    assert_eq!(
        value(&conn, "SELECT count(*) FROM pragma_table_info('item')").as_deref(),
        Some("3")
    );
}

#[test]
fn a_released_step_that_changed_is_refused() {
    let file = TestFile::new();
    drop(file.open());
    let other = Migration {
        sql: "CREATE TABLE item (id)",
        ..MIGRATIONS[0]
    };
    let error = Sqlite::open(file.settings(), &[other, NEXT[1]])
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Migration { .. }), "{error}");
}

fn refusal(file: &TestFile) -> OpenError {
    let before = (std::fs::read(file.path()).ok(), file.names_in_directory());
    let error = Sqlite::open(file.settings(), MIGRATIONS).err().unwrap();
    assert_eq!(
        std::fs::read(file.path()).ok(),
        before.0,
        "the file is as it was"
    );
    assert_eq!(
        file.names_in_directory(),
        before.1,
        "nothing appeared beside it"
    );
    error
}

#[test]
fn a_reference_database_is_told_apart() {
    for table in ["unihashes_v3", "unihashes_v2", "tasks_v2"] {
        let file = TestFile::new();
        let conn = file.connect();
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; CREATE TABLE {table} (id)"
        ))
        .unwrap();
        conn.close().unwrap();
        assert!(matches!(
            refusal(&file),
            OpenError::ReferenceDatabase { .. }
        ));
    }
}

#[test]
fn a_reference_database_whose_tables_are_still_in_the_log_is_told_apart() {
    let file = TestFile::new();
    let conn = file.connect();
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE unihashes_v3 (id)")
        .unwrap();
    assert!(matches!(
        refusal(&file),
        OpenError::ReferenceDatabase { .. }
    ));
    conn.execute_batch("CREATE TABLE more (id)").unwrap();
}

#[test]
fn other_files_are_refused() {
    let file = TestFile::new();
    file.connect()
        .execute_batch("CREATE TABLE photos (id)")
        .unwrap();
    assert!(matches!(refusal(&file), OpenError::NotOurs { .. }));
    let file = TestFile::new();
    std::fs::write(
        file.path(),
        "a text that is long enough to be looked at ".repeat(50),
    )
    .unwrap();
    assert!(matches!(refusal(&file), OpenError::NotOurs { .. }));
    let file = TestFile::new();
    std::fs::write(file.path(), "short").unwrap();
    assert!(matches!(refusal(&file), OpenError::NotOurs { .. }));
}

#[test]
fn a_torn_page_that_the_log_repairs_is_no_reason_to_refuse() {
    let file = TestFile::new();
    let db = file.open();
    let log = std::fs::read(file.sibling("test.db-wal")).unwrap();
    let mut bytes = std::fs::read(file.path()).unwrap();
    drop(db);
    // The first page is in the log, since the migration changed it.
    bytes[..4096].fill(0x55);
    let other = TestFile::new();
    std::fs::write(other.path(), bytes).unwrap();
    std::fs::write(other.sibling("test.db-wal"), log).unwrap();
    drop(other.open());
}

#[test]
fn a_missing_directory_is_named() {
    let file = TestFile::new();
    let settings = Settings::new(file.sibling("none/test.db"));
    let error = Sqlite::open(settings, MIGRATIONS).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn a_file_that_was_cut_short_while_it_was_made_is_made_again() {
    let file = TestFile::new();
    std::fs::write(file.path(), [0; 8192]).unwrap();
    // What SQLite writes before the first page of a new file.
    let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    journal.extend([0; 4]);
    journal.extend([1, 2, 3, 4]);
    journal.extend([0; 4]);
    journal.extend(512_u32.to_be_bytes());
    journal.extend(4096_u32.to_be_bytes());
    journal.resize(512, 0);
    std::fs::write(file.sibling("test.db-journal"), journal).unwrap();
    assert_ne!(file.open().incarnation(), [0; 16]);
}

#[tokio::test]
async fn two_handles_on_one_file_see_each_other() {
    let file = TestFile::new();
    let (one, two) = (file.open(), file.open());
    assert_eq!(one.incarnation(), two.incarnation());
    let mut jobs = Vec::new();
    for n in 0..100 {
        jobs.push(insert(&one, &format!("one {n}")));
        jobs.push(insert(&two, &format!("two {n}")));
    }
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    assert_eq!(count_items(&one).await, 200);
    assert!(one.close().await);
    assert_eq!(count_items(&two).await, 200);
    assert!(two.close().await);
    assert_eq!(
        file.names_in_directory(),
        ["test.db"],
        "the log is gone with the last"
    );
}

#[tokio::test]
async fn a_closed_handle_has_finished_its_jobs_and_takes_no_more() {
    let file = TestFile::new();
    let db = file.open();
    let jobs: Vec<_> = (0..50).map(|n| insert(&db, &n.to_string())).collect();
    while db.metrics().jobs.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let clone = db.clone();
    assert!(db.close().await);
    let mut stored = 0;
    for job in jobs {
        match job.await.unwrap() {
            Ok(_) => stored += 1,
            Err(crate::DbError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let late = clone.write(|_| Ok(())).await;
    assert!(matches!(late, Err(crate::DbError::Closed)));
    let late = clone.read(|_| Ok(())).await;
    assert!(matches!(late, Err(crate::DbError::Closed)));
    assert_eq!(count_items(&file.open()).await, stored);
}

#[tokio::test]
async fn closing_cuts_long_reads_short() {
    let file = TestFile::new();
    let settings = Settings {
        close_timeout: Duration::from_secs(2),
        ..file.settings()
    };
    let db = Sqlite::open(settings, MIGRATIONS).unwrap();
    let reading = db.clone();
    let endless = tokio::spawn(async move {
        let sql =
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
        reading
            .read(|conn| conn.query_row(sql, [], |_| Ok(())))
            .await
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(db.close().await);
    assert!(endless.await.unwrap().is_err());
}

#[tokio::test]
async fn free_pages_go_back_to_the_file_system() {
    let file = TestFile::new();
    let db = file.open();
    let fill = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 300)
                INSERT INTO item (data) SELECT randomblob(4000) FROM n";
    db.write(|tx| tx.conn().execute(fill, [])).await.unwrap();
    db.write(|tx| tx.conn().execute("DELETE FROM item", []))
        .await
        .unwrap();
    let left = db.vacuum_step(100).await.unwrap();
    assert!(left > 100);
    let after = db.vacuum_step(100).await.unwrap();
    assert_eq!(left - after, 100);
    while db.vacuum_step(100).await.unwrap() > 0 {}
    assert!(db.close().await);
    assert!(std::fs::metadata(file.path()).unwrap().len() < 20 * 4096);
}

#[tokio::test]
async fn reads_are_answered_in_a_snapshot_when_asked() {
    let file = TestFile::new();
    let db = file.open();
    let count = |conn: &Connection| -> rusqlite::Result<i64> {
        conn.query_row("SELECT count(*) FROM item", [], |row| row.get(0))
    };
    let other = file.connect();
    let seen = db
        .read_snapshot(move |conn| {
            let before = count(conn)?;
            other.execute("INSERT INTO item (name) VALUES ('x')", [])?;
            Ok((before, count(conn)?))
        })
        .await
        .unwrap();
    assert_eq!(seen, (0, 0));
    assert_eq!(db.read(count).await.unwrap(), 1);
}

#[tokio::test]
async fn a_read_that_panics_is_an_error_and_the_reader_goes_on() {
    let file = TestFile::new();
    let db = Sqlite::open(
        Settings {
            readers: 1,
            ..file.settings()
        },
        MIGRATIONS,
    )
    .unwrap();
    let outcome = db
        .read_snapshot(|_| -> rusqlite::Result<()> { panic!("on purpose") })
        .await;
    assert!(matches!(outcome, Err(crate::DbError::Panicked(_))));
    assert_eq!(count_items(&db).await, 0);
    db.read_snapshot(|_| Ok(())).await.unwrap();
}
