//! What the tests of this crate share.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use tokio::task::JoinHandle;

use crate::{DbError, Migration, Settings, Sqlite};

pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "items",
    sql: "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB)",
    min_reader: 1,
}];

/// A database file in a directory of its own.
pub(crate) struct TestFile {
    directory: tempfile::TempDir,
}

impl TestFile {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.sibling("test.db")
    }

    pub(crate) fn sibling(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.path())
    }

    pub(crate) fn open(&self) -> Sqlite {
        Sqlite::open(self.settings(), MIGRATIONS).unwrap()
    }

    /// A connection that knows nothing of this crate.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// One that has read, and so knows of the log.
    pub(crate) fn connect_and_read(&self) -> Connection {
        let conn = self.connect();
        value(&conn, "PRAGMA schema_version");
        conn
    }

    pub(crate) fn names_in_directory(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Keeps the writer busy with a job until it is opened.
pub(crate) struct Gate {
    db: Sqlite,
    open: mpsc::SyncSender<()>,
}

impl Gate {
    pub(crate) async fn close(db: &Sqlite) -> Self {
        let (open, opened) = mpsc::sync_channel(1);
        let (reached, here) = tokio::sync::oneshot::channel();
        let mut reached = Some(reached);
        let blocked = db.clone();
        tokio::spawn(async move {
            // In the background, so that what is counted are groups.
            blocked
                .write_background(move |_| {
                    if let Some(reached) = reached.take() {
                        let _ = reached.send(());
                    }
                    let _ = opened.recv_timeout(Duration::from_secs(20));
                    Ok(())
                })
                .await
        });
        here.await.unwrap();
        Self {
            db: db.clone(),
            open,
        }
    }

    /// Waits until that many jobs wait for the writer.
    pub(crate) async fn waiting(&self, jobs: u64) {
        while self.db.metrics().write_queue_depth.load(Ordering::Relaxed) < jobs {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn open_when_waiting(self, jobs: u64) {
        self.waiting(jobs).await;
        let _ = self.open.send(());
    }
}

pub(crate) fn insert(db: &Sqlite, name: &str) -> JoinHandle<Result<usize, DbError>> {
    let (db, name) = (db.clone(), name.to_owned());
    tokio::spawn(async move {
        db.write(move |tx| {
            tx.conn()
                .execute("INSERT INTO item (name) VALUES (?1)", [&name])
        })
        .await
    })
}

pub(crate) async fn count_items(db: &Sqlite) -> i64 {
    db.read(|conn| conn.query_row("SELECT count(*) FROM item", [], |row| row.get(0)))
        .await
        .unwrap()
}

pub(crate) async fn names(db: &Sqlite) -> Vec<String> {
    db.read(|conn| {
        conn.prepare("SELECT name FROM item ORDER BY name")?
            .query_map([], |row| row.get(0))?
            .collect()
    })
    .await
    .unwrap()
}

/// The value of a pragma or of any query with one row and column.
pub(crate) fn value(conn: &Connection, sql: &str) -> Option<String> {
    conn.query_row(sql, [], |row| {
        row.get_ref(0).map(|value| match value {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => other.as_str().unwrap_or("?").to_owned(),
        })
    })
    .optional()
    .unwrap()
}
