//! `fingerpost bench store`: the store on disk with many entries.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use fingerpost_content::Disk;
use fingerpost_core::{Cacher, EntryName, EntryNames, KeyHasher, SystemClock};
use hdrhistogram::Histogram;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use crate::exit::Exit;
use crate::progress::Progress;

/// Measures the store of answers on disk: how long it takes to open one with
/// many entries, and to find one of them.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Directory of the store; entries of an earlier run are used again.
    directory: PathBuf,
    /// Entries that there shall be, 4 KiB of disk each.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Entries that are looked up, one after the other, in any order.
    #[arg(long, default_value_t = 20_000)]
    lookups: u64,
    /// Seed of that order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    entries: u64,
    open_ms: f64,
    lookup_p50_us: f64,
    lookup_p99_us: f64,
    lookup_max_us: f64,
}

/// Entries that are being stored at a time.
const STORING: usize = 16;
const ENTRY_BYTES: usize = 1000;
const ROOM: u64 = 1 << 50;
/// A minute.
const LOOKUP_NANOS_MAX: u64 = 60_000_000_000;

/// Fills the store as far as it is not full, and measures.
pub(super) fn run(args: &StoreArgs) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let disk = open(args)?;
    runtime.block_on(fill(args, disk))?;
    let began = Instant::now();
    let disk = open(args)?;
    let found = runtime.block_on(disk.look_up(&name(0)))?;
    let opened = began.elapsed();
    anyhow::ensure!(found.is_some(), "the first entry is not there");
    let times = runtime.block_on(look_up(args, &disk))?;
    let measured = Measured {
        entries: args.entries,
        open_ms: opened.as_secs_f64() * 1e3,
        lookup_p50_us: times.value_at_quantile(0.5) as f64 / 1e3,
        lookup_p99_us: times.value_at_quantile(0.99) as f64 / 1e3,
        lookup_max_us: times.max() as f64 / 1e3,
    };
    let text = serde_json::to_string(&measured).context("numbers are JSON")?;
    writeln!(std::io::stdout(), "{text}").context("standard output is closed")?;
    Ok(Exit::Ok)
}

fn open(args: &StoreArgs) -> anyhow::Result<Arc<Disk>> {
    let disk = Disk::open(&args.directory, ROOM, Arc::new(SystemClock));
    let disk = disk.with_context(|| args.directory.display().to_string())?;
    Ok(Arc::new(disk))
}

/// The name of an entry, which is as any other.
fn name(number: u64) -> EntryName {
    let mut hasher = KeyHasher::new("bench", 1);
    hasher.part(&number.to_be_bytes());
    EntryNames::new(b"bench").name(&hasher.finish(), "bench")
}

async fn fill(args: &StoreArgs, disk: Arc<Disk>) -> anyhow::Result<()> {
    let last = args.entries.saturating_sub(1);
    if disk.look_up(&name(last)).await?.is_some() {
        return Ok(());
    }
    let progress = Progress::new("Storing", "entries", Some(args.entries));
    let mut storing = tokio::task::JoinSet::new();
    for number in 0..args.entries {
        if storing.len() == STORING {
            storing.join_next().await.transpose()?.transpose()?;
        }
        let disk = Arc::clone(&disk);
        storing.spawn(async move {
            let content = Arc::new(Bytes::from(vec![number as u8; ENTRY_BYTES]));
            disk.store(&name(number), content).await
        });
        if number % 10_000 == 0 {
            progress.set(number, args.entries);
        }
    }
    while let Some(stored) = storing.join_next().await {
        stored??;
    }
    progress.finish();
    Ok(())
}

/// Finds entries and reads them, and gives the nanoseconds of each.
async fn look_up(args: &StoreArgs, disk: &Disk) -> anyhow::Result<Histogram<u64>> {
    let mut random = rand::rngs::StdRng::seed_from_u64(args.seed);
    let bounds = Histogram::new_with_bounds(1, LOOKUP_NANOS_MAX, 3);
    let mut times = bounds.context("three digits are allowed")?;
    for _ in 0..args.lookups {
        let number = random.random_range(0..args.entries.max(1));
        let name = name(number);
        let began = Instant::now();
        let found = disk.look_up(&name).await?;
        let content = found.with_context(|| format!("entry {number} is gone"))?;
        let bytes = content.read(0, ENTRY_BYTES).await?;
        let elapsed: Duration = began.elapsed();
        anyhow::ensure!(bytes.len() == ENTRY_BYTES, "entry {number} is cut");
        times.saturating_record(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(times)
}
