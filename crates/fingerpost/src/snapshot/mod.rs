//! `fingerpost snapshot`: files with what a namespace knew at one moment.
//! `docs/snapshots.md` is their format.

mod make;
mod making;
mod publish;
mod show;
mod verify;

use std::path::Path;

use fingerpost_signatures::KeyRing;
use fingerpost_snapshot::{Residence, Snapshot, SnapshotError};

pub(crate) use making::{PAGE_ROWS, make};

use crate::exit::{Exit, failure};

/// Make, verify, look at and publish snapshots.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a snapshot of a database file.
    Make(make::Args),
    /// Check every file of a snapshot, and who published it.
    Verify(verify::Args),
    /// Show what a snapshot says of itself, or look one taskhash up.
    Show(show::Args),
    /// Sign a snapshot, once all of it was verified.
    Publish(publish::Args),
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Make(args) => make::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Show(args) => show::run(args),
        Command::Publish(args) => publish::run(args),
    }
}

/// Opens a snapshot, whose publisher is checked if there are `publishers`.
fn open(directory: &Path, publishers: Option<&KeyRing>) -> anyhow::Result<Snapshot> {
    Snapshot::open(directory, Residence::File, publishers)
        .map_err(|error| in_words(directory, error))
}

/// What is wrong with a snapshot, with the exit code that fits.
fn in_words(directory: &Path, error: SnapshotError) -> anyhow::Error {
    let exit = match &error {
        // Its cause says which exit code fits.
        SnapshotError::Io { .. } => {
            return anyhow::Error::new(error).context(directory.display().to_string());
        }
        SnapshotError::Untrusted(_) => Exit::Found,
        SnapshotError::Manifest(_) | SnapshotError::Damaged { .. } => Exit::BadData,
    };
    let whole = anyhow::Error::new(error);
    failure(exit, format!("{}: {whole:#}", directory.display()))
}
