//! Snapshots of several instances on one PostgreSQL, behind what sends each request to
//! whichever instance it likes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fingerpost_testkit::{PostgresCluster, Server};
use serde_json::Value;

use super::Instances;
use crate::world::{eventually, fill, http, metric};

const PATIENCE: Duration = Duration::from_secs(60);

/// Names of the snapshots in a directory that are whole.
fn whole(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let whole = entries.filter(|entry| entry.path().join("manifest.json").is_file());
    let names = whole.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// The status and the body of an answer.
async fn get(server: &Server, path: &str) -> Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n");
    let answer = http(server, &request).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

async fn get_json(server: &Server, path: &str) -> Result<Value> {
    let (status, body) = get(server, path).await?;
    ensure!(status == 200, "{path}: {status} {body}");
    Ok(serde_json::from_str(&body)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_lists_the_others_have() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let url = cluster.fresh_database()?;
    let mut instances = Instances::start(&[]).await?;
    let shelf = instances.farm.path("shelf");
    let shelf_text = shelf.display().to_string();
    let settings = |directory| {
        [
            ("snapshots.directory", directory),
            ("snapshots.every_hours", "1"),
            ("snapshots.published_only", "false"),
        ]
    };
    // There are rows before anybody may make a snapshot.
    instances.add(&url, &[]).await?;
    fill(&instances.servers[0], 0..500).await?;
    for _ in 0..2 {
        instances.add(&url, &settings(&shelf_text)).await?;
    }
    let [_, a, b] = &instances.servers[..] else {
        unreachable!("three were started")
    };
    eventually(PATIENCE, async || Ok(!whole(&shelf).is_empty())).await?;
    // Whichever is told of first, in the moment when it is told: the other has it.
    for (told, asked) in [(a, b), (b, a)] {
        let list = get_json(told, "/v1/snapshots").await?;
        let listed = list["snapshots"].as_array().context("no list")?;
        for one in listed {
            let path = format!("/v1/snapshots/{}", one["name"].as_str().context("no name")?);
            let manifest = get_json(asked, &format!("{path}/manifest.json")).await?;
            let shards = &manifest["methods"][0]["shards"];
            let shards = shards.as_array().context("no shards")?;
            ensure!(!shards.is_empty(), "{manifest}");
            for shard in shards {
                let digest = shard["sha256"].as_str().context("no digest")?;
                let (status, _) = get(asked, &format!("{path}/shards/{digest}")).await?;
                ensure!(status == 200, "{path}: {status}");
            }
        }
    }
    let made = "fingerpost_snapshot_made_total";
    eventually(PATIENCE, async || {
        Ok(metric(a, made, "default").await? + metric(b, made, "default").await? == 1.0)
    })
    .await?;
    ensure!(whole(&shelf).len() == 1, "{:?}", whole(&shelf));

    // One that has a directory of its own.
    let other = instances.farm.path("other");
    let settings = settings(other.to_str().context("no text")?);
    instances.add(&url, &settings).await?;
    let lone = &instances.servers[3];
    for path in ["/v1/snapshots", "/v1/snapshots/latest/manifest.json"] {
        let (status, body) = get(lone, path).await?;
        ensure!(
            status == 503 && body.contains("snapshots-not-shared"),
            "{path}: {status} {body}"
        );
    }
    ensure!(metric(lone, "fingerpost_snapshot_withheld", "").await? == 1.0);
    ensure!(
        lone.log().contains("is not that of the other servers"),
        "{}",
        lone.log()
    );
    ensure!(whole(&other).is_empty(), "{:?}", whole(&other));
    instances.no_panic()
}
