//! `fingerpost cache`: the answers that a server remembers.

mod warm;

use crate::exit::Exit;

/// The answers that a server remembers.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Have a server make the answers that a clone asks for, before somebody
    /// clones.
    Warm(warm::Args),
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Warm(args) => warm::run(args),
    }
}
