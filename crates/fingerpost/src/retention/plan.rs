//! `fingerpost retention plan`.

use fingerpost_hashequiv::retention::{Event, Report};

use super::Opened;
use crate::backup::WhichDatabase;
use crate::exit::Exit;
use crate::out::Out;
use crate::progress::Progress;

/// Show what would go now by each rule, kind of rows and term, with what it takes in the file and some examples, and
/// delete nothing. The server may run meanwhile.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: WhichDatabase,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Plans.
pub(super) async fn run(args: &Args) -> anyhow::Result<Exit> {
    let opened = Opened::open(&args.which).await?;
    opened.needs_rules()?;
    let progress = Progress::new("Looking", "rows", None);
    let looked = std::sync::atomic::AtomicU64::new(0);
    let watch = |event| {
        if let Event::Looked(rows) = event {
            let before = looked.fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
            progress.count(before + rows);
        }
    };
    let report = opened.retention.plan(&watch).await;
    opened.close().await;
    progress.finish();
    tell(&report?, args.json, true)?;
    Ok(Exit::Ok)
}

/// Tells what goes, or went; of what goes with examples.
pub(super) fn tell(report: &Report, json: bool, is_plan: bool) -> anyhow::Result<()> {
    let mut out = Out::default();
    if json {
        let mut value = serde_json::to_value(report)?;
        value["rows"] = report.rows().into();
        value["bytes"] = report.bytes().into();
        out.line(&value.to_string())?;
        return Ok(());
    }
    for tally in &report.gone {
        let (kind, term) = (tally.kind.as_str(), tally.term.as_str());
        let (rule, rows, bytes) = (tally.rule, tally.rows, tally.bytes);
        out.line(&format!(
            "rule {rule:<2} {kind:<8} {term:<6} {rows:>10} rows {bytes:>14} bytes"
        ))?;
        let examples = tally.examples.iter().filter(|_| is_plan);
        for example in examples {
            // Quoted, so that a name cannot draw on the terminal.
            out.line(&format!("    {example:?}"))?;
        }
    }
    let goes = if is_plan { "would go" } else { "went" };
    let (looked, rows, bytes) = (report.looked, report.rows(), report.bytes());
    out.line(&format!(
        "{rows} rows {goes}, which take {bytes} bytes; {looked} were looked at"
    ))?;
    Ok(())
}
