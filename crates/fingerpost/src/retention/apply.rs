//! `fingerpost retention run`.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use fingerpost_hashequiv::retention::Event;

use super::Opened;
use super::plan::tell;
use crate::backup::WhichDatabase;
use crate::exit::{Exit, failure};
use crate::out::Out;
use crate::progress::Progress;
use crate::signals::StopSignals;

/// Delete now what the rules say, whatever the schedule is. The server may run meanwhile. A stop signal ends it within
/// a second; what is left goes with the next run.
///
/// Exit status 1 if it was stopped, 69 if another process is at it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: WhichDatabase,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Deletes.
pub(super) async fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::catch().context("cannot catch signals")?;
    let opened = Opened::open(&args.which).await?;
    opened.needs_rules()?;
    let progress = Progress::new("Deleting", "rows", None);
    let gone = AtomicU64::new(0);
    let watch = |event| {
        if let Event::Gone { rows, .. } = event {
            gone.fetch_add(rows, Ordering::Relaxed);
        }
        progress.count(gone.load(Ordering::Relaxed));
    };
    let ran = tokio::select! {
        ran = opened.retention.run(&watch) => Some(ran),
        _ = signals.next() => None,
    };
    if ran.is_none() {
        opened.retention.stopped().await?;
    }
    opened.close().await;
    progress.finish();
    let Some(ran) = ran else {
        let gone = gone.load(Ordering::Relaxed);
        eprintln!("Stopped after {gone} rows; what is left goes with the next run.");
        return Ok(Exit::Found);
    };
    let Some(report) = ran? else {
        return Err(failure(Exit::Unavailable, "another process is at it"));
    };
    tell(&report, args.json, false)?;
    if !args.json {
        let bytes = report.given_back_bytes;
        Out::default().line(&format!("{bytes} bytes were given back to the file system"))?;
    }
    Ok(Exit::Ok)
}
