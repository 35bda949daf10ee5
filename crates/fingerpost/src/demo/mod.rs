//! `fingerpost demo`: a farm on this host, with a server that is killed, stalled and far
//! away, and what its builds notice of that.
//!
//! Server and agent are this program, in a directory that is removed. Between the two is
//! a [`link`] that can be disturbed; [`builder`] is what BitBake does, and [`mod@reference`]
//! computes how long its own client would have waited.

mod builder;
mod checking;
mod farm;
mod link;
mod phases;
mod processes;
mod reference;
mod screen;
mod sharing;
mod summary;
mod tally;
mod tasks;

use std::time::Duration;

use anyhow::Context as _;

use self::farm::Farm;
use self::processes::Processes;
use self::screen::Screen;
use self::summary::Summary;
use crate::exit::Exit;
use crate::signals::StopSignals;

/// Show a farm of builders whose server is killed, stalled and slowed; cleans up.
///
/// Server, agent and builders run on this host, for about a minute. The summary says what
/// builds noticed, and what the reference client would have waited.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Builders, each of which makes one build after the other.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    builders: u16,
    /// Tasks that each of them looks up, in all of its builds together.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tasks: u32,
    /// Some seconds in place of a minute.
    #[arg(long)]
    quick: bool,
}

/// Runs the demonstration. It finds something when a build failed or a report is lost.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    // One thread would let builders wait for the link, which waits for nobody.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut signals = StopSignals::catch().context("cannot catch signals")?;
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let mut screen = Screen::of_terminal();
        let mut processes = Processes::in_directory(dir.path());
        let shown = tokio::select! {
            _ = signals.next() => Ok(None),
            shown = show(args, &mut processes, &mut screen) => shown,
        };
        let stopped = processes.stop().await;
        let shown = shown.inspect_err(|_| eprint!("{}", processes.last_words()))?;
        stopped?;
        dir.close()
            .context("cannot remove the temporary directory")?;
        screen.say("stopped and cleaned up")?;
        Ok(match shown {
            Some(summary) if !summary.is_clean() => Exit::Found,
            _ => Exit::Ok,
        })
    })
}

/// Shows everything, or as much as anybody looks at.
async fn show(
    args: &Args,
    processes: &mut Processes,
    screen: &mut Screen,
) -> anyhow::Result<Option<Summary>> {
    let deadline = match args.quick {
        true => Duration::from_millis(500),
        false => Duration::from_secs(2),
    };
    let mut farm = Farm::start(args.builders, args.tasks, deadline, processes).await?;
    screen.say(&farm.text())?;
    screen.say(&sharing::show(farm.builds_ask()).await?)?;
    let phases = phases::all(args.quick);
    let builds: usize = phases.iter().map(|phase| phase.builds).sum();
    screen.say(&format!(
        "\n{} builders, {} tasks each, in {} builds; their deadline is {} s\n",
        args.builders,
        args.tasks,
        usize::from(args.builders) * builds,
        deadline.as_secs_f64(),
    ))?;
    let mut seen = Vec::with_capacity(phases.len());
    let shares = phases::shares(&phases, args.tasks as usize);
    for (phase, tasks) in phases.iter().zip(shares) {
        if screen.is_closed() {
            return Ok(None);
        }
        seen.push(farm.pass(phase, tasks, screen).await?);
    }
    let end = farm.end().await?;
    let summary = Summary {
        phases: seen,
        end,
        deadline,
    };
    screen.say(&format!("\n{}", summary.text().trim_end()))?;
    Ok(Some(summary))
}
