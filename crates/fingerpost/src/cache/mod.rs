//! `fingerpost cache`: remembered answers from the command line.

mod drop;
mod ls;
mod name;
mod show;
mod stats;
pub(crate) mod tiers;
mod warm;

use crate::exit::Exit;

/// Look at remembered answers, fill and empty their stores.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the answers on disk.
    Ls(ls::Args),
    /// Show where an answer is and whether it is whole, or print its bytes.
    Show(show::Args),
    /// Drop answers from disk and Valkey.
    Drop(drop::Args),
    /// Show what a running server counts of its answers.
    Stats(stats::Args),
    /// Have a server make the answers that a clone asks for, before somebody
    /// clones.
    Warm(warm::Args),
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Ls(args) => ls::run(args),
        Command::Show(args) => show::run(args),
        Command::Drop(args) => drop::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Warm(args) => warm::run(args),
    }
}
