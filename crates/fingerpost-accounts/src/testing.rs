//! A database of one test.

use std::sync::Arc;

use fingerpost_core::{ManualClock, PermissionSet, Timestamp};
use fingerpost_db::postgres::{Postgres, PostgresSettings};
use fingerpost_db::{Migration, Settings, Sqlite};
use fingerpost_testkit::PostgresCluster;

use crate::{AccountStore, Accounts, CREDENTIALS_SQL, Token};

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
    pub(crate) store: AccountStore,
    pub(crate) accounts: Accounts,
    pub(crate) clock: Arc<ManualClock>,
    db: Database,
}

enum Database {
    Sqlite {
        db: Sqlite,
        _directory: tempfile::TempDir,
    },
    Postgres(Postgres),
}

impl World {
    /// A fresh SQLite file.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(directory.path().join("test.db"));
        let db = Sqlite::open(settings, MIGRATIONS).unwrap();
        let database = Database::Sqlite {
            db: db.clone(),
            _directory: directory,
        };
        Self::over(db.into(), database)
    }

    /// A fresh database of a PostgreSQL.
    pub(crate) async fn on(cluster: &PostgresCluster) -> Self {
        const SCHEMA: &[Migration] = &[Migration {
            version: 1,
            name: "accounts",
            sql: crate::POSTGRES_SQL,
            min_reader: 1,
        }];
        let url = cluster.fresh_database().unwrap();
        let settings = PostgresSettings::from_url(&url).unwrap();
        let db = Postgres::open(settings, SCHEMA).await.unwrap();
        Self::over(db.clone().into(), Database::Postgres(db))
    }

    fn over(store: AccountStore, db: Database) -> Self {
        Self {
            accounts: Accounts::new(store.clone()),
            store,
            clock: Arc::new(ManualClock::new(Timestamp(1_800_000_000 * SECOND))),
            db,
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
        match &self.db {
            Database::Sqlite { db, .. } => {
                let renamed = db.write(move |tx| tx.conn().execute_batch(&sql));
                renamed.await.unwrap();
            }
            Database::Postgres(db) => {
                let renamed = db.transaction("rename", |tx| {
                    let sql = sql.clone();
                    async move { tx.batch(&sql).await }
                });
                renamed.await.unwrap();
            }
        }
    }

    pub(crate) async fn rows(&self, table: &'static str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        match &self.db {
            Database::Sqlite { db, .. } => {
                let rows = db.read(move |conn| conn.query_row(&sql, [], |row| row.get(0)));
                rows.await.unwrap()
            }
            Database::Postgres(db) => {
                let rows = db.read("rows", |session| {
                    let sql = sql.clone();
                    async move { session.query_one(&sql, &[]).await }
                });
                rows.await.unwrap().get(0)
            }
        }
    }
}

/// Makes tests of functions that take a [`World`]: one of each on SQLite, and one of
/// all on PostgreSQL, which takes seconds to start.
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::testing::World::new()).await;
            })+
        }

        #[tokio::test]
        async fn the_same_on_postgresql() {
            let cluster = fingerpost_testkit::PostgresCluster::start().unwrap();
            $(
                println!("{}", stringify!($name));
                $name(crate::testing::World::on(&cluster).await).await;
            )+
        }
    };
}
pub(crate) use on_each_store;
