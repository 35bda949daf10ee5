//! Where worlds get their databases: files, or a PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_db::postgres::{Postgres, PostgresSettings};
use fingerpost_db::{Settings, Sqlite};
use fingerpost_hashequiv::{Database, postgres, sqlite};
use fingerpost_testkit::PostgresCluster;
use parking_lot::Mutex;

/// Where databases are made. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Place {
    /// A SQLite file in a directory of its own for each.
    Files,
    /// A database of a PostgreSQL for each.
    Cluster(Arc<Cluster>),
}

/// A PostgreSQL with a migrated database that others are copies of.
pub(crate) struct Cluster {
    server: Mutex<PostgresCluster>,
    template: String,
}

/// One database, and a handle of it. Clones share both.
#[derive(Clone)]
pub(crate) enum Base {
    Sqlite {
        db: Sqlite,
        directory: Arc<tempfile::TempDir>,
    },
    Postgres {
        db: Postgres,
        home: Arc<Home>,
    },
}

/// A database of a cluster, which goes with this value.
pub(crate) struct Home {
    cluster: Arc<Cluster>,
    url: String,
}

impl Place {
    pub(crate) async fn cluster() -> Self {
        let server = PostgresCluster::start().unwrap();
        let url = server.fresh_database().unwrap();
        let settings = PostgresSettings::from_url(&url).unwrap();
        let template = name_in(&url).to_owned();
        Postgres::open(settings, postgres::MIGRATIONS)
            .await
            .unwrap()
            .close();
        // A database that somebody is connected to cannot be copied.
        let close = format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false");
        server.sql("postgres", &close).unwrap();
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = ";
        let end = format!("{end}'{template}'");
        server.sql("postgres", &end).unwrap();
        Self::Cluster(Arc::new(Cluster {
            server: Mutex::new(server),
            template,
        }))
    }

    /// Does something to the server of a cluster.
    pub(crate) fn server<E: std::fmt::Debug>(
        &self,
        work: impl FnOnce(&mut PostgresCluster) -> Result<(), E>,
    ) {
        match self {
            Self::Cluster(cluster) => work(&mut cluster.server.lock()).unwrap(),
            Self::Files => panic!("this is about PostgreSQL"),
        }
    }

    /// A handle of a new database.
    pub(crate) async fn fresh(&self) -> Base {
        match self {
            Self::Files => Base::in_directory(Arc::new(tempfile::tempdir().unwrap())),
            Self::Cluster(cluster) => {
                let home = Home {
                    url: cluster.copy_of_template(),
                    cluster: Arc::clone(cluster),
                };
                Base::at_home(Arc::new(home)).await
            }
        }
    }
}

impl Cluster {
    fn copy_of_template(&self) -> String {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COPIES: AtomicU64 = AtomicU64::new(0);
        let name = format!("copy_{}", COPIES.fetch_add(1, Ordering::Relaxed));
        let server = self.server.lock();
        let create = format!("CREATE DATABASE {name} TEMPLATE {}", self.template);
        server.sql("postgres", &create).unwrap();
        server.url(&name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The server may be as the test has left it, and not answer.
            return;
        }
        let drop = format!("DROP DATABASE {} WITH (FORCE)", name_in(&self.url));
        // It may not run any more.
        _ = self.cluster.server.lock().sql("postgres", &drop);
    }
}

fn name_in(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

impl Base {
    /// The file of tests that want to name it.
    pub(crate) fn in_directory(directory: Arc<tempfile::TempDir>) -> Self {
        Self::of_file(directory, "test.fingerpost", sqlite::MIGRATIONS.len())
    }

    /// A file as a program opens it that knows so many versions of the schema.
    pub(crate) fn of_file(directory: Arc<tempfile::TempDir>, name: &str, versions: usize) -> Self {
        let settings = Settings::new(directory.path().join(name));
        let db = Sqlite::open(settings, &sqlite::MIGRATIONS[..versions]).unwrap();
        Self::Sqlite { db, directory }
    }

    async fn at_home(home: Arc<Home>) -> Self {
        Self::with_settings(home, |_| ()).await
    }

    /// A handle with other limits than the usual ones.
    pub(crate) async fn with_settings(
        home: Arc<Home>,
        change: impl FnOnce(&mut PostgresSettings),
    ) -> Self {
        let mut settings = PostgresSettings::from_url(&home.url).unwrap();
        settings.connections_max = 4;
        change(&mut settings);
        let db = Postgres::open(settings, postgres::MIGRATIONS).await;
        Self::Postgres {
            db: db.unwrap(),
            home,
        }
    }

    /// Another handle of the same database, as another process would have it.
    pub(crate) async fn again(&self) -> Self {
        match self {
            Self::Sqlite { directory, .. } => Self::in_directory(Arc::clone(directory)),
            Self::Postgres { home, .. } => Self::at_home(Arc::clone(home)).await,
        }
    }

    pub(crate) fn database(&self) -> Database {
        match self {
            Self::Sqlite { db, .. } => db.clone().into(),
            Self::Postgres { db, .. } => db.clone().into(),
        }
    }

    /// What only SQLite has.
    pub(crate) fn sqlite(&self) -> (&Sqlite, &Arc<tempfile::TempDir>) {
        match self {
            Self::Sqlite { db, directory } => (db, directory),
            Self::Postgres { .. } => panic!("this is about a file"),
        }
    }

    pub(crate) fn into_sqlite(self) -> (Sqlite, Arc<tempfile::TempDir>) {
        match self {
            Self::Sqlite { db, directory } => (db, directory),
            Self::Postgres { .. } => panic!("this is about a file"),
        }
    }

    /// What only PostgreSQL has.
    pub(crate) fn postgres(&self) -> (&Postgres, &Arc<Home>) {
        match self {
            Self::Postgres { db, home } => (db, home),
            Self::Sqlite { .. } => panic!("this is about PostgreSQL"),
        }
    }

    /// How long what another instance deleted may be answered.
    pub(crate) const fn promise(&self) -> Duration {
        match self {
            Self::Sqlite { .. } => Duration::from_millis(100),
            Self::Postgres { .. } => Duration::from_secs(1),
        }
    }

    /// The rows of a query with one column of text, in the words of each store.
    pub(crate) async fn lines(&self, sqlite: &'static str, postgres: &'static str) -> Vec<String> {
        match self {
            Self::Sqlite { db, .. } => {
                let lines = move |conn: &rusqlite::Connection| {
                    let mut statement = conn.prepare(sqlite)?;
                    let lines = statement.query_map([], |row| row.get(0))?;
                    lines.collect::<rusqlite::Result<Vec<String>>>()
                };
                db.read(lines).await.unwrap()
            }
            Self::Postgres { db, .. } => {
                let lines = db.read("lines", |session| async move {
                    session.query(postgres, &[]).await
                });
                lines.await.unwrap().iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// The number that a query finds, which is text as well.
    pub(crate) async fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(
        &self,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> T {
        let lines = self.lines(sqlite, postgres).await;
        assert_eq!(lines.len(), 1);
        lines[0].parse().unwrap()
    }

    /// Runs statements, in the words of each store.
    pub(crate) async fn execute(&self, sqlite: &str, postgres: &str) {
        let (sqlite, postgres) = (sqlite.to_owned(), postgres.to_owned());
        match self {
            Self::Sqlite { db, .. } => {
                let done = db.write(move |tx| tx.conn().execute_batch(&sqlite));
                done.await.unwrap();
            }
            Self::Postgres { db, .. } => {
                let done = db.transaction("execute", |tx| {
                    let sql = postgres.clone();
                    async move { tx.batch(&sql).await }
                });
                done.await.unwrap();
            }
        }
    }

    /// Has PostgreSQL count its rows, which it does by itself within a minute or so; its
    /// plans for small tables that were never counted are slow.
    pub(crate) async fn analyze(&self) {
        self.execute("", "ANALYZE mapping; ANALYZE output").await;
    }

    /// Has PostgreSQL make the room of deleted rows free, which it does by itself too.
    pub(crate) fn vacuum(&self) {
        let (_, home) = self.postgres();
        let server = home.cluster.server.lock();
        server.sql(name_in(&home.url), "VACUUM").unwrap();
    }
}

/// Makes tests of functions that take a [`Place`]: one of each on SQLite, and one of
/// all on PostgreSQL, which takes seconds to start.
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::place::Place::Files).await;
            })+
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn the_same_on_postgresql() {
            let place = $crate::place::Place::cluster().await;
            let mut failed = Vec::new();
            $(
                let began = std::time::Instant::now();
                if tokio::spawn($name(place.clone())).await.is_err() {
                    failed.push(stringify!($name));
                }
                println!("{}: {:.1?}", stringify!($name), began.elapsed());
            )+
            assert!(failed.is_empty(), "{failed:?}");
        }
    };
}
pub(crate) use on_each_store;
