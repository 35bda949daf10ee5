//! The command line of `fingerpost agent` and of `fingerpost-agent`, which are one.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Arg;

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

/// What begins the names of the agent's variables.
const VARIABLES: &str = "FINGERPOST_AGENT_";
/// One of BitBake's layer, which may be in the environment too.
const OF_THE_LAYER: &str = "FINGERPOST_AGENT_OPTIONS";

impl Args {
    /// Those of some variables that look like the agent's and are none of it: what was meant
    /// by them is not in effect.
    pub(crate) fn unknown_variables(names: impl IntoIterator<Item = OsString>) -> Vec<String> {
        let command = <Self as clap::Args>::augment_args(clap::Command::new("agent"));
        let known: Vec<_> = command.get_arguments().filter_map(Arg::get_env).collect();
        let unknown = names
            .into_iter()
            .filter(|name| !known.contains(&name.as_os_str()));
        unknown
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.starts_with(VARIABLES) && name != OF_THE_LAYER)
            .collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_the_name_of_a_variable_is_noticed() {
        let names = [
            "FINGERPOST_AGENT_SPOL_MIB",
            "FINGERPOST_AGENT_SPOOL_MIB",
            OF_THE_LAYER,
            "HOME",
        ];
        let unknown = Args::unknown_variables(names.map(OsString::from));
        assert_eq!(unknown, ["FINGERPOST_AGENT_SPOL_MIB"]);
    }
}
