//! `fingerpost bench fill`: databases large enough to measure with, made
//! straight through SQL.

mod ours;
mod reference;
mod scatter;

use std::path::PathBuf;

use rusqlite::Connection;

use crate::exit::Exit;
use crate::progress::Progress;

use super::keys::{Keys, METHOD};
use super::listing::{self, Trees};
use scatter::Scatter;

/// Adds rows to a database, by SQL and not by reports. The rows' keys are
/// those that `bench hashequiv` asks for with the same seed and method. For
/// measurements: no server may have the file open.
#[derive(Debug, clap::Args)]
pub(crate) struct FillArgs {
    /// File to fill; made when it does not exist.
    file: PathBuf,
    /// Whose tables.
    #[arg(long, value_enum, default_value = "fingerpost")]
    format: Format,
    /// Unihashes to add, one for each key.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rows: u64,
    /// Number of the first key.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Add a reported output for each unihash as well.
    #[arg(long)]
    outputs: bool,
    /// Give each output siginfo of this many bytes (reference format only).
    #[arg(long, requires = "outputs")]
    siginfo_bytes: Option<u32>,
    /// Directories whose trees the siginfo lists. Default: /usr/lib,
    /// /usr/include and /usr/share.
    #[arg(long)]
    trees: Vec<PathBuf>,
    /// Method of all rows.
    #[arg(long, default_value = METHOD)]
    method: String,
    /// Seed of all keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Fingerpost's own tables.
    Fingerpost,
    /// The tables of BitBake's server since February 2024.
    Reference,
}

/// Fills the file; rows that are there already are an error.
pub(super) fn run(args: &FillArgs) -> anyhow::Result<Exit> {
    let keys = Keys::new(args.seed);
    match args.format {
        Format::Fingerpost => {
            anyhow::ensure!(
                args.siginfo_bytes.is_none(),
                "siginfo is for the reference format only"
            );
            ours::fill(args, keys)?;
        }
        Format::Reference => {
            let siginfo = args
                .siginfo_bytes
                .map(|bytes| Siginfo::new(args, keys, bytes))
                .transpose()?;
            reference::fill(args, keys, siginfo.as_ref())?;
        }
    }
    Ok(Exit::Ok)
}

impl FillArgs {
    /// The keys in the order of their insertion, which is not that of their
    /// numbers: `bench hashequiv` asks for low numbers most, and rows that are
    /// asked for most do not lie side by side in a real database either.
    fn keys_in_order(&self) -> impl Iterator<Item = u64> {
        let first = self.first;
        Scatter::new(self.rows).map(move |number| first + number)
    }
}

/// Texts for outputs.
struct Siginfo {
    trees: Trees,
    bytes: usize,
}

impl Siginfo {
    fn new(args: &FillArgs, keys: Keys, bytes: u32) -> anyhow::Result<Self> {
        Ok(Self {
            trees: listing::trees(&args.trees, keys)?,
            bytes: bytes as usize,
        })
    }

    fn text(&self, task: u64) -> String {
        let mut text = b"OEOuthashBasic\\n".to_vec();
        self.trees
            .push_listing(&mut text, task, listing::NO_REBUILDS, self.bytes);
        String::from_utf8(text)
            .expect("a listing is ASCII")
            .replace("\\n", "\n")
    }
}

/// Runs `insert` in one transaction without journal: a fill that is
/// interrupted leaves a file to be deleted.
fn in_bulk(
    conn: &mut Connection,
    what: &str,
    rows: u64,
    insert: impl FnOnce(&Connection, &dyn Fn(u64)) -> rusqlite::Result<()>,
) -> anyhow::Result<()> {
    conn.pragma_update(None, "synchronous", "OFF")?;
    conn.pragma_update(None, "cache_size", -512 * 1024)?;
    conn.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(()))?;
    let progress = Progress::new(what, "rows", Some(rows));
    let transaction = conn.transaction()?;
    // Rows are counted one by one; the bar wants batches.
    insert(&transaction, &|done| {
        if done % 10_000 == 0 {
            progress.set(done, rows);
        }
    })?;
    transaction.commit()?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    progress.finish();
    Ok(())
}
