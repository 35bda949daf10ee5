//! `fingerpost cache warm` against `fingerpost hg serve`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clones::{Plan, Site};
use crate::program::{Serving, address, outcome, program};

/// A server of the recorded repository, and its URL.
fn serve(dir: &TempDir) -> Result<(Serving, String)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let repository = dir.path().join("repository");
    std::fs::create_dir(&repository)?;
    let mut untar = Command::new("tar");
    untar
        .arg("-xf")
        .arg(fixtures.join("hg-v2-examples/sample-dothg.tar"));
    ensure!(untar.arg("-C").arg(&repository).status()?.success());
    std::fs::write(repository.join(".hg/hgrc"), "[phases]\npublish = no\n")?;
    let mut command = program(dir);
    command.args(["hg", "serve", "--bind", "127.0.0.1:0", "--cache-mib", "16"]);
    command.arg(repository);
    let mut serving = Serving::start(command)?;
    let url = address(&serving.line()?)?;
    Ok((serving, url))
}

#[test]
fn every_request_of_a_clone_is_made() -> Result<()> {
    let dir = TempDir::new()?;
    let (_serving, url) = serve(&dir)?;
    let (code, out, err) = outcome(&dir, &["cache", "warm", "--json", &url])?;
    ensure!((code, &err[..]) == (0, ""), "{code}: {err}");
    let summary: Value = serde_json::from_str(&out)?;
    ensure!(
        summary["requests"] == 5 && summary["changesets"] == 9,
        "{out}"
    );
    ensure!(summary["bytes"].as_u64() > Some(100_000), "{out}");
    let two = ["--encoding", "zlib", "--encoding", "identity"];
    let (code, out, _) = outcome(&dir, &[&["cache", "warm", &url][..], &two].concat())?;
    ensure!(
        code == 0 && out.contains(": 10 requests for 9 changesets"),
        "{out}"
    );
    Ok(())
}

#[test]
fn one_bad_url_does_not_keep_the_others_from_it() -> Result<()> {
    let dir = TempDir::new()?;
    let (_serving, url) = serve(&dir)?;
    let bad = format!("{url}nothing");
    let (code, out, err) = outcome(&dir, &["cache", "warm", "--redirects", &bad, &url])?;
    ensure!(
        code == 69 && err.starts_with(&format!("{bad}: ")),
        "{code}: {err}"
    );
    ensure!(err.contains("offers no redirects"), "{err}");
    ensure!(out.contains("5 requests"), "{out}");
    Ok(())
}

/// Warms with redirects, and gives the summary.
async fn warm(site: &Site, arguments: &[&str]) -> Result<Value> {
    let url = format!("{}/r", site.plan().url());
    let all = ["cache", "warm", "--redirects", "--json", &url];
    let all = [&all[..], arguments].concat();
    let (code, out, err) = outcome(&TempDir::new()?, &all)?;
    ensure!(code == 0, "{code}: {err}\n{}", site.server.log());
    Ok(serde_json::from_str(&out)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warmed_server_redirects_the_first_clone() -> Result<()> {
    let plan = Plan::new().await?;
    let target = Plan::own_target(&plan.url()) + "probe = false\n";
    let configuration = plan.memory_and_disk() + &target;
    let site = plan.start(&configuration).await?;
    // All but the heads, and what is known.
    let ready = json!({"redirected": 3, "inline": 2});
    let cold = warm(&site, &[]).await?;
    ensure!(cold["zstd"] == ready && cold["stock"] == ready, "{cold}");
    // Compressed and plain.
    let published = site.count("redirects_published_total", "own").await?;
    ensure!(published == 6.0, "{published}");
    ensure!(site.answers("misses").await? == [1.0; 3]);

    let redirected = site.answers("redirected").await?;
    site.clone_all().await?;
    let expected = redirected.map(|count| count + 1.0);
    ensure!(site.answers("redirected").await? == expected);

    let again = warm(&site, &[]).await?;
    ensure!(again["zstd"] == ready && again["stock"] == ready, "{again}");
    // Two for the plan, and all of them once as either client.
    ensure!(again["requests"] == 12, "{again}");
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_target_takes_ends_the_warming_all_the_same() -> Result<()> {
    let plan = Plan::new().await?;
    let target = Plan::own_target(&plan.url()) + "probe = false\n";
    let long_ones = target.replace("kib_min = 1\n", "kib_min = 1000\n");
    let configuration = plan.memory_and_disk() + &long_ones;
    let site = plan.start(&configuration).await?;
    // Without what is asked as by clients that undo zstd, which takes as long again.
    let summary = warm(&site, &["--encoding", "zlib"]).await?;
    let ready = json!({"redirected": 1, "inline": 4});
    ensure!(summary["stock"] == ready, "{summary}");
    ensure!(summary["zstd"].is_null(), "{summary}");
    site.stop().await
}
