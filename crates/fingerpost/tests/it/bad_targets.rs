//! Our own client and targets that lie, die and are slow: its answer is complete and
//! right all the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_hg_proto::CommandRequest;
use fingerpost_testkit::{Manner, Relay};

use crate::clones::{Plan, Site};
use crate::questions::{Told, ask, ask_inline, filesdata, nodes, redirected};

/// What our client asks of a server whose target is behind a relay.
struct Asked {
    site: Site,
    relay: Relay,
    request: CommandRequest,
    /// The answer as it is without redirects.
    right: Told,
}

impl Asked {
    /// The answer lies at the target. It counts as working, whatever it does.
    async fn new() -> Result<Self> {
        let plan = Plan::new().await?;
        let relay = Relay::start(plan.port).await?;
        let target = Plan::own_target(&relay.url()) + "probe = false\n";
        let configuration = plan.memory_and_disk() + &target;
        let site = plan.start(&configuration).await?;
        let request = filesdata(&nodes(site.plan()).await?[..3], None);
        let right = ask_inline(&site.client()?, &request).await?;
        let url = redirected(&site, &request).await?;
        ensure!(url.starts_with(&relay.url()), "{url}");
        Ok(Self {
            site,
            relay,
            request,
            right,
        })
    }

    /// Asks some times, as clients do that know nothing of what others found: the
    /// answer is right, and came from the target or did not.
    async fn is_right(&self, from_target: bool) -> Result<()> {
        for _ in 0..3 {
            let told = ask(&self.site.client()?, &self.request).await?;
            ensure!(told.responses == self.right.responses, "another answer");
            let followed: Vec<_> = told.redirects.iter().map(|it| it.followed).collect();
            ensure!(followed == [from_target], "{:?}", told.redirects);
        }
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.relay.be(Manner::Honest);
        self.is_right(true).await?;
        self.site.stop().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_target_changes_is_asked_for_again() -> Result<()> {
    let asked = Asked::new().await?;
    asked.relay.be(Manner::Lies);
    asked.is_right(false).await?;
    ensure!(asked.relay.spoilt() == 3);
    asked.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_target_breaks_off_is_asked_for_again() -> Result<()> {
    let asked = Asked::new().await?;
    asked.relay.be(Manner::BreaksOff);
    asked.is_right(false).await?;
    ensure!(asked.relay.spoilt() == 3);
    asked.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_target_had_is_asked_for_again() -> Result<()> {
    let mut asked = Asked::new().await?;
    asked.relay.lose().await;
    asked.is_right(false).await?;
    asked.relay.go_on().await?;
    asked.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_target_is_waited_for() -> Result<()> {
    let asked = Asked::new().await?;
    asked.relay.be(Manner::Dawdles(Duration::from_millis(2)));
    asked.is_right(true).await?;
    ensure!(asked.relay.spoilt() == 3);
    asked.end().await
}

/// Our client asks while its target dies: what it has by then is nothing, and it
/// asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_in_the_middle_is_done_without() -> Result<()> {
    let mut asked = Asked::new().await?;
    asked.relay.be(Manner::Hangs);
    let (client, request) = (asked.site.client()?, asked.request.clone());
    let asking = tokio::spawn(async move { ask(&client, &request).await });
    crate::world::eventually(Duration::from_secs(20), async || {
        Ok(asked.relay.spoilt() == 1)
    })
    .await?;
    ensure!(!asking.is_finished());
    asked.relay.lose().await;
    let told = asking.await??;
    ensure!(told.responses == asked.right.responses, "another answer");
    ensure!(!told.redirects[0].followed, "{:?}", told.redirects);
    asked.relay.go_on().await?;
    asked.end().await
}
