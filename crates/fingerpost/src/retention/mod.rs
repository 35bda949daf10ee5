//! `fingerpost retention`: what the rules of the configuration delete, by hand. Works on
//! the database, whether servers have it open or not.

mod apply;
mod plan;
mod status;

use std::sync::Arc;

use anyhow::Context as _;
use fingerpost_core::SystemClock;
use fingerpost_hashequiv::retention::Retention;
use fingerpost_hashequiv::{Config as ServiceConfig, Database, NamespaceSet};

use crate::backup::{WhichDatabase, open_existing};
use crate::config::Loaded;
use crate::exit::{Exit, failure};
use crate::serve::close_database;

/// Show what the rules of retention would delete, delete it, and what was deleted.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what would go now, and delete nothing.
    Plan(plan::Args),
    /// Delete now what the rules say, whatever the schedule is.
    Run(apply::Args),
    /// Show the last run, what it deleted, and when the next one is due.
    Status(status::Args),
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match &args.command {
            Command::Plan(args) => plan::run(args).await,
            Command::Run(args) => apply::run(args).await,
            Command::Status(args) => status::run(args).await,
        }
    })
}

/// A database with the policy for it.
struct Opened {
    loaded: Loaded,
    database: Database,
    retention: Retention,
}

impl Opened {
    /// Opens a database that is there.
    async fn open(which: &WhichDatabase) -> anyhow::Result<Self> {
        let loaded = which.load()?;
        let database = open_existing(&loaded).await?;
        let config = ServiceConfig {
            namespaces: loaded.config.namespaces(),
            cache_bytes: 0,
            ..ServiceConfig::default()
        };
        let namespaces =
            NamespaceSet::open(database.clone(), config, None, Arc::new(SystemClock)).await?;
        let policy = loaded.config.retention_policy()?;
        let retention = namespaces.default().retention(policy);
        Ok(Self {
            loaded,
            database,
            retention,
        })
    }

    fn needs_rules(&self) -> anyhow::Result<()> {
        match self.loaded.config.retention.rules.is_empty() {
            true => Err(failure(
                Exit::Configuration,
                "there are no [[retention.rules]]: nothing ever goes",
            )),
            false => Ok(()),
        }
    }

    async fn close(self) {
        drop(self.retention);
        close_database(self.database).await;
    }
}
