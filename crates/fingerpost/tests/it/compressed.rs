//! Stores whose entries are compressed, with stock clients that ask for plain bytes.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::clones::{Plan, Site};

#[tokio::test(flavor = "multi_thread")]
async fn compressed_stores_hold_less_and_give_the_same() -> Result<()> {
    let plain = held_by_clones("").await?;
    let compressed = held_by_clones("compressed = ['memory', 'disk']\n").await?;
    println!("on disk: {plain} bytes, {compressed} compressed");
    ensure!(compressed < plain * 0.75, "{compressed} of {plain} bytes");
    Ok(())
}

/// Bytes on disk after clones that were answered, remembered and redirected.
async fn held_by_clones(line: &str) -> Result<f64> {
    let plan = Plan::new().await?;
    let configuration = plan.memory_and_disk() + line + &Plan::own_target(&plan.url());
    let site = plan.start(&configuration).await?;
    site.advertises(&["own"]).await?;
    site.clone_all().await?;
    site.clone_all().await?;
    ensure!(site.answers("hits").await? == [1.0; 3]);
    site.fill_targets().await?;
    site.clone_all().await?;
    let held = site.count("cache_bytes", "tier=\"disk\"").await?;
    every_entry_is_whole(&site)?;
    site.stop().await?;
    Ok(held)
}

/// What `cache ls` lists is what `cache show` finds.
fn every_entry_is_whole(site: &Site) -> Result<()> {
    let config = site.plan().farm.path("fingerpost.toml");
    let listed = cache(&config, &["ls"])?;
    ensure!(listed.lines().count() >= 9, "{listed}");
    for line in listed.lines() {
        let name = &line[..64];
        let shown = cache(&config, &["show", name])?;
        ensure!(shown.contains(" bytes, whole"), "{name}: {shown}");
        // Beginnings are found too.
        ensure!(cache(&config, &["show", &name[..16]])? == shown);
    }
    Ok(())
}

fn cache(config: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fingerpost"));
    command.arg("cache").args(arguments);
    let output = command.arg("--config").arg(config).output()?;
    ensure!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
