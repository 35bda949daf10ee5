//! The base of a PostgreSQL store against real servers.

mod basics;
mod chaos;
mod conflicts;
mod foreign;
mod leases;
mod losses;
mod opening;
mod polling;
mod pooler;
mod tls;

use std::time::{Duration, Instant};

use fingerpost_db::Migration;
use fingerpost_db::postgres::{Postgres, PostgresError, PostgresSettings};
use fingerpost_testkit::PostgresCluster;

/// Longest wait for something that happens soon.
const SOON: Duration = Duration::from_secs(20);

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "items",
    sql: "CREATE TABLE item (id int8 PRIMARY KEY, name text NOT NULL UNIQUE, data bytea);
          CREATE TABLE total (id int8 PRIMARY KEY, value int8 NOT NULL);
          INSERT INTO total VALUES (1, 0), (2, 0)",
    min_reader: 1,
}];

/// A server with an open database.
struct World {
    cluster: PostgresCluster,
    url: String,
    db: Postgres,
}

impl World {
    async fn new() -> Self {
        let cluster = PostgresCluster::start().unwrap();
        let url = cluster.fresh_database().unwrap();
        let db = open(&url).await;
        Self { cluster, url, db }
    }

    /// What SQL says in the database, by another way than ours.
    fn sql(&self, sql: &str) -> String {
        self.cluster.sql("test_1", sql).unwrap()
    }
}

fn settings(url: &str) -> PostgresSettings {
    let mut settings = PostgresSettings::from_url(url).unwrap();
    settings.statement_timeout = Duration::from_secs(3);
    settings
}

async fn open(url: &str) -> Postgres {
    Postgres::open(settings(url), MIGRATIONS).await.unwrap()
}

async fn insert(db: &Postgres, id: i64) -> Result<u64, PostgresError> {
    db.transaction("insert", |tx| async move {
        let name = format!("item {id}");
        tx.execute("INSERT INTO item (id, name) VALUES ($1, $2)", &[&id, &name])
            .await
    })
    .await
}

async fn count_items(db: &Postgres) -> Result<i64, PostgresError> {
    db.read("count", |session| async move {
        let row = session.query_one("SELECT count(*) FROM item", &[]).await?;
        Ok(row.get(0))
    })
    .await
}

/// Waits until it is so, within a limit.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
