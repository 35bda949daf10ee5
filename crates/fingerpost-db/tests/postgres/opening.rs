//! What is opened, what is refused, and the schema.

use fingerpost_db::postgres::PostgresOpenError;

use super::*;

/// A second version; version 1 of the program can go on, or not.
fn newer(min_reader: u32) -> Vec<Migration> {
    let mut migrations = MIGRATIONS.to_vec();
    migrations.push(Migration {
        version: 2,
        name: "sizes",
        sql: "ALTER TABLE item ADD COLUMN size int8",
        min_reader,
    });
    migrations
}

/// Opens it so many times at once.
async fn open_at_once(url: &str, migrations: &'static [Migration]) -> Vec<Postgres> {
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let settings = settings(url);
            tokio::spawn(async move { Postgres::open(settings, migrations).await.unwrap() })
        })
        .collect();
    let mut opened = Vec::new();
    for each in opening {
        opened.push(each.await.unwrap());
    }
    opened
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_make_the_tables_once() {
    let cluster = PostgresCluster::start().unwrap();
    let url = cluster.fresh_database().unwrap();
    let opened = open_at_once(&url, MIGRATIONS).await;
    let incarnation = opened[0].incarnation();
    assert!(opened.iter().all(|db| db.incarnation() == incarnation));
    let header = cluster.sql("test_1", "SELECT version, min_reader FROM fingerpost");
    assert_eq!(header.unwrap(), "1|1");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_migrate_once() {
    const SECOND: &[Migration] = &[
        MIGRATIONS[0],
        // Could be run twice without an error.
        Migration {
            version: 2,
            name: "step",
            sql: "SELECT pg_sleep(0.2); UPDATE total SET value = value + 1",
            min_reader: 1,
        },
    ];
    let world = World::new().await;
    open_at_once(&world.url, SECOND).await;
    assert_eq!(world.sql("SELECT max(value) FROM total"), "1");
    assert_eq!(world.sql("SELECT version FROM fingerpost"), "2");
}

#[tokio::test]
async fn an_older_program_works_while_it_may() {
    let world = World::new().await;
    Postgres::open(settings(&world.url), &newer(1))
        .await
        .unwrap();
    insert(&world.db, 1).await.unwrap();
    insert(&open(&world.url).await, 2).await.unwrap();

    let mut third = newer(1);
    third.push(Migration {
        version: 3,
        name: "names",
        sql: "ALTER TABLE item RENAME COLUMN name TO label",
        min_reader: 3,
    });
    Postgres::open(settings(&world.url), &third).await.unwrap();
    let late = insert(&world.db, 3).await;
    assert!(matches!(late, Err(PostgresError::Superseded)), "{late:?}");
    let error = Postgres::open(settings(&world.url), &newer(1)).await;
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("needs a program that knows version 3"),
        "{error}"
    );
}

#[tokio::test]
async fn a_migration_that_fails_leaves_everything_as_it_was() {
    let world = World::new().await;
    let mut broken = newer(2);
    broken.push(Migration {
        version: 3,
        name: "broken",
        sql: "CREATE TABLE other (id int8); SELECT 1/0",
        min_reader: 3,
    });
    let error = Postgres::open(settings(&world.url), &broken).await.err();
    let is_third = matches!(error, Some(PostgresOpenError::Migration { version: 3, .. }));
    assert!(is_third, "{error:?}");
    assert_eq!(
        world.sql("SELECT version, min_reader FROM fingerpost"),
        "1|1"
    );
    assert_eq!(world.sql("SELECT to_regclass('other') IS NULL"), "t");
    insert(&world.db, 1).await.unwrap();
}

#[tokio::test]
async fn asynchronous_commits_have_to_be_allowed() {
    let cluster = PostgresCluster::start_with(&["fsync=off", "synchronous_commit=off"]).unwrap();
    let url = cluster.fresh_database().unwrap();
    let mut settings = settings(&url);
    let refused = Postgres::open(settings.clone(), MIGRATIONS).await.err();
    let refused = refused.unwrap().to_string();
    assert!(refused.contains("synchronous_commit = off"), "{refused}");
    settings.allow_asynchronous_commit = true;
    let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
    insert(&db, 1).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let cluster = PostgresCluster::start().unwrap();
    let url = cluster.fresh_database().unwrap();
    cluster
        .sql("test_1", "CREATE TABLE unihashes_v3 (id int)")
        .unwrap();
    let refused = Postgres::open(settings(&url), MIGRATIONS).await.err();
    let is_reference = matches!(refused, Some(PostgresOpenError::ReferenceDatabase { .. }));
    assert!(is_reference, "{refused:?}");
    assert_eq!(
        cluster
            .sql(
                "test_1",
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            )
            .unwrap(),
        "1"
    );

    let missing = Postgres::open(settings(&cluster.url("nowhere")), MIGRATIONS)
        .await
        .err();
    let text = missing.unwrap().to_string();
    assert!(text.ends_with("/nowhere cannot be reached"), "{text}");
    let mut nobody = settings("postgresql://127.0.0.1:1/d");
    nobody.acquire_timeout = Duration::from_millis(300);
    let nobody = Postgres::open(nobody, MIGRATIONS).await.err();
    let is_lost = matches!(
        nobody,
        Some(PostgresOpenError::Connect {
            source: PostgresError::Lost(_),
            ..
        })
    );
    assert!(is_lost, "{nobody:?}");
}

#[tokio::test]
async fn a_socket_is_a_way_too() {
    let cluster = PostgresCluster::start().unwrap();
    let url = format!(
        "postgresql:///postgres?host={}&port={}&user=postgres",
        cluster.socket_directory().display(),
        cluster.port()
    );
    insert(&open(&url).await, 1).await.unwrap();
}
