//! Snapshots that the server makes, under load, and those of a database file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fingerpost_snapshot::{Change, ChangeReader, Hash, Residence, Snapshot};
use fingerpost_testkit::Server;

use crate::program::outcome;
use crate::world::{eventually, farm, fill, http, metric};

type Table = BTreeMap<Hash, Hash>;

const PATIENCE: Duration = Duration::from_secs(30);

/// All rows of a snapshot, and its position.
fn rows(directory: &Path) -> Result<(Table, u64)> {
    let snapshot = Snapshot::open(directory, Residence::File, None)?;
    let mut table = Table::new();
    snapshot.verify_all(|row| {
        table.insert(*row.taskhash, *row.unihash);
    })?;
    Ok((table, snapshot.manifest().position))
}

/// The snapshot in a directory of them, once there is one.
async fn first(directory: &Path) -> Result<PathBuf> {
    let visible = || {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths = entries.map(|entry| entry.path());
        paths.find(|path| path.join("manifest.json").exists() && !is_hidden(path))
    };
    eventually(PATIENCE, async || Ok(visible().is_some())).await?;
    visible().context("it is gone")
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with('.')
}

async fn get(server: &Server, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n");
    http(server, &request).await
}

/// Applies the changes since a position.
async fn follow(server: &Server, table: &mut Table, position: u64) -> Result<()> {
    let answer = get(server, &format!("/v1/changes?since={position}")).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let (mut changes, _) = ChangeReader::new(body.as_bytes())?;
    while let Some(change) = changes.next_change()? {
        match change {
            Change::Adopted {
                taskhash, unihash, ..
            } => table.insert(taskhash, unihash),
            Change::Deleted { taskhash, .. } => table.remove(&taskhash),
            Change::Epoch { .. } => None,
        };
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_made_under_load_and_the_changes_since_are_what_the_file_has()
-> Result<()> {
    let farm = farm();
    let shelf = farm.path("shelf");
    let options = farm.server();
    let database = options.database_path().to_owned();
    let server = options.start().await?;
    fill(&server, 0..2000).await?;
    server.stop().await?;
    let server = farm
        .server()
        .database(&database)
        .set("snapshots.directory", &shelf)
        .set("snapshots.every_hours", "1")
        .start()
        .await?;
    fill(&server, 2000..3000).await?;
    let made = first(&shelf).await?;
    let (mut table, position) = rows(&made)?;
    ensure!(table.len() >= 2000, "{} rows", table.len());
    follow(&server, &mut table, position).await?;
    ensure!(table.len() == 3000, "{} rows", table.len());
    eventually(PATIENCE, async || {
        Ok(metric(&server, "fingerpost_snapshot_made_total", "default").await? == 1.0)
    })
    .await?;
    let page = get(&server, "/metrics").await?;
    let none = "fingerpost_snapshot_failures_total{namespace=\"default\"} 0";
    ensure!(page.contains(none), "{page}");
    // Nobody has signed it.
    let list = get(&server, "/v1/snapshots").await?;
    ensure!(
        list.ends_with("{\"fallbacks\":[],\"snapshots\":[]}"),
        "{list}"
    );

    let offline = farm.path("offline");
    let words = [
        "snapshot",
        "make",
        offline.to_str().context("a path")?,
        "--database",
        database.to_str().context("a path")?,
    ];
    let directory = tempfile::tempdir()?;
    let (code, out, err) = outcome(&directory, &words)?;
    ensure!(code == 0 && out.contains("3000 rows"), "{out}{err}");
    ensure!(rows(&offline)?.0 == table);
    let (again, ..) = outcome(&directory, &words)?;
    ensure!(again == 64, "{again}");
    let other = [&words[..2], &["x"], &words[3..], &["--namespace", "x"]].concat();
    let (code, _, err) = outcome(&directory, &other)?;
    ensure!(code == 64 && err.contains("no namespace"), "{code} {err}");
    server.stop().await?;
    Ok(())
}
