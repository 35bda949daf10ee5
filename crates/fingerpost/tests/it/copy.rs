//! `fingerpost copy`: a live database into another one, and the servers before and after.

use anyhow::{Result, ensure};
use fingerpost_testkit::{PostgresCluster, Report, Server, hash};

use crate::program::outcome;
use crate::world::farm;

async fn report(server: &Server, tasks: std::ops::Range<u64>) -> Result<()> {
    let mut session = server.session().await?;
    for task in tasks {
        let report = Report::new(task, task / 2).with_siginfo(format!("listing {task}"));
        session.report(&report).await?;
    }
    Ok(())
}

async fn unihash(server: &Server, task: u64) -> Result<Option<String>> {
    let mut session = server.session().await?;
    session.unihash("TestMethod", &hash(1, task)).await
}

/// Runs `fingerpost copy`; what it printed, if the exit code is this one.
fn copy(dir: &tempfile::TempDir, arguments: &[&str], code: i32) -> Result<String> {
    let arguments = [&["copy"], arguments].concat();
    let (exit, output, error) = outcome(dir, &arguments)?;
    ensure!(exit == code, "{exit}: {output}{error}");
    Ok(output + &error)
}

#[tokio::test]
async fn a_farm_moves_to_postgresql_and_back() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let (url, dir, farm) = (cluster.fresh_database()?, tempfile::tempdir()?, farm());
    let server = farm.server().start().await?;
    report(&server, 0..20).await?;
    let file = server.options().database_path().display().to_string();
    let told = copy(&dir, &[&file, &url], 0)?;
    assert!(told.contains("default: 20 mappings, 20 outputs, 20 listings"));
    assert!(told.contains("Not complete"), "{told}");
    report(&server, 20..30).await?;
    server.stop().await?;
    let told = copy(&dir, &[&file, &url, "--finish"], 0)?;
    assert!(told.contains("Complete after "), "{told}");

    let server = farm.server().database(&url).start().await?;
    for task in 0..30 {
        let known = unihash(&server, task).await?;
        assert_eq!(known, Some(hash(1, task / 2 * 2)));
    }
    report(&server, 30..40).await?;
    server.stop().await?;
    let back = farm.path("back.db").display().to_string();
    copy(&dir, &[&url, &back, "--finish"], 0)?;
    let server = farm.server().database(&back).start().await?;
    for task in 0..40 {
        let known = unihash(&server, task).await?;
        assert_eq!(known, Some(hash(1, task / 2 * 2)));
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_with_the_way_out() -> Result<()> {
    let (dir, farm) = (tempfile::tempdir()?, farm());
    let missing = farm.path("missing.db").display().to_string();
    let told = copy(&dir, &[&missing, "new.db"], 64)?;
    assert!(told.contains("there is no database"), "{told}");
    let told = copy(&dir, &[&missing, &missing], 64)?;
    assert!(told.contains("into itself"), "{told}");
    let server = farm.server().start().await?;
    report(&server, 0..2).await?;
    let file = server.options().database_path().display().to_string();
    let nobody = "postgresql://u:hunter2@127.0.0.1:1/db";
    let told = copy(&dir, &[&file, nobody], 69)?;
    assert!(!told.contains("hunter2"), "{told}");
    Ok(())
}
