//! Copies that PostgreSQL's own programs make while servers work, and put back under
//! them, with the commands of `docs/deploying.md`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{PostgresCluster, Report, Server, hash};

use super::{PATIENCE, known, on, report};
use crate::world::{eventually, farm, fill, no_panic};

/// Runs a command of the documentation: the line that begins with `name`, with the name
/// of the database and of the file put in their places.
async fn documented(
    cluster: &PostgresCluster,
    name: &str,
    database: &str,
    file: &Path,
) -> Result<()> {
    const PAGE: &str = include_str!("../../../../../docs/deploying.md");
    let line = PAGE
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    let line = line.with_context(|| format!("deploying.md says nothing of {name}"))?;
    let mut command = cluster.program(name);
    for word in line.split_whitespace().skip(1) {
        match word {
            "fingerpost" => command.arg(database),
            "--dbname=fingerpost" => command.arg(format!("--dbname={database}")),
            "fingerpost.dump" => command.arg(file),
            "--file=fingerpost.dump" => command.arg("--file").arg(file),
            other => command.arg(other),
        };
    }
    let output = tokio::process::Command::from(command).output().await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {error}");
    Ok(())
}

/// Reports until it is stopped, and how much was answered.
async fn report_on(server: &Server, stop: &AtomicBool) -> Result<u64> {
    let mut session = server.session().await?;
    let mut number = 1_000;
    while !stop.load(Ordering::Relaxed) {
        session.report(&Report::new(number, number)).await?;
        number += 1;
    }
    Ok(number - 1_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_is_made_and_put_back_while_servers_work() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let url = cluster.fresh_database()?;
    let database = url.rsplit('/').next().context("a name")?;
    let farm = farm();
    let (first, second) = (on(&farm, &url), on(&farm, &url));
    let (first, second) = (first.start().await?, second.start().await?);
    fill(&first, 0..5).await?;
    let file = farm.path("fingerpost.dump");

    // Nobody who reports waits for the dump.
    let stop = AtomicBool::new(false);
    let dump = async {
        let dumped = documented(&cluster, "pg_dump", database, &file).await;
        stop.store(true, Ordering::Relaxed);
        dumped
    };
    let (reported, dumped) = tokio::join!(report_on(&first, &stop), dump);
    dumped?;
    ensure!(reported? > 0, "nobody reported");

    // Both servers remember what the dump does not know.
    report(&first, 100, 100).await?;
    assert_eq!(known(&second, 100).await?, Some(hash(1, 100)));
    documented(&cluster, "pg_restore", database, &file).await?;
    for server in [&first, &second] {
        let forgotten = async || Ok(matches!(known(server, 100).await, Ok(None)));
        eventually(PATIENCE, forgotten)
            .await
            .context(server.log())?;
        for task in 0..5 {
            assert_eq!(known(server, task).await?, Some(hash(1, task)));
        }
        no_panic(server)?;
    }
    // What is reported from now on is stored, and the others know it.
    report(&second, 101, 101).await?;
    assert_eq!(known(&first, 101).await?, Some(hash(1, 101)));
    Ok(())
}
