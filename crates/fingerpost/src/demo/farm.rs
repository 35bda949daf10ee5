//! The farm: builders, their agent, its server, and the link between these two.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_agent::Status;
use fingerpost_agent::cli::status_on;
use fingerpost_hashequiv_client::ClientOptions;
use fingerpost_net::Address;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep_until};

use super::builder::{Builder, Pace};
use super::checking::{self, End};
use super::link::{Link, Wire};
use super::phases::{AWAY, Event, Phase, STAGGER};
use super::processes::Processes;
use super::screen::{Row, Screen};
use super::tally::{Counts, Tally};
use super::tasks::Tasks;

/// Builders that ask an agent whose server can be disturbed.
pub(super) struct Farm<'a> {
    processes: &'a mut Processes,
    server: SocketAddr,
    link: Link,
    socket: PathBuf,
    ask: ClientOptions,
    builders: Vec<Builder>,
    tally: Arc<Tally>,
}

/// What happened in a phase.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) name: &'static str,
    pub(super) event: Event,
    pub(super) lasted: Duration,
    pub(super) builds: Counts,
    pub(super) agent: AgentCounts,
}

/// What the agent counted in a phase.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AgentCounts {
    pub(super) lookups: u64,
    /// Of them, those that it answered without asking.
    pub(super) locally: u64,
    /// Reports that it kept for the server.
    pub(super) kept: u64,
    /// Reports that it brought to the server later.
    pub(super) later: u64,
    /// Reports that it has now.
    pub(super) spool: u64,
}

/// How things stood at a moment.
struct Look {
    builds: Counts,
    agent: Status,
}

impl<'a> Farm<'a> {
    /// Starts a server, an agent and builders, which look so many tasks up each.
    pub(super) async fn start(
        builders: u16,
        tasks: u32,
        deadline: Duration,
        processes: &'a mut Processes,
    ) -> anyhow::Result<Self> {
        let server = processes.start_server().await?;
        let link = Link::to(server)?;
        processes.start_agent(link.address(), deadline).await?;
        let socket = processes.socket();
        let ask = ClientOptions::to(Address::Unix(socket.clone()));
        let tally = Arc::<Tally>::default();
        let builders = (0..builders).map(|number| {
            let tasks = Tasks::of(number, tasks)?;
            Ok(Builder::new(ask.clone(), tasks, Arc::clone(&tally)))
        });
        let builders = builders.collect::<anyhow::Result<_>>()?;
        Ok(Self {
            processes,
            server,
            link,
            socket,
            ask,
            builders,
            tally,
        })
    }

    /// Where server and agent are.
    pub(super) fn text(&self) -> String {
        let socket = self.socket.display();
        format!("a server on {}, an agent on {socket}", self.server)
    }

    /// Whom builds ask, and how.
    pub(super) const fn builds_ask(&self) -> &ClientOptions {
        &self.ask
    }

    /// One phase, in which each builder builds such numbers of tasks one after the other.
    pub(super) async fn pass(
        &mut self,
        phase: &Phase,
        tasks: Vec<usize>,
        screen: &mut Screen,
    ) -> anyhow::Result<Seen> {
        // What mends is done before anybody asks, what disturbs amid the builds.
        let is_disturbing = matches!(phase.event, Event::Kill | Event::Stall | Event::Move);
        if !is_disturbing {
            self.apply(phase.event).await?;
        }
        self.tally.begin();
        let before = self.look().await?;
        let begin = Instant::now();
        let mut work = self.begin_builds(phase, &tasks, begin);
        let mut ticks = interval_at(begin + screen.every(), screen.every());
        let disturbed = sleep_until(begin + phase.lasts / DISTURBED);
        let over = sleep_until(begin + phase.lasts);
        tokio::pin!(disturbed, over);
        let (mut is_due, mut is_over) = (is_disturbing, false);
        while !(work.is_empty() && is_over) {
            tokio::select! {
                () = &mut disturbed, if is_due => {
                    self.apply(phase.event).await?;
                    is_due = false;
                }
                () = &mut over, if !is_over => is_over = true,
                Some(builder) = work.join_next() => self.builders.push(builder?),
                _ = ticks.tick() => {
                    // An agent that does not answer is shown by what builds wait.
                    if let Ok(now) = self.look().await {
                        screen.draw(&Row::of(&seen(phase, begin, &before, &now)))?;
                    }
                }
            }
        }
        let seen = seen(phase, begin, &before, &self.look().await?);
        screen.leave(&Row::of(&seen))?;
        Ok(seen)
    }

    /// Waits for the reports that the agent kept, and looks for all of them at the server.
    pub(super) async fn end(&self) -> anyhow::Result<End> {
        let left = checking::settle(&self.socket).await?;
        let reported = self.tally.take_reported();
        let server = ClientOptions::to(self.server.to_string().parse()?);
        let missing = checking::missing(server, &reported).await?;
        Ok(End {
            reported: reported.len(),
            missing,
            left,
            builds: self.tally.counts(),
            trouble: self.tally.trouble(),
            agent: agent_counts(&Status::default(), &status_on(&self.socket).await?),
        })
    }

    async fn apply(&mut self, event: Event) -> anyhow::Result<()> {
        let wire = match event {
            Event::None => return Ok(()),
            Event::Kill => {
                self.processes.kill_server().await?;
                Wire::Cut
            }
            Event::Restart => {
                self.server = self.processes.start_server().await?;
                self.link.lead_to(self.server);
                Wire::Carries(Duration::ZERO)
            }
            Event::Stall => Wire::Stalled,
            Event::Move => Wire::Carries(AWAY),
            Event::Resume | Event::Return => Wire::Carries(Duration::ZERO),
        };
        Ok(self.link.set(wire).await?)
    }

    /// Builders do not begin together, and the last one ends with the phase.
    fn begin_builds(&mut self, phase: &Phase, tasks: &[usize], begin: Instant) -> JoinSet<Builder> {
        let lasts = phase.lasts.mul_f64(1.0 / (tasks.len() as f64 + STAGGER));
        let count = self.builders.len() as f64;
        let mut work = JoinSet::new();
        for (number, mut builder) in self.builders.drain(..).enumerate() {
            let tasks = tasks.to_vec();
            let first = begin + lasts.mul_f64(STAGGER * number as f64 / count);
            work.spawn(async move {
                for (before, tasks) in (0..).zip(tasks) {
                    let begin = first + lasts * before;
                    sleep_until(begin).await;
                    builder.build(tasks, Pace { begin, lasts }).await;
                }
                builder
            });
        }
        work
    }

    async fn look(&self) -> anyhow::Result<Look> {
        Ok(Look {
            agent: status_on(&self.socket).await?,
            builds: self.tally.counts(),
        })
    }
}

fn seen(phase: &Phase, begin: Instant, before: &Look, now: &Look) -> Seen {
    Seen {
        name: phase.name,
        event: phase.event,
        lasted: begin.elapsed(),
        builds: now.builds.since(&before.builds),
        agent: agent_counts(&before.agent, &now.agent),
    }
}

fn agent_counts(before: &Status, now: &Status) -> AgentCounts {
    let kept = |status: &Status| status.counts.delivered + status.dead_letters + status.spool.count;
    AgentCounts {
        lookups: now.lookups.saturating_sub(before.lookups),
        locally: now.answered_locally.saturating_sub(before.answered_locally),
        kept: kept(now).saturating_sub(kept(before)),
        later: now.counts.delivered.saturating_sub(before.counts.delivered),
        spool: now.spool.count,
    }
}

/// What disturbs does so after that part of a phase.
const DISTURBED: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_whether_it_is_still_here_or_not() {
        let mut status = Status::default();
        status.spool.count = 5;
        let before = status.clone();
        status.spool.count = 3;
        status.counts.delivered = 9;
        let counts = agent_counts(&before, &status);
        assert_eq!((counts.kept, counts.later, counts.spool), (7, 9, 3));
    }
}
