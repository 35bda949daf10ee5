//! `fingerpost hg`: commands about Mercurial repositories.

mod check;
mod paths;

use clap::Subcommand;

use crate::exit::Exit;

/// Work with Mercurial repositories.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what applies to each repository: who may read it, who may push,
    /// what is refused and why.
    Check(check::Args),
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Check(args) => check::run(args),
    }
}
