//! Stores that are too small, and file systems that are full, while stock clients
//! clone: every clone is whole.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use fingerpost_testkit::RedisServer;

use crate::clones::Plan;
use crate::cloning::Cloning;
use crate::redirect_targets::SECRET;
use crate::small_disk::SmallDisk;
use crate::spoiling::{Damage, spoil_files};
use crate::store_faults::{SHAPE, finish, has_failed, rounds};

#[tokio::test(flavor = "multi_thread")]
async fn clones_outlive_stores_that_are_too_small() -> Result<()> {
    let plan = Plan::of(SHAPE).await?;
    let redis = RedisServer::start_with(&["--maxmemory", "3mb"])?;
    let configuration = plan.memory_and_disk().replace("= 64", "= 1")
        + SECRET
        + &format!("disk_mib = 1\nvalkey_url = '{}'\n", redis.url());
    let site = plan.start(&configuration).await?;
    let mut cloning = Cloning::begin(&site).await?;
    cloning.more(10 * rounds()).await?;
    has_failed(&site, "memory", &["length"]).await?;
    has_failed(&site, "disk", &["length"]).await?;
    has_failed(&site, "valkey", &["full"]).await?;
    finish(site, cloning, "stores that are too small").await
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_outlive_a_file_system_that_is_full() -> Result<()> {
    // Answers that are too long to be held in memory while they are made.
    let plan = Plan::new().await?;
    let mount = plan.farm.path("small");
    let _disk = match SmallDisk::mount(&mount, 16 << 20) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: {reason}");
            return Ok(());
        }
    };
    let ballast = mount.join("ballast");
    let (answers, spool) = (mount.join("answers"), mount.join("spool"));
    std::fs::create_dir(&spool)?;
    let configuration = format!(
        "[cache]\nmemory_mib = 0\ndisk_directory = '{}'\nspool_directory = '{}'\n",
        answers.display(),
        spool.display()
    );
    let site = plan.start(&configuration).await?;
    let mut cloning = Cloning::begin(&site).await?;
    for _ in 0..rounds() {
        // Room for nothing, for small answers, and for some.
        for room_kib in [0, 200, 2000] {
            _ = std::fs::remove_file(&ballast);
            spoil_files(&answers, Damage::Remove)?;
            leave(&ballast, room_kib << 10)?;
            cloning.more(1).await?;
        }
    }
    has_failed(&site, "disk", &["full"]).await?;
    // With room, answers are remembered again.
    std::fs::remove_file(&ballast)?;
    let before = site.answers("hits").await?;
    while site
        .answers("hits")
        .await?
        .iter()
        .zip(before)
        .any(|(now, before)| *now <= before)
    {
        cloning.more(1).await?;
    }
    finish(site, cloning, "a file system that is full").await
}

/// Takes all of a file system but so many bytes.
fn leave(path: &Path, bytes: u64) -> Result<()> {
    let mut file = File::create(path)?;
    while file.write_all(&[1; 1 << 12]).is_ok() {}
    let len = file.metadata()?.len();
    Ok(file.set_len(len.saturating_sub(bytes))?)
}
