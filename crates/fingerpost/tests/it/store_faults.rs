//! Stores that are killed, hang, are damaged, emptied and come back while stock
//! clients clone: every clone is whole.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fingerpost_testkit::{RedisServer, S3Server, Shape};

use crate::clones::{Plan, Site};
use crate::cloning::Cloning;
use crate::redirect_targets::{SECRET, s3};
use crate::spoiling::{Damage, spoil_files, spoil_values};
use crate::world::from_environment;

/// Answers of 3 MB together.
pub(crate) const SHAPE: Shape = Shape {
    commits: 12,
    files: 8,
};
const DAMAGES: [Damage; 3] = [Damage::Flip, Damage::Truncate, Damage::Remove];

/// How often each fault happens; many times for `make soak`.
pub(crate) fn rounds() -> u64 {
    from_environment("FINGERPOST_FAULT_ROUNDS", 1)
}

/// Tiers and nothing in memory, so that every answer comes from them.
fn tiers(names: &[&str], disk: &Path) -> String {
    format!(
        "[cache]\ntiers = {names:?}\nmemory_mib = 0\ndisk_directory = '{}'\n{SECRET}",
        disk.display()
    )
}

/// Ends the clients and the server, and says how many clones there were.
pub(crate) async fn finish(site: Site, cloning: Cloning, what: &str) -> Result<()> {
    let (clones, answers) = cloning.end().await.context(site.server.log())?;
    let log = site.server.log();
    ensure!(!log.contains("ERROR"), "{log}");
    site.stop().await?;
    println!("{what}: {clones} clones and {answers} other answers, all whole");
    Ok(())
}

/// At least one call of the tier failed, or there was no fault.
pub(crate) async fn has_failed(site: &Site, tier: &str, kinds: &[&str]) -> Result<()> {
    let tier = format!("tier=\"{tier}\"");
    for kind in kinds {
        let page = site
            .count_of("cache_failures_total", &[&tier, kind])
            .await?;
        let log = site.server.log();
        ensure!(page > 0.0, "{tier} never failed by {kind}:\n{log}");
    }
    Ok(())
}

/// Damages what is stored, once there is something, and clones.
async fn spoil(cloning: &mut Cloning, mut damage: impl FnMut() -> Result<usize>) -> Result<()> {
    for _ in 0..40 {
        let found = damage()?;
        cloning.more(1).await?;
        if found > 0 {
            return Ok(());
        }
    }
    anyhow::bail!("nothing is stored")
}

/// The tier works again: something is found in it, with `disk` emptied if the tier
/// is behind it.
async fn is_back(
    site: &Site,
    cloning: &mut Cloning,
    tier: &str,
    disk: Option<&Path>,
) -> Result<()> {
    let tier = format!("tier=\"{tier}\"");
    let before = site.count("cache_hits_total", &tier).await?;
    for _ in 0..40 {
        if let Some(disk) = disk {
            spoil_files(disk, Damage::Remove)?;
        }
        cloning.more(1).await?;
        if site.count("cache_hits_total", &tier).await? > before {
            return Ok(());
        }
    }
    anyhow::bail!("{tier} is not used again:\n{}", site.server.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_outlive_a_damaged_disk() -> Result<()> {
    let plan = Plan::of(SHAPE).await?;
    let (disk, away) = (plan.farm.path("answers"), plan.farm.path("away"));
    let configuration = tiers(&["disk"], &disk);
    let site = plan.start(&configuration).await?;
    let mut cloning = Cloning::begin(&site).await?;
    for _ in 0..rounds() {
        for damage in DAMAGES {
            spoil(&mut cloning, || spoil_files(&disk, damage)).await?;
        }
        // A disk that is not there any more, and comes back with what it had.
        std::fs::rename(&disk, &away)?;
        cloning.more(1).await?;
        std::fs::rename(&away, &disk)?;
        is_back(&site, &mut cloning, "disk", None).await?;
    }
    has_failed(&site, "disk", &["damaged", "io"]).await?;
    finish(site, cloning, "a damaged disk").await
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_outlive_a_valkey_that_comes_and_goes() -> Result<()> {
    let plan = Plan::of(SHAPE).await?;
    let mut redis = RedisServer::start()?;
    let configuration = tiers(&["valkey"], &plan.farm.path("answers"))
        + &format!("valkey_url = '{}'\n", redis.url());
    let site = plan.start(&configuration).await?;
    let mut cloning = Cloning::begin(&site).await?;
    for _ in 0..rounds() {
        for damage in DAMAGES {
            spoil(&mut cloning, || spoil_values(&redis, damage)).await?;
        }
        redis.hang()?;
        cloning.more(1).await?;
        redis.go_on()?;
        is_back(&site, &mut cloning, "valkey", None).await?;
        redis.kill()?;
        cloning.more(1).await?;
        redis.restart()?;
        is_back(&site, &mut cloning, "valkey", None).await?;
    }
    has_failed(&site, "valkey", &["damaged", "timed_out"]).await?;
    finish(site, cloning, "a Valkey that comes and goes").await
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_outlive_an_s3_that_comes_and_goes() -> Result<()> {
    let plan = Plan::of(SHAPE).await?;
    let mut bucket = S3Server::start().await?;
    let objects = bucket.bucket_path();
    let disk = plan.farm.path("answers");
    let configuration = tiers(&["disk", "s3"], &disk) + &s3("s3", &bucket);
    let site = plan.start(&configuration).await?;
    let mut cloning = Cloning::begin(&site).await?;
    for _ in 0..rounds() {
        for damage in DAMAGES {
            spoil(&mut cloning, || spoil_files(&objects, damage)).await?;
            behind(&mut cloning, &disk).await?;
        }
        bucket.lose().await;
        behind(&mut cloning, &disk).await?;
        bucket.go_on().await?;
        is_back(&site, &mut cloning, "s3", Some(&disk)).await?;
        // Connections are taken, and nothing comes of them.
        bucket.lose().await;
        bucket.hang(true);
        bucket.go_on().await?;
        behind(&mut cloning, &disk).await?;
        bucket.lose().await;
        bucket.hang(false);
        bucket.go_on().await?;
        is_back(&site, &mut cloning, "s3", Some(&disk)).await?;
    }
    has_failed(&site, "s3", &["damaged", "other", "timed_out"]).await?;
    // What the library tries again is no news, and nobody gets a key from a log.
    let log = site.server.log();
    for part in ["backing off", "Signature", "Credential"] {
        ensure!(!log.contains(part), "{part} in\n{log}");
    }
    finish(site, cloning, "an S3 that comes and goes").await
}

/// Clones while the disk has nothing, so that the store behind it is asked.
async fn behind(cloning: &mut Cloning, disk: &Path) -> Result<()> {
    spoil_files(disk, Damage::Remove)?;
    cloning.more(1).await
}
