//! Servers over PostgreSQL: several on one database, a database that goes away and
//! comes back, and those that are refused.

mod backup;

use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_testkit::{
    Certificates, PgBouncer, PostgresCluster, Report, Server, ServerOptions, TestFarm, hash,
};
use tempfile::TempDir;

use crate::program::{outcome, program};
use crate::world::{eventually, farm, fill, http, metric};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "hunter2";

fn on(farm: &TestFarm, url: &str) -> ServerOptions {
    farm.server()
        .database(url)
        .set("postgresql.start_timeout_s", "30")
}

async fn known(server: &Server, task: u64) -> Result<Option<String>> {
    let mut session = server.session().await?;
    session.unihash("TestMethod", &hash(1, task)).await
}

async fn report(server: &Server, task: u64, output: u64) -> Result<String> {
    let mut session = server.session().await?;
    session.report(&Report::new(task, output)).await
}

/// The body of `/readyz`; the server has to be ready.
async fn readiness(server: &Server) -> Result<String> {
    let request = "GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let answer = http(server, request).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}

#[tokio::test]
async fn servers_share_a_database_and_find_it_again() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let url = cluster.fresh_database()?;
    let farm = farm();
    let first = on(&farm, &url).start().await?;
    let second = on(&farm, &url.replace("postgresql:", "postgresql+asyncpg:"));
    let second = second.start().await?;
    assert_eq!(report(&first, 1, 7).await?, hash(1, 1));
    assert_eq!(report(&second, 2, 7).await?, hash(1, 1));
    assert_eq!(known(&first, 2).await?, Some(hash(1, 1)));
    assert_eq!(known(&second, 3).await?, None);
    let place = format!("Data in postgresql://127.0.0.1:{}/test_1\n", cluster.port());
    assert!(first.log().contains(&place), "{}", first.log());

    let stopped = first.stop().await?;
    assert!(stopped.status.success(), "{}", stopped.log);
    let first = stopped.options.start().await?;
    assert_eq!(known(&first, 1).await?, Some(hash(1, 1)));
    assert_eq!(readiness(&first).await?, "ready\n");

    for (name, label) in [
        ("fingerpost_postgresql_up", ""),
        ("fingerpost_postgresql_connections", "database=\"primary\""),
        ("fingerpost_postgresql_jobs_total", "outcome=\"done\""),
        ("fingerpost_postgresql_job_duration_seconds_count", ""),
        ("fingerpost_postgresql_polls_total", ""),
        ("fingerpost_postgresql_connections_limit", "primary"),
    ] {
        let counted = metric(&first, name, label).await?;
        assert!(counted > 0.0, "{name}");
    }
    assert!(metric(&first, "fingerpost_postgresql_poll_age_seconds", "").await? < 2.0);
    Ok(())
}

#[tokio::test]
async fn replicas_and_a_pool_between_are_asked() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let url = cluster.fresh_database()?;
    let bouncer = PgBouncer::start(&cluster, 3)?;
    let farm = farm();
    let config = farm.path("replicas.toml");
    // Whoever has heard of all deletions will do, the primary itself too.
    std::fs::write(&config, format!("[postgresql.replicas]\neast = '{url}'\n"))?;
    let server = on(&farm, &bouncer.url("test_1"))
        .set("postgresql.statement_cache", "false")
        .argument("--config")
        .argument(config)
        .start()
        .await?;
    report(&server, 1, 1).await?;
    assert_eq!(known(&server, 1).await?, Some(hash(1, 1)));
    // Memory knows no misses.
    assert_eq!(known(&server, 2).await?, None);
    let jobs = "fingerpost_postgresql_jobs_total";
    assert!(metric(&server, jobs, "database=\"east\"").await? > 0.0);
    assert!(metric(&server, jobs, "database=\"primary\"").await? > 0.0);
    Ok(())
}

#[tokio::test]
async fn builds_go_on_while_the_database_is_gone() -> Result<()> {
    let mut cluster = PostgresCluster::durable()?;
    let url = cluster.fresh_database()?;
    let farm = farm();
    let server = on(&farm, &url).start().await?;
    report(&server, 1, 1).await?;
    assert_eq!(known(&server, 1).await?, Some(hash(1, 1)));
    cluster.kill()?;
    eventually(PATIENCE, async || {
        Ok(readiness(&server)
            .await?
            .starts_with("ready\ndatabase: unreachable since 20"))
    })
    .await?;
    assert_eq!(metric(&server, "fingerpost_postgresql_up", "").await?, 0.0);
    assert_eq!(known(&server, 1).await?, Some(hash(1, 1)));
    assert_eq!(known(&server, 2).await?, None);
    let given_up = "fingerpost_hashequiv_lookups_given_up_total";
    assert!(metric(&server, given_up, "").await? > 0.0);

    cluster.restart()?;
    eventually(
        PATIENCE,
        async || Ok(readiness(&server).await? == "ready\n"),
    )
    .await?;
    assert_eq!(report(&server, 2, 1).await?, hash(1, 1));
    assert_eq!(metric(&server, "fingerpost_postgresql_up", "").await?, 1.0);
    Ok(())
}

#[tokio::test]
async fn a_start_waits_for_the_database() -> Result<()> {
    let mut cluster = PostgresCluster::start()?;
    let url = cluster.fresh_database()?;
    cluster.stop()?;
    let farm = farm();
    let options = on(&farm, &url).set("postgresql.acquire_timeout_ms", "100");
    let log = options.log_path();
    let starting = tokio::spawn(options.start());
    eventually(PATIENCE, async || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        Ok(log.contains("it is tried again for"))
    })
    .await?;
    cluster.restart()?;
    let server = starting.await??;
    report(&server, 1, 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_login_over_tls_is_taken_and_a_wrong_one_is_refused() -> Result<()> {
    let mut cluster = PostgresCluster::start()?;
    let here = TempDir::new()?;
    let made = Certificates::make(here.path())?;
    let sql = format!("CREATE ROLE farm LOGIN PASSWORD '{SECRET}'");
    cluster.sql("postgres", &sql)?;
    cluster.sql("postgres", "CREATE DATABASE farm OWNER farm")?;
    cluster.require_tls(&made)?;
    let authority = made.authority.display();
    let url = |login: &str, host: &str| {
        format!(
            "postgresql://{login}@{host}:{}/farm?sslmode=verify-full&sslrootcert={authority}\
             &hostaddr=127.0.0.1",
            cluster.port()
        )
    };
    let farm = farm();
    let options = on(&farm, &url("farm", "localhost"));
    let password = here.path().join("password");
    std::fs::write(&password, format!("{SECRET}\n"))?;
    let options = options.set("database.password_file", &password);
    let server = options.start().await?;
    report(&server, 1, 1).await?;
    assert!(!server.log().contains(SECRET));

    let right = format!("farm:{SECRET}");
    refused(
        &url(&format!("farm:not-{SECRET}"), "localhost"),
        77,
        "password",
    )?;
    refused(&url(&right, "127.0.0.1"), 78, "certificate")?;
    refused(
        &url(&right, "localhost").replace("/farm?", "/none?"),
        78,
        "none",
    )?;
    Ok(())
}

/// The server does not start on this database, and says why without the password.
fn refused(url: &str, expected: i32, word: &str) -> Result<()> {
    let here = TempDir::new()?;
    let output = program(&here)
        .env("FINGERPOST_POSTGRESQL__START_TIMEOUT_S", "1")
        .env("FINGERPOST_POSTGRESQL__ACQUIRE_TIMEOUT_MS", "100")
        .args(["serve", "--bind", "127.0.0.1:0", "-d", url])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(expected), "{said}");
    assert!(said.contains(word) && !said.contains(SECRET), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_refused_by_name() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let nobody = format!("postgresql://farm:{SECRET}@127.0.0.1:1/farm");
    refused(
        &nobody,
        69,
        "postgresql://127.0.0.1:1/farm cannot be reached",
    )?;
    let url = cluster.fresh_database()?;
    cluster.sql("test_1", "CREATE TABLE unihashes_v3 (id int)")?;
    refused(&url, 78, "test_1 is a bitbake-hashserv database")?;
    refused(&url, 78, "fingerpost import")?;
    let tables = cluster.sql(
        "test_1",
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
    );
    assert_eq!(tables?, "1", "it was left as it was");
    let url = cluster.fresh_database()?;
    cluster.sql(
        "postgres",
        "ALTER DATABASE test_2 SET synchronous_commit = off",
    )?;
    refused(&url, 78, "postgresql.allow_asynchronous_commit")?;
    let mut cluster = cluster;
    cluster.be_replica()?;
    refused(&url, 69, "read-only replica")?;
    Ok(())
}

#[tokio::test]
async fn commands_know_the_database() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let url = cluster.fresh_database()?;
    let here = TempDir::new()?;
    let config = here.path().join("fingerpost.toml");
    let secret = url.replace("postgres@", &format!("postgres:{SECRET}@"));
    std::fs::write(&config, format!("[postgresql]\nurl = '{secret}'\n"))?;
    let config = config.to_string_lossy().into_owned();
    let check = |words: &[&str], expected: i32, word: &str| -> Result<()> {
        let (code, out, err) = outcome(&here, words)?;
        assert_eq!(code, expected, "{words:?}: {out}{err}");
        assert!(out.contains(word) || err.contains(word), "{out}{err}");
        assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
        Ok(())
    };
    check(
        &["check-config", "--config", &config, "--show"],
        0,
        "(hidden)",
    )?;
    check(&["backup", "--config", &config, "copy"], 78, "pg_dump")?;
    check(&["backup", "--database", &secret, "copy"], 78, "pg_dump")?;
    check(&["restore", "--config", &config, "copy"], 78, "pg_restore")?;
    check(&["export", &secret, "--to", "copy"], 64, "SQLite files")?;
    check(&["import", "x.db", "--into", &secret], 64, "SQLite files")?;
    let nobody = format!("postgresql://postgres:{SECRET}@127.0.0.1:1/none");
    check(
        &["retention", "status", "--database", &nobody],
        69,
        "cannot be reached",
    )?;
    Ok(())
}

#[tokio::test]
async fn retention_works_on_the_database() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let url = cluster.fresh_database()?;
    let farm = farm();
    let server = on(&farm, &url).start().await?;
    fill(&server, 0..5).await?;
    let here = TempDir::new()?;
    let config = here.path().join("fingerpost.toml");
    let rules = "[[retention.rules]]\nmappings = { max_rows = 2 }\n";
    std::fs::write(&config, rules)?;
    let config = config.to_string_lossy().into_owned();
    let retention = |word: &str| -> Result<String> {
        let which = ["--config", &config, "--database", &url];
        let (code, out, err) = outcome(&here, &[&["retention", word], &which[..]].concat())?;
        ensure!(code == 0, "{word}: {out}{err}");
        Ok(out)
    };
    assert!(retention("status")?.contains("last run      none"));
    assert!(retention("plan")?.contains("3 rows would go"));
    assert!(retention("run")?.contains("3 rows went"));
    assert!(retention("status")?.contains("3 rows of"));
    Ok(())
}
