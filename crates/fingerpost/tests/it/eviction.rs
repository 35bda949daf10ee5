//! A store that evicts all the time, out of which stock clients are redirected: what
//! they were sent to stays until they have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Result, ensure};

use crate::clones::{Plan, Site};
use crate::questions::{ask_inline, filesdata, nodes};
use crate::world::from_environment;

/// Redirected clones; 50 for `make soak`.
fn clones() -> u64 {
    from_environment("FINGERPOST_REDIRECTED_CLONES", 12)
}

/// What is stored of other answers at least.
const STORED_MIB: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn redirected_clones_outlive_eviction() -> Result<()> {
    let plan = Plan::new().await?;
    // Nothing in memory; on disk not much more than the answers of a clone, which
    // lie there compressed and plain.
    let configuration = plan
        .memory_and_disk()
        .replace("memory_mib = 64", "memory_mib = 0")
        + "disk_mib = 24\n"
        + &Plan::own_target(&plan.url());
    let site = plan.start(&configuration).await?;
    site.advertises(&["own"]).await?;
    site.fill_targets().await?;

    let (stopping, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let filling = tokio::spawn(fill(
        site.client()?,
        nodes(site.plan()).await?,
        Arc::clone(&stopping),
        Arc::clone(&asked),
    ));
    let redirects = site.count("redirects_total", "own").await?;
    let mut done = 0;
    while done < clones() || stored(&site).await? < (STORED_MIB << 20) as f64 {
        site.clone_all().await?;
        done += 1;
        ensure!(!filling.is_finished(), "{:?}", filling.await);
    }
    stopping.store(true, Ordering::Relaxed);
    filling.await??;

    let redirects = site.count("redirects_total", "own").await? - redirects;
    let held = site.count("cache_bytes", "tier=\"disk\"").await?;
    let stored = stored(&site).await?;
    println!(
        "{done} clones with {redirects} redirects, beside {} other answers; \
         {stored} bytes stored, {held} held",
        asked.load(Ordering::Relaxed)
    );
    ensure!(stored > held * 1.5, "nothing had to go");
    ensure!(
        redirects >= (3 * done) as f64,
        "{redirects} redirects of {done} clones"
    );
    site.stop().await
}

/// Bytes that the disk took so far.
async fn stored(site: &Site) -> Result<f64> {
    site.count("cache_stored_bytes_total", "tier=\"disk\"")
        .await
}

/// Asks for something else each time: files of changing changesets, of all
/// directories or of one.
async fn fill(
    client: fingerpost_hg_front::client::HgClient,
    changesets: Vec<crate::questions::Node>,
    stopping: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
) -> Result<()> {
    let directories = [None, Some("part-0"), Some("part-1"), Some("part-2")];
    for len in 1.. {
        for first in 0..changesets.len() {
            for directory in directories {
                if stopping.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let end = changesets.len().min(first + 1 + len % 7);
                let picked = &changesets[first..end];
                ask_inline(&client, &filesdata(picked, directory)).await?;
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}
