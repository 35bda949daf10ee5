//! The command line: subcommands, and the two names of the reference's
//! programs that this one also answers to.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::exit::Exit;
use crate::{
    backup, bench, cache, check_config, client, config, copy, demo, docs, doctor, hg, key, moving,
    retention, serve, snapshot, top,
};

/// Fingerpost: one server for build farms. It speaks the hash equivalence
/// protocol of BitBake's `bitbake-hashserv`, byte for byte.
#[derive(Debug, Parser)]
#[command(name = "fingerpost", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Args),
    // What it does is told where both programs have it from.
    Agent(Box<fingerpost_agent::cli::Args>),
    /// Talk to a hash equivalence server, as `bitbake-hashclient` does.
    Client(client::Args),
    /// Say what is wrong between a build and its hash server, and what to change.
    Doctor(doctor::Args),
    /// Show a farm whose server is killed, stalled and slowed down, and what its builds notice;
    /// cleans up.
    Demo(demo::Args),
    /// Make a Fingerpost database of one of bitbake-hashserv.
    Import(moving::ImportArgs),
    /// Write a database that bitbake-hashserv can use, to go back to it.
    Export(moving::ExportArgs),
    /// Forward to a reference server and compare a Fingerpost server's answers.
    Shadow(moving::ShadowArgs),
    /// Copy the database to a file, while the server runs or not.
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the database, with the server stopped.
    Restore(backup::RestoreArgs),
    /// Copy a live database into another one, SQLite or PostgreSQL.
    Copy(copy::Args),
    /// Measure a server, or make a database to measure one with.
    Bench(bench::BenchArgs),
    /// Serve, ask and check Mercurial repositories.
    Hg(hg::Args),
    /// Show what a running server does, again and again.
    Top(top::Args),
    /// Look at remembered answers, fill and empty their stores.
    Cache(cache::Args),
    /// Make and keep the keys that rows of hash equivalence are signed with.
    Key(key::Args),
    /// Verify, show and publish snapshots: files with what a namespace knew.
    Snapshot(snapshot::Args),
    /// Show what the rules of retention would delete, delete it, and what was deleted.
    Retention(retention::Args),
    /// Print a page that is made from the code.
    #[command(hide = true)]
    Docs(docs::Args),
    /// Check the configuration and show what is in force.
    CheckConfig(check_config::Args),
}

/// Runs the program with the process's arguments.
pub(crate) fn run() -> anyhow::Result<Exit> {
    let matches = match command().try_get_matches_from(arguments(std::env::args_os())) {
        Ok(matches) => matches,
        Err(error) => {
            // Failing to print leaves nothing to tell it to.
            let _ = error.print();
            return Ok(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            });
        }
    };
    let cli = Cli::from_arg_matches(&matches).expect("clap matched its own command");
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Agent(args) => fingerpost_agent::cli::run(&args),
        Command::Client(args) => Ok(client::run(&args)),
        Command::Doctor(args) => doctor::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Import(args) => moving::import(&args),
        Command::Export(args) => moving::export(&args),
        Command::Shadow(args) => moving::shadow(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Copy(args) => copy::run(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Hg(args) => hg::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Retention(args) => retention::run(&args),
        Command::Docs(args) => Ok(docs::run(&args)),
        Command::CheckConfig(args) => check_config::run(&args),
    }
}

/// The command with the documentation of every key behind `serve --help`.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("serve", |serve| serve.after_long_help(config::help()))
}

/// The arguments as ours: called `bitbake-hashserv` it is the server with the
/// reference's defaults, called `bitbake-hashclient` it is the client.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut given = given.collect::<Vec<_>>();
    let name = given
        .first()
        .map(|name| Path::new(name).file_name().unwrap_or_default());
    let words: &[&str] = match name.and_then(std::ffi::OsStr::to_str) {
        Some("bitbake-hashserv") => &["serve", "--compat"],
        Some("bitbake-hashclient") => &["client"],
        _ => &[],
    };
    given.splice(
        given.len().min(1)..given.len().min(1),
        words.iter().map(OsString::from),
    );
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_references_names_are_known() {
        let words = |given: &[&str]| {
            let given = given.iter().map(OsString::from);
            arguments(given)
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(&["/usr/bin/bitbake-hashserv", "-r"]),
            ["/usr/bin/bitbake-hashserv", "serve", "--compat", "-r"]
        );
        assert_eq!(
            words(&["bitbake-hashclient", "ping"]),
            ["bitbake-hashclient", "client", "ping"]
        );
        assert_eq!(words(&["fingerpost", "serve"]), ["fingerpost", "serve"]);
    }
}
