//! Moving in from the reference's database in PostgreSQL, by the program itself.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_testkit::{Certificates, PgBouncer, PostgresCluster, TestFarm, memory_bytes};
use rusqlite::Connection;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::moving::{fingerpost, succeed};
use crate::world::farm;

/// The tables as the reference has SQLAlchemy make them.
const TABLES: &str = "
    CREATE TABLE unihashes_v3 (id SERIAL PRIMARY KEY, method TEXT NOT NULL,
        taskhash TEXT NOT NULL, unihash TEXT NOT NULL, gc_mark TEXT NOT NULL,
        UNIQUE (method, taskhash));
    CREATE TABLE outhashes_v2 (id SERIAL PRIMARY KEY, method TEXT NOT NULL,
        taskhash TEXT NOT NULL, outhash TEXT NOT NULL, created TIMESTAMP WITHOUT TIME ZONE,
        owner TEXT, \"PN\" TEXT, \"PV\" TEXT, \"PR\" TEXT, task TEXT, outhash_siginfo TEXT,
        UNIQUE (method, taskhash, outhash));
    CREATE TABLE users (id SERIAL PRIMARY KEY, username TEXT NOT NULL, token TEXT NOT NULL,
        permissions TEXT, UNIQUE (username));
    CREATE TABLE config (id SERIAL PRIMARY KEY, name TEXT NOT NULL, value TEXT, UNIQUE (name));
    CREATE INDEX taskhash_lookup_v4 ON unihashes_v3 (method, taskhash);
    CREATE INDEX outhash_lookup_v3 ON outhashes_v2 (method, outhash);
    CREATE INDEX config_lookup ON config (name);
    CREATE FUNCTION hash(text, int) RETURNS text LANGUAGE sql IMMUTABLE AS
        'SELECT encode(sha256(convert_to($1 || $2, ''UTF8'')), ''hex'')';";

/// As `hash` in the database.
fn hash(kind: &str, number: u32) -> String {
    hex(&format!("{kind}{number}"))
}

fn hex(text: &str) -> String {
    let bytes = Sha256::digest(text);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A farm beside a server with a reference database, `test_1`, of so many tasks
/// with listings of so many bytes.
fn world(rows: u32, listing_bytes: u32) -> Result<(TestFarm, PostgresCluster)> {
    let cluster = PostgresCluster::start()?;
    cluster.fresh_database()?;
    cluster.sql("test_1", TABLES)?;
    cluster.sql(
        "test_1",
        &format!(
            "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
             SELECT 'm', hash('t', n), hash('u', n), CASE n % 4 WHEN 0 THEN 'K' ELSE '' END
               FROM generate_series(1, {rows}) n;
             INSERT INTO outhashes_v2 (method, taskhash, outhash, created, owner, \"PN\", \"PV\",
                 \"PR\", task, outhash_siginfo)
             SELECT 'm', hash('t', n), hash('o', n / 2),
                    timestamp '2024-05-01 12:30:00' - n * interval '0.25 second', 'me', 'zlib',
                    '1.3', 'r0', 'package', 'ä: ' || repeat(hash('s', n), {listing_bytes} / 64)
               FROM generate_series(1, {rows}) n;
             INSERT INTO config (name, value) VALUES ('gc-mark', 'K')"
        ),
    )?;
    Ok((farm(), cluster))
}

/// A URL with a password, which no output may show.
fn secret_url(cluster: &PostgresCluster, database: &str) -> String {
    let url = cluster.url(database);
    url.replace("postgresql://postgres@", "postgres://postgres:s3cret@")
}

#[tokio::test]
async fn what_is_imported_is_served() -> Result<()> {
    let (farm, cluster) = world(2000, 2000)?;
    let digest = hex("0011223344556677secret");
    cluster.sql(
        "test_1",
        &format!(
            "INSERT INTO users (username, token, permissions)
             VALUES ('bob', 'sha256:0011223344556677:{digest}', '@read @report'),
                    ('eve', 'sha256:00:11', NULL)"
        ),
    )?;
    let name = format!("postgresql://127.0.0.1:{}/test_1", cluster.port());
    let words = [
        "import",
        &secret_url(&cluster, "test_1"),
        "--into",
        "moved.db",
    ];
    let said = succeed(&farm, &words)?;
    let first = format!("Imported {name} into moved.db\n");
    ensure!(
        said.starts_with(&first) && !said.contains("s3cret"),
        "{said}"
    );
    for line in [
        "tables     unihashes_v3 (2024)",
        "unihashes  2000 read, 2000 taken",
        "outputs    2000 read, 2000 taken",
        "users      2 read, 2 taken",
        "the collection \"K\" is running",
    ] {
        ensure!(said.contains(line), "{said}");
    }

    let server = farm
        .server()
        .database(farm.path("moved.db"))
        .start()
        .await?;
    let mut bob = server.login("bob", "secret").await?;
    let unihash = bob.unihash("m", &hash("t", 7)).await?;
    ensure!(unihash == Some(hash("u", 7)), "{unihash:?}");
    // Of the two tasks with this output, the second is the older one.
    let question = json!({"get-outhash": {"method": "m", "outhash": hash("o", 4),
        "taskhash": "x", "with_unihash": true}});
    let oldest = bob.ask(question).await?;
    ensure!(oldest["taskhash"] == hash("t", 9), "{oldest}");
    ensure!(
        oldest["created"] == "2024-05-01 12:29:57.750000",
        "{oldest}"
    );
    ensure!(oldest["PN"] == "zlib", "{oldest}");
    server.stop().await?;
    Ok(())
}

#[test]
fn every_row_comes_back_by_an_export() -> Result<()> {
    let (farm, cluster) = world(2000, 500)?;
    let user = "INSERT INTO users (username, token, permissions) VALUES ('eve', 'a:b:c', NULL)";
    cluster.sql("test_1", user)?;
    let url = secret_url(&cluster, "test_1");
    succeed(&farm, &["import", &url, "--into", "moved.db"])?;
    succeed(&farm, &["export", "moved.db", "--to", "back.db"])?;
    let back = Connection::open(farm.path("back.db"))?;
    let time = "to_char(created, 'YYYY-MM-DD HH24:MI:SS.US')";
    for (table, columns) in [
        ("unihashes_v3", "method||taskhash||unihash||gc_mark"),
        (
            "outhashes_v2",
            "created||method||taskhash||outhash||owner||\"PN\"||\"PV\"||\"PR\"||task||outhash_siginfo",
        ),
        ("users", "username||token||coalesce(permissions, '')"),
        ("config", "name||value"),
    ] {
        let there = columns.replace("created", time);
        let there = cluster.sql(
            "test_1",
            &format!(
                "SELECT encode(sha256(convert_to(string_agg(row, ',' ORDER BY row COLLATE \"C\"),
                     'UTF8')), 'hex') FROM (SELECT {there} AS row FROM {table}) AS texts"
            ),
        )?;
        let rows = format!("SELECT {columns} AS row FROM {table} ORDER BY row");
        let mut rows = back.prepare(&rows)?;
        let rows = rows.query_map([], |row| row.get(0))?;
        let rows: Vec<String> = rows.collect::<Result<_, _>>()?;
        ensure!(there == hex(&rows.join(",")), "{table} came back otherwise");
    }
    Ok(())
}

#[test]
fn memory_does_not_grow_with_the_database() -> Result<()> {
    const LIMIT: u64 = 256 << 20;
    // 320 MB of listings.
    let (farm, cluster) = world(20_000, 16_000)?;
    let url = cluster.url("test_1");
    let mut importing = fingerpost(&farm, &["import", &url, "--into", "moved.db"])
        .stdout(Stdio::null())
        .spawn()?;
    let mut peak = 0;
    let ended = loop {
        // A process that has just ended has no memory.
        peak = memory_bytes(importing.id(), "VmHWM").unwrap_or(peak);
        if let Some(ended) = importing.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(ended.success(), "{ended}");
    ensure!(peak > 0 && peak < LIMIT, "{peak} bytes at the peak");
    ensure!(names(&farm)? == ["moved.db"], "{:?}", names(&farm)?);
    Ok(())
}

/// Names of what is in the farm's directory.
fn names(farm: &TestFarm) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(farm.directory())?;
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn poolers_and_passwords_of_the_environment_are_taken() -> Result<()> {
    let (farm, mut cluster) = world(2500, 0)?;
    let pooler = PgBouncer::start(&cluster, 1)?;
    let url = pooler
        .url("test_1")
        .replace("postgresql:", "postgresql+asyncpg:");
    let said = succeed(&farm, &["import", &url, "--into", "x", "--dry-run"])?;
    ensure!(said.contains("unihashes  2500 read, 2500 taken"), "{said}");
    ensure!(said.contains("nothing was written"), "{said}");
    drop(pooler);

    cluster.sql(
        "test_1",
        "CREATE ROLE reader LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    )?;
    let certificates = tempfile::tempdir()?;
    cluster.require_tls(&Certificates::make(certificates.path())?)?;
    let url = cluster.url("test_1").replace("postgres@", "reader@");
    let import = |password: &str| {
        let mut command = fingerpost(&farm, &["import", &url, "--into", "y"]);
        command.env("PGPASSWORD", password).output()
    };
    let refused = import("wrong")?;
    let error = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(77), "{error}");
    ensure!(error.contains("password authentication failed"), "{error}");
    ensure!(import("pw")?.status.success());
    Ok(())
}

#[test]
fn what_cannot_be_imported_is_told_with_its_exit_code() -> Result<()> {
    let (farm, cluster) = world(10, 0)?;
    for database in ["other", "broken"] {
        cluster.sql("postgres", &format!("CREATE DATABASE {database}"))?;
    }
    cluster.sql("broken", TABLES)?;
    cluster.sql("broken", "ALTER TABLE outhashes_v2 DROP COLUMN task")?;
    cluster.sql("test_1", "CREATE ROLE stranger LOGIN")?;
    let url = |database: &str| secret_url(&cluster, database);
    let stranger = cluster.url("test_1").replace("postgres@", "stranger@");
    let silent = "postgres://me:s3cret@127.0.0.1:1/d".to_owned();
    for (url, code, words) in [
        (url("other"), 65, "/other is no bitbake-hashserv database"),
        (url("nowhere"), 69, "database \"nowhere\" does not exist"),
        (url("broken"), 74, "column \"task\" does not exist"),
        (stranger, 77, "permission denied for table"),
        (silent, 69, "postgresql://127.0.0.1:1/d cannot be reached"),
        (url("d?sslmode=no"), 64, "sslmode=no is none of"),
        (
            "mysql+aiomysql://me:s3cret@h/d".to_owned(),
            64,
            "a PostgreSQL URL begins with postgresql://",
        ),
    ] {
        let output = fingerpost(&farm, &["import", &url, "--into", "x"]).output()?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(code), "{url}: {error}");
        ensure!(error.contains(words), "{url}: {error}");
        ensure!(!error.contains("s3cret"), "{error}");
        ensure!(names(&farm)?.is_empty(), "{url}: {:?}", names(&farm)?);
    }
    let output = fingerpost(&farm, &["import", &url("test_1")]).output()?;
    let error = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(64), "{error}");
    ensure!(error.contains("--into FILE"), "{error}");
    Ok(())
}
