//! `fingerpost copy`: a live database into another one, SQLite or PostgreSQL.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use fingerpost_core::SystemClock;
use fingerpost_hashequiv::Database;
use fingerpost_hashequiv::copying::{CopyError, CopyOptions, CopyProgress, CopyReport, copy};

use crate::backup::{WhichDatabase, open_existing};
use crate::exit::{Exit, failure};
use crate::progress::Progress;
use crate::serve::{close_database, open_database};

/// Copy a database into another one while servers use it; run it again to go on, and with
/// --finish when they are stopped.
///
/// Both are a file, the URL of a PostgreSQL database, or `configured`: the one that `serve`
/// would open. The target has to be empty at first; nothing may serve it before the copy is
/// finished. Without --finish everything is compared, so the last run, with it, is short.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file instead of `$FINGERPOST_CONFIG` or
    /// `/etc/fingerpost/fingerpost.toml`.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database to copy.
    from: String,
    /// The database to copy into.
    into: String,
    /// Nobody writes to the source any more: take the rest, compare counts and samples, and
    /// declare the copy complete.
    #[arg(long)]
    finish: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(run_within(args))
}

async fn run_within(args: &Args) -> anyhow::Result<Exit> {
    if args.from == args.into {
        return Err(failure(
            Exit::Usage,
            "a database cannot be copied into itself",
        ));
    }
    let from = open(args, &args.from, true).await?;
    let into = open(args, &args.into, false).await?;
    let options = CopyOptions {
        finish: args.finish,
    };
    let mut shown: Option<(CopyProgress, Progress)> = None;
    let tell = |now: CopyProgress| {
        let is_same = |(before, _): &(CopyProgress, Progress)| {
            before.namespace == now.namespace && before.step == now.step
        };
        if !shown.as_ref().is_some_and(is_same) {
            if let Some((_, ended)) = shown.take() {
                ended.finish();
            }
            let what = format!("{}: {}", now.namespace, now.step);
            shown = Some((now.clone(), Progress::new(what, "rows", None)));
        }
        if let Some((_, progress)) = &shown {
            progress.count(now.rows);
        }
    };
    let clock = Arc::new(SystemClock);
    let copied = copy(from.clone(), into.clone(), options, clock, tell).await;
    if let Some((_, ended)) = shown {
        ended.finish();
    }
    close_database(from).await;
    close_database(into).await;
    let report = copied.map_err(|error| explain(&error))?;
    print!("{}", told(&report));
    Ok(Exit::Ok)
}

/// Opens one of the two; the source has to be there.
async fn open(args: &Args, name: &str, is_source: bool) -> anyhow::Result<Database> {
    let database = (name != "configured").then(|| name.to_owned());
    let which = WhichDatabase::named(args.config.clone(), database);
    let loaded = which.load()?;
    match is_source {
        true => open_existing(&loaded).await,
        false => open_database(&loaded).await,
    }
}

fn explain(error: &CopyError) -> anyhow::Error {
    let (exit, way_out) = match error {
        CopyError::From(_) | CopyError::Into(_) => (Exit::Io, "; run the same again to go on"),
        CopyError::NotEmpty | CopyError::OtherSource => (Exit::Usage, "; copy into a new one"),
        CopyError::State(_) => (
            Exit::Usage,
            "; copy into a new one, or finish it with that one",
        ),
        CopyError::StillWritten => (Exit::Found, ", and run the same again"),
        CopyError::Differs { .. } => (
            Exit::Found,
            "; run it without --finish, which compares everything, and then with it",
        ),
    };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    failure(exit, format!("{text}{way_out}"))
}

/// What is printed at the end.
fn told(report: &CopyReport) -> String {
    let mut told = String::new();
    for (namespace, rows) in &report.taken {
        told.push_str(&format!(
            "{namespace}: {} mappings, {} outputs, {} listings, {} signatures taken over\n",
            rows.mappings, rows.outputs, rows.listings, rows.signatures
        ));
    }
    if report.removed > 0 {
        told.push_str(&format!(
            "{} rows removed, which are gone\n",
            report.removed
        ));
    }
    told.push_str(&format!("{} users\n", report.users));
    match report.finishing {
        Some(took) => told.push_str(&format!(
            "Complete after {:.1} s: counts are equal, and the content of {} rows is\n",
            took.as_secs_f64(),
            report.sampled
        )),
        None => told.push_str(
            "Not complete: stop the servers of the source and run this again with --finish\n",
        ),
    }
    told
}
