//! `fingerpost bench`: load for servers and content for databases.
//!
//! The generator speaks through its own sockets, not through Fingerpost's
//! client: it must cost little, treat Redis and Fingerpost alike, and not share
//! a fault with what it measures. `docs/performance.md` tells how the published
//! figures are made of it.

use crate::exit::Exit;

mod connection;
mod draw;
mod fill;
mod http;
mod keys;
mod listing;
mod load;
mod script;
mod server;
mod snapshot;
mod store;
mod summary;
mod tally;
mod target;
mod values;
mod wire;
mod worker;

/// Measures a server, or prepares a database to measure one with.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BenchCommand {
    Hashequiv(Box<load::LoadArgs>),
    Fill(fill::FillArgs),
    Store(store::StoreArgs),
    Snapshot(snapshot::SnapshotArgs),
}

/// Runs one measurement or fills one database, blocking.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    match &args.command {
        BenchCommand::Hashequiv(args) => load::run(args),
        BenchCommand::Fill(args) => fill::run(args),
        BenchCommand::Store(args) => store::run(args),
        BenchCommand::Snapshot(args) => snapshot::run(args),
    }
}
