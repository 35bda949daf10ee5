//! `fingerpost hg verify`: every revision of a repository against its node.

use std::path::PathBuf;

use crate::exit::Exit;

/// Verify every revision of a repository on disk against its node.
///
/// Exits with 1 if anything is wrong. Nothing is written, and `hg` may go on
/// working on the repository.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The repository.
    #[arg(value_name = "REPO")]
    repository: PathBuf,
    /// Print problems as JSON, one object a line.
    #[arg(long)]
    json: bool,
}
