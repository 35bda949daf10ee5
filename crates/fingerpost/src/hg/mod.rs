//! `fingerpost hg`: Mercurial repositories from the command line.

mod arguments;
mod call;
mod check;
mod notation;
mod paths;
mod serve;
mod verify;

pub(crate) use call::explain;

use crate::exit::Exit;

/// Mercurial repositories: serve, ask, check.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve repositories for a trial, without a configuration.
    Serve(serve::Args),
    /// Run a command of any server that speaks wire protocol v2.
    Call(call::Args),
    /// Verify every revision of a repository on disk against its node.
    Verify(verify::Args),
    /// Show what applies to each repository: who may read it, who may push,
    /// what is refused and why.
    Check(check::Args),
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Serve(args) => serve::run(args),
        Command::Call(args) => call::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Check(args) => check::run(args),
    }
}
