//! Whether nothing was lost.

use std::path::Path;
use std::time::Duration;

use fingerpost_agent::cli::status_on;
use fingerpost_hashequiv_client::{Client, ClientOptions};
use tokio::time::{Instant, sleep};

use super::farm::AgentCounts;
use super::tally::Counts;
use super::tasks::METHOD;

/// How it all ended.
#[derive(Clone, Debug, Default)]
pub(super) struct End {
    /// Tasks that builds reported, and those of them that the server does not know.
    pub(super) reported: usize,
    pub(super) missing: usize,
    /// Reports that the agent still has.
    pub(super) left: u64,
    /// Since the start.
    pub(super) builds: Counts,
    pub(super) agent: AgentCounts,
    /// Why the first build failed.
    pub(super) trouble: Option<String>,
}

/// Waits until the agent has brought all reports to the server; gives how many it still
/// has when that takes too long.
pub(super) async fn settle(agent: &Path) -> anyhow::Result<u64> {
    let give_up = Instant::now() + SETTLE_MAX;
    loop {
        let left = status_on(agent).await?.spool.count;
        if left == 0 || Instant::now() >= give_up {
            return Ok(left);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// How many of these tasks a server does not know, asked without the agent.
pub(super) async fn missing(server: ClientOptions, tasks: &[String]) -> anyhow::Result<usize> {
    let keys: Vec<_> = tasks.iter().map(|taskhash| (METHOD, taskhash)).collect();
    let unihashes = Client::new(server).unihashes(&keys).await?;
    Ok(unihashes.iter().filter(|it| it.is_none()).count())
}

const SETTLE_MAX: Duration = Duration::from_secs(60);
