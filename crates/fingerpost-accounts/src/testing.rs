//! A database of one test.

use std::sync::Arc;

use fingerpost_core::{ManualClock, PermissionSet, Timestamp};
use fingerpost_db::{Migration, Settings, Sqlite};

use crate::{Accounts, CREDENTIALS_SQL, Token};

/// The first is what databases were before there were credentials.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "schema",
        sql: include_str!("../../fingerpost-hashequiv/src/sqlite/schema.sql"),
        min_reader: 1,
    },
    Migration {
        version: 2,
        name: "credentials",
        sql: CREDENTIALS_SQL,
        min_reader: 1,
    },
];

/// A second, as clocks count it.
pub(crate) const SECOND: i64 = 1_000_000;

pub(crate) struct World {
    _directory: tempfile::TempDir,
    pub(crate) db: Sqlite,
    pub(crate) accounts: Accounts,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(directory.path().join("test.db"));
        let db = Sqlite::open(settings, MIGRATIONS).unwrap();
        Self {
            _directory: directory,
            accounts: Accounts::new(db.clone()),
            db,
            clock: Arc::new(ManualClock::new(Timestamp(1_800_000_000 * SECOND))),
        }
    }

    pub(crate) async fn user(&self, name: &str, permissions: PermissionSet) -> Token {
        self.accounts
            .create(name, permissions)
            .await
            .unwrap()
            .unwrap()
    }

    /// Takes a table away, or gives it back.
    pub(crate) async fn rename(&self, from: &'static str, to: &'static str) {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        let renamed = self.db.write(move |tx| tx.conn().execute_batch(&sql));
        renamed.await.unwrap();
    }

    pub(crate) async fn rows(&self, table: &'static str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows = self
            .db
            .read(move |conn| conn.query_row(&sql, [], |row| row.get(0)));
        rows.await.unwrap()
    }
}
