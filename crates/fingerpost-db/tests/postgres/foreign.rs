//! Databases of other programs.

use fingerpost_db::postgres::{ForeignSnapshot, PostgresOpenError};
use fingerpost_testkit::PgBouncer;

use super::*;

/// A server with a table of so many rows that is not ours, and its URL.
fn foreign(rows: u32) -> (PostgresCluster, String) {
    let cluster = PostgresCluster::start().unwrap();
    let url = cluster.fresh_database().unwrap();
    let table = "CREATE TABLE other (id int PRIMARY KEY, name text)";
    let fill = format!("INSERT INTO other SELECT n, 'é' || n FROM generate_series(1, {rows}) n");
    cluster.sql("test_1", &format!("{table}; {fill}")).unwrap();
    (cluster, url)
}

/// Walks over the whole table, which has to hold the rows from 1 to the number
/// that this returns.
async fn walked(snapshot: &mut ForeignSnapshot) -> i64 {
    let select = "SELECT id::int8, name FROM other ORDER BY id";
    let mut rows = snapshot.walk(select).await.unwrap();
    let mut last = 0;
    while let Some(row) = rows.next().await.unwrap() {
        last += 1;
        assert_eq!(row.number(0).unwrap(), Some(last));
        let name = format!("é{last}");
        assert_eq!(row.text(1).unwrap(), Some(name.as_bytes()));
    }
    last
}

#[tokio::test]
async fn rows_are_those_of_one_moment_however_many_they_are() {
    let (cluster, url) = foreign(2000);
    let mut snapshot = ForeignSnapshot::open(settings(&url)).await.unwrap();
    assert_eq!(walked(&mut snapshot).await, 2000);
    cluster
        .sql("test_1", "INSERT INTO other VALUES (2001, 'é2001')")
        .unwrap();
    assert_eq!(walked(&mut snapshot).await, 2000);
    let mut later = ForeignSnapshot::open(settings(&url)).await.unwrap();
    assert_eq!(walked(&mut later).await, 2001);
}

#[tokio::test]
async fn nothing_can_be_written() {
    let (_cluster, url) = foreign(1);
    let snapshot = ForeignSnapshot::open(settings(&url)).await.unwrap();
    let refused = snapshot.query("DELETE FROM other RETURNING id").await;
    let error = refused.err();
    assert!(matches!(error, Some(PostgresError::ReadOnly)), "{error:?}");
}

#[tokio::test]
async fn a_pooler_and_a_replica_are_ways_too() {
    let (mut cluster, url) = foreign(1500);
    let pooler = PgBouncer::start(&cluster, 2).unwrap();
    for _ in 0..3 {
        let settings = settings(&pooler.url("test_1"));
        let mut snapshot = ForeignSnapshot::open(settings).await.unwrap();
        assert_eq!(walked(&mut snapshot).await, 1500);
    }
    cluster.be_replica().unwrap();
    let mut snapshot = ForeignSnapshot::open(settings(&url)).await.unwrap();
    assert_eq!(walked(&mut snapshot).await, 1500);
}

#[tokio::test]
async fn bytes_that_are_no_utf8_come_as_they_are() {
    let cluster = PostgresCluster::start().unwrap();
    cluster
        .sql(
            "postgres",
            "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0",
        )
        .unwrap();
    let settings = settings(&cluster.url("bytes"));
    let snapshot = ForeignSnapshot::open(settings).await.unwrap();
    let rows = snapshot.query(r"SELECT E'a\xff'::text, NULL::text").await;
    let rows = rows.unwrap();
    assert_eq!(rows[0].text(0).unwrap(), Some(&b"a\xff"[..]));
    assert_eq!(rows[0].text(1).unwrap(), None);
    assert!(rows[0].number(0).is_err());
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let (cluster, url) = foreign(1500);
    let mut settings = settings(&url);
    settings.statement_timeout = Duration::from_millis(200);
    let mut snapshot = ForeignSnapshot::open(settings).await.unwrap();
    let mut rows = snapshot.walk("SELECT 1::int8").await.unwrap();
    cluster.hang().unwrap();
    let error = rows.next().await.err();
    cluster.go_on().unwrap();
    assert!(matches!(error, Some(PostgresError::NoAnswer)), "{error:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let cluster = PostgresCluster::start().unwrap();
    let error = ForeignSnapshot::open(settings(&cluster.url("nowhere"))).await;
    let error = error.err().unwrap();
    assert!(error.to_string().ends_with("/nowhere cannot be reached"));
    let PostgresOpenError::Connect { source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.code(), Some("3D000"));
}
