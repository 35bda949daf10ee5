//! `fingerpost cache ls`: the answers on disk.

use fingerpost_content::Found;
use fingerpost_core::{Clock as _, EntryName, SystemClock};

use super::name::whole;
use super::tiers::{OrExitOf as _, Tiers, Used, Which, block_on, seconds};
use crate::exit::Exit;
use crate::out::Out;

/// Entries that are asked for at once.
const PAGE: usize = 10_000;

/// List the answers on disk: name, bytes of the file, and when it was used
/// last or until when it is pinned. In the order of the names, which tell
/// nothing of what they name.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Only names behind this one, as for the next page.
    #[arg(long, value_name = "NAME", value_parser = whole)]
    after: Option<EntryName>,
    /// No more than this many.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Lists.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(list(args))
}

async fn list(args: &Args) -> anyhow::Result<Exit> {
    let tiers = Tiers::open(&args.which)?;
    let disk = tiers.disk()?;
    let (mut after, mut left) = (args.after, args.max.unwrap_or(usize::MAX));
    let (mut out, mut entries, mut bytes) = (Out::default(), 0_u64, 0_u64);
    while left > 0 && !out.is_closed() {
        let page = disk
            .list(after, left.min(PAGE))
            .await
            .or_exit_of("the disk")?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.name);
        left -= page.len();
        for found in &page {
            entries += 1;
            bytes = bytes.saturating_add(found.file_bytes);
            out.line(&line(found, args.json))?;
        }
    }
    eprintln!("{entries} entries, {bytes} bytes");
    Ok(Exit::Ok)
}

fn line(found: &Found, json: bool) -> String {
    let (name, bytes) = (found.name.to_hex(), found.file_bytes);
    let used = Used::of(found, SystemClock.now());
    if !json {
        return format!("{name} {bytes:>12} {used}");
    }
    let (key, moment) = match used {
        Used::Last(moment) => ("used", moment),
        Used::PinnedUntil(moment) => ("pinned_until", moment),
    };
    serde_json::json!({"name": name, "file_bytes": bytes, key: seconds(moment)}).to_string()
}
