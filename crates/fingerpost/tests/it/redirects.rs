//! Stock clients and content redirects: answers are made, then remembered, then
//! fetched from elsewhere, as long as there is an elsewhere that works.

use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_testkit::{Relay, free_port};

use crate::clones::{Plan, Site};

/// The most that it takes until clients are not told any more of a target that
/// is gone: two probes of 1.5 s that fail, here each after 100 ms, on a slow machine.
const GONE_LIMIT: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn the_first_clone_fills_the_second_is_remembered_the_third_is_redirected() -> Result<()> {
    let plan = Plan::new().await?;
    // Without probes, which are requests too.
    let target = Plan::own_target(&plan.url()) + "probe = false\n";
    let configuration = plan.memory_and_disk() + &target;
    let site = plan.start(&configuration).await?;
    ensure!(site.advertised().await? == ["own"]);

    site.clone_all().await?;
    ensure!(site.answers("misses").await? == [1.0; 3]);
    ensure!(site.answers("hits").await? == [0.0; 3]);

    site.clone_all().await?;
    ensure!(site.answers("misses").await? == [1.0; 3]);
    ensure!(site.answers("hits").await? == [1.0; 3]);
    ensure!(site.answers("redirected").await? == [0.0; 3]);

    site.fill_targets().await?;
    let (hits, redirected) = (
        site.answers("hits").await?,
        site.answers("redirected").await?,
    );
    let before = fetches(&site).await?;
    let inline = site.answers("inline_bytes").await?;
    site.clone_all().await?;
    ensure!(site.answers("hits").await? == hits);
    ensure!(site.answers("redirected").await? == redirected.map(|count| count + 1.0));
    ensure!(site.answers("inline_bytes").await? == inline);
    ensure!(fetches(&site).await? == before.map(|count| count + 3.0));
    ensure!(site.answers("misses").await? == [1.0; 3]);
    site.stop().await
}

/// How often clients were sent to the server's own endpoint, and how often
/// they came there.
async fn fetches(site: &Site) -> Result<[f64; 2]> {
    Ok([
        site.count("redirects_total", "target=\"own\"").await?,
        site.count("content_requests_total", "200").await?,
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_the_client_filters_is_told_and_not_used() -> Result<()> {
    let plan = Plan::new().await?;
    let configuration =
        plan.memory_and_disk() + &Plan::own_target(&plan.url()) + "tls_versions = ['1.3']\n";
    let site = plan.start(&configuration).await?;
    site.advertises(&["own"]).await?;
    for _ in 0..4 {
        site.clone_all().await?;
    }
    ensure!(site.answers("hits").await? == [3.0; 3]);
    ensure!(site.count("redirects_total", "own").await? == 0.0);
    ensure!(site.count("redirects_healthy", "own").await? == 1.0);
    // Nobody would fetch what is put there.
    ensure!(site.count("redirects_published_total", "own").await? == 0.0);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_nobody_serves_is_not_told() -> Result<()> {
    let plan = Plan::new().await?;
    let nobody = format!("http://127.0.0.1:{}", free_port()?);
    let configuration = plan.memory_and_disk() + &Plan::own_target(&nobody);
    let site = plan.start(&configuration).await?;
    for _ in 0..3 {
        ensure!(site.advertised().await?.is_empty());
        site.clone_all().await?;
    }
    ensure!(site.answers("hits").await? == [2.0; 3]);
    ensure!(site.count("redirects_total", "own").await? == 0.0);
    ensure!(site.count("redirects_healthy", "own").await? == 0.0);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_is_left_out_until_it_is_back() -> Result<()> {
    let plan = Plan::new().await?;
    let mut relay = Relay::start(plan.port).await?;
    let configuration = plan.memory_and_disk() + &Plan::own_target(&relay.url());
    let site = plan.start(&configuration).await?;
    site.advertises(&["own"]).await?;
    site.fill_targets().await?;
    for _ in 0..2 {
        relay.lose().await;
        let took = site.advertises(&[]).await?;
        ensure!(took < GONE_LIMIT, "told of for {took:?}");
        let redirects = site.count("redirects_total", "own").await?;
        site.clone_all().await?;
        ensure!(site.count("redirects_total", "own").await? == redirects);

        relay.go_on().await?;
        let took = site.advertises(&["own"]).await?;
        ensure!(took < GONE_LIMIT, "not told of for {took:?}");
        site.clone_all().await?;
        ensure!(site.count("redirects_total", "own").await? == redirects + 3.0);
    }
    site.stop().await
}
