//! Which database is opened, and what is said when it is not ours.

mod file;
mod postgresql;

use std::path::PathBuf;
use std::time::Duration;

use fingerpost_hashequiv::Database;

use crate::config::Loaded;

/// An opened database.
pub(crate) struct Opened {
    pub(crate) database: Database,
    /// The names of its replicas, in their order.
    pub(crate) replica_names: Vec<String>,
    /// The file or the server, as the operator would name it; without a login.
    pub(crate) place: String,
    /// Whether there was nothing before.
    pub(crate) is_new: bool,
}

impl Opened {
    /// The file that the database is in, if it is in one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match &self.database {
            Database::Sqlite(database) => Some(database.path().to_owned()),
            Database::Postgres { .. } => None,
        }
    }
}

/// Opens the configured database. A database of the reference server is never written
/// to: what was imported from its file is opened instead, or, with `import`, is made
/// first; otherwise it is refused with the way out. A PostgreSQL that cannot be reached
/// is waited for, as configured.
pub(crate) async fn open(loaded: &Loaded, import: bool) -> anyhow::Result<Opened> {
    match loaded.config.uses_postgresql() {
        true => {
            let patience = Duration::from_secs(loaded.config.postgresql.start_timeout_s);
            postgresql::open(&loaded.config, patience).await
        }
        false => file::open(loaded.clone(), import).await,
    }
}

/// The same for a command, which waits for nobody.
pub(crate) async fn open_now(loaded: &Loaded) -> anyhow::Result<Database> {
    let opened = match loaded.config.uses_postgresql() {
        true => postgresql::open(&loaded.config, Duration::ZERO).await,
        false => file::open(loaded.clone(), false).await,
    };
    Ok(opened?.database)
}

/// Ends its use; whether that was done in an orderly way.
pub(crate) async fn close(database: Database) -> bool {
    match database {
        Database::Sqlite(database) => database.close().await,
        Database::Postgres { primary, replicas } => {
            primary.close();
            for replica in replicas {
                replica.close();
            }
            true
        }
    }
}
