//! The command line of `fingerpost agent` and of `fingerpost-agent`, which are one.

use std::path::PathBuf;

use crate::settings::Settings;

/// Stand between BitBake and its hash equivalence server, on the build host.
///
/// BitBake asks the agent's socket (`BB_HASHSERVE = "unix://PATH"`), and whatever the server
/// does, no build waits longer than the deadlines: what is not known by then is built.
/// Needs no configuration but the server's address, and no root. Keys of the file are the
/// options' names with `_` in place of `-`; an option counts more than its variable, that
/// more than the file.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Configuration file. Default: `/etc/fingerpost/agent.toml`, if it is there.
    #[arg(short, long, value_name = "FILE", env = "FINGERPOST_AGENT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show what a running agent does, and how its server is.
    Status(StatusArgs),
}

/// Show what a running agent does, and how its server is.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The agent's socket. Default: the user's own agent, else the host's.
    #[arg(long, value_name = "PATH", env = "FINGERPOST_AGENT_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
