//! The database's counters on `/metrics`.

mod file;
mod postgresql;

use fingerpost_hashequiv::Database;
use prometheus_client::collector::Collector;

use self::file::FileCollector;
use self::postgresql::ServerCollector;
use super::database::Opened;

/// What reads the database's own counters at every scrape.
pub(super) fn collector(opened: &Opened) -> Box<dyn Collector> {
    match &opened.database {
        Database::Sqlite(database) => Box::new(FileCollector::new(database.clone())),
        Database::Postgres { primary, replicas } => {
            let names = opened.replica_names.iter().cloned();
            let replicas = names.zip(replicas.iter().cloned());
            Box::new(ServerCollector::new(primary.clone(), replicas))
        }
    }
}
