//! `fingerpost key`: the keys that rows of hash equivalence are signed with, in a
//! key ring file. `docs/signatures.md` says what they are for.

mod export_public;
mod list;
mod new;
mod retire;
mod revoke;
mod ring;
mod show;
mod signing;

pub(crate) use ring::{find as find_key, load as load_ring};

use crate::exit::Exit;

/// Make, list, retire and revoke the keys that rows are signed with.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key, and the key ring if there is none.
    New(new::Args),
    /// List the keys of a ring.
    List(list::Args),
    /// Show one key, without its secret.
    Show(show::Args),
    /// Sign no more with a key; what it signed stays believed.
    Retire(retire::Args),
    /// Believe nothing that a key signed, whenever that was.
    Revoke(revoke::Args),
    /// Write the key ring that readers need: no secrets.
    ExportPublic(export_public::Args),
    /// Sign the rows that a database has.
    SignExisting(signing::ExistingArgs),
    /// Sign with one key what another one signed.
    Resign(signing::ResignArgs),
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::New(args) => new::run(args),
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Retire(args) => retire::run(args),
        Command::Revoke(args) => revoke::run(args),
        Command::ExportPublic(args) => export_public::run(args),
        Command::SignExisting(args) => signing::sign_existing(args),
        Command::Resign(args) => signing::resign(args),
    }
}
