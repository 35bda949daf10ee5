//! `fingerpost retention status`.

use fingerpost_core::{Clock as _, SystemClock, Timestamp};
use fingerpost_hashequiv::retention::{Outcome, RunRecord, Schedule};
use serde_json::{Value, json};

use super::Opened;
use crate::backup::WhichDatabase;
use crate::exit::Exit;
use crate::out::Out;

/// Show the last run of whatever process, what it deleted, and when the next one is due.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: WhichDatabase,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs among which the last good one is looked for.
const RUNS: usize = 100;

/// Shows.
pub(super) async fn run(args: &Args) -> anyhow::Result<Exit> {
    let opened = Opened::open(&args.which).await?;
    let runs = opened.retention.runs(RUNS).await;
    let schedule = opened.loaded.config.retention_schedule();
    opened.close().await;
    let runs = runs?;
    let good = runs.iter().find(|run| run.outcome == Outcome::Done);
    let next = schedule.next(good.map(|run| run.started), SystemClock.now());
    let mut out = Out::default();
    if args.json {
        let value = json!({
            "last": runs.first().map(in_json),
            "last_success": good.map(in_json),
            "next": next.map(Timestamp::to_rfc3339),
        });
        out.line(&value.to_string())?;
        return Ok(Exit::Ok);
    }
    out.line(&format!("last run      {}", words(runs.first())))?;
    if good != runs.first() {
        out.line(&format!("last good one {}", words(good)))?;
    }
    let next = match (schedule, next) {
        (Schedule::Off, _) | (_, None) => "when somebody asks: there is no schedule".to_owned(),
        (_, Some(next)) => next.to_rfc3339(),
    };
    out.line(&format!("next run      {next}"))?;
    Ok(Exit::Ok)
}

fn in_json(run: &RunRecord) -> Value {
    json!({
        "started": run.started.to_rfc3339(),
        "ended": run.ended.map(Timestamp::to_rfc3339),
        "outcome": run.outcome,
        "rows": run.rows,
        "bytes": run.bytes,
        "given_back_bytes": run.given_back_bytes,
        "why": run.why,
    })
}

fn words(run: Option<&RunRecord>) -> String {
    let Some(run) = run else {
        return "none".to_owned();
    };
    let (started, rows, bytes) = (run.started.to_rfc3339(), run.rows, run.bytes);
    let seconds = run
        .ended
        .map(|ended| ended.0.saturating_sub(run.started.0) / 1_000_000);
    match run.outcome {
        Outcome::Running => format!("{started}: running, {rows} rows so far; or its process died"),
        Outcome::Stopped => format!("{started}: was stopped after some {rows} rows"),
        Outcome::Failed => format!("{started}: failed: {}", run.why),
        Outcome::Done => format!(
            "{started}: {rows} rows of {bytes} bytes went in {} s, {} bytes were given back",
            seconds.unwrap_or_default(),
            run.given_back_bytes
        ),
    }
}
