//! A database that others lock or damage, and too few file descriptors.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Report, Server, hash};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::{farm, fill, no_panic};

/// A look-up of what is in memory or in the file, beside a locked database.
const LOOK_UP_MAX: Duration = Duration::from_secs(2);

/// Another program takes the write lock, as `sqlite3` at a prompt does.
fn lock(server: &Server) -> Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(server.options().database_path())?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_holds_up_reports_only() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .set("database.busy_timeout_ms", "3000")
        .start()
        .await?;
    fill(&server, 0..50).await?;
    let locked = lock(&server)?;
    let mut reporter = server.session().await?;
    reporter.send(&Report::new(100, 100).request()).await?;
    let mut reader = server.session().await?;
    let began = Instant::now();
    for number in 0..60 {
        let found = reader.unihash("TestMethod", &hash(1, number)).await?;
        ensure!(found.is_some() == (number < 50), "task {number}");
    }
    ensure!(
        began.elapsed() < LOOK_UP_MAX,
        "look-ups took {:?}",
        began.elapsed()
    );
    locked.execute_batch("ROLLBACK")?;
    let answer = reporter
        .answer()
        .await?
        .context("the report was not taken")?;
    ensure!(answer["unihash"] == hash(1, 100), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stays_locked_closes_reporters_in_time() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .set("database.busy_timeout_ms", "500")
        .start()
        .await?;
    let locked = lock(&server)?;
    let mut reporters = Vec::new();
    for number in 0..20 {
        let mut session = server.session().await?;
        session.send(&Report::new(number, number).request()).await?;
        reporters.push(session);
    }
    let began = Instant::now();
    for session in &mut reporters {
        ensure!(
            session.answer().await?.is_none(),
            "an answer without a commit"
        );
    }
    ensure!(
        began.elapsed() < Duration::from_secs(15),
        "took {:?}",
        began.elapsed()
    );
    locked.execute_batch("ROLLBACK")?;
    let mut session = server.session().await?;
    ensure!(session.report(&Report::new(1, 1)).await? == hash(1, 1));
    no_panic(&server)
}

/// Every look-up and cleaning command on a file with wrong bytes: a row, a
/// miss, or a closed connection.
async fn asks_everything(server: &Server) -> Result<()> {
    for number in 0..40 {
        for request in [
            json!({"get": {"method": "TestMethod", "taskhash": hash(1, number)}}),
            json!({"get": {"method": "TestMethod", "taskhash": hash(1, number), "all": true}}),
            json!({"get-outhash": {"method": "TestMethod", "taskhash": "", "outhash": hash(2, number)}}),
            Report::new(1000 + number, number).request(),
            json!({"gc-status": null}),
            json!({"get-db-usage": null}),
            json!({"remove": {"where": {"taskhash": hash(1, number)}}}),
        ] {
            let mut session = server.session().await?;
            session.send(&request).await?;
            session.answer().await?;
        }
    }
    no_panic(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_never_brings_the_server_down() -> Result<()> {
    let farm = farm();
    let options = farm.server().anonymous("@read,@report,@db-admin");
    let server = options.start().await?;
    let mut session = server.session().await?;
    for number in 0..40 {
        let listing = format!("{}\n", hash(3, number)).repeat(30);
        session
            .report(&Report::new(number, number).with_siginfo(listing))
            .await?;
    }
    let options = server.stop().await?.options;
    let whole = std::fs::read(options.database_path())?;
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        std::fs::write(options.database_path(), &whole)?;
        let file = std::fs::File::options()
            .write(true)
            .open(options.database_path())?;
        for _ in 0..40 {
            let at = random.random_range(100..whole.len() as u64);
            file.write_all_at(&[random.random()], at)?;
        }
        // A refusal to start is fine; a start is fine as well.
        if let Ok(server) = options.clone().start().await {
            asks_everything(&server)
                .await
                .with_context(|| format!("seed {seed}"))?;
        }
        for suffix in ["-wal", "-shm"] {
            let mut name = options.database_path().as_os_str().to_owned();
            name.push(suffix);
            _ = std::fs::remove_file(name);
        }
    }
    let log = std::fs::read_to_string(options.log_path())?;
    ensure!(!log.contains("panicked"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_descriptors_shed_connections_and_keep_serving() -> Result<()> {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let farm = farm();
    let server = farm.server().start().await?;
    let few = Rlimit {
        current: Some(60),
        maximum: Some(60),
    };
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Nofile, few)?;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(server.connect().await?);
    }
    sleep(Duration::from_millis(300)).await;
    let alive = std::path::Path::new(&format!("/proc/{}", server.pid())).exists();
    ensure!(alive, "the server is gone");
    drop(crowd);
    let began = Instant::now();
    loop {
        if let Ok(mut session) = server.session().await
            && session.unihash("TestMethod", &hash(1, 1)).await.is_ok()
        {
            break;
        }
        ensure!(
            began.elapsed() < Duration::from_secs(10),
            "no service after the crowd left"
        );
    }
    ensure!(
        server.log().lines().count() < 100,
        "a log line for each connection:\n{}",
        server.log()
    );
    no_panic(&server)
}
