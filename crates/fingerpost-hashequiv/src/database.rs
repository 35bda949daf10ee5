//! The database that the service is given.

use std::sync::Arc;

use fingerpost_accounts::AccountStore;
use fingerpost_core::Clock;
use fingerpost_db::Sqlite;
use fingerpost_db::postgres::Postgres;

use crate::cache::UnihashCache;
use crate::metrics::SharedMetrics;
use crate::namespace::{Chain, NameChain};
use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;
use crate::store::{Store, StoreError, StoreOptions};

/// An open database, with the tables that [`sqlite::MIGRATIONS`](crate::sqlite::MIGRATIONS)
/// or [`postgres::MIGRATIONS`](crate::postgres::MIGRATIONS) make. Cheap to clone.
#[derive(Clone)]
pub enum Database {
    /// A file of one machine.
    Sqlite(Sqlite),
    /// A server that several instances share.
    Postgres {
        /// Who takes what is written.
        primary: Postgres,
        /// Who may answer look-ups. What one of them has not heard of yet is asked of
        /// the primary.
        replicas: Vec<Postgres>,
    },
}

impl From<Sqlite> for Database {
    fn from(db: Sqlite) -> Self {
        Self::Sqlite(db)
    }
}

impl From<Postgres> for Database {
    fn from(primary: Postgres) -> Self {
        Self::Postgres {
            primary,
            replicas: Vec::new(),
        }
    }
}

/// What a store is built into.
pub(crate) struct Surroundings {
    pub(crate) cache: Arc<UnihashCache>,
    pub(crate) options: StoreOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: SharedMetrics,
}

impl Database {
    /// The tables of users.
    pub(crate) fn accounts(&self) -> AccountStore {
        match self {
            Self::Sqlite(db) => db.clone().into(),
            Self::Postgres { primary, .. } => primary.clone().into(),
        }
    }

    /// The names of its namespaces, the default one first.
    pub(crate) async fn namespace_names(&self) -> Result<Vec<String>, StoreError> {
        const SQL: &str = "SELECT name FROM namespace ORDER BY id";
        match self {
            Self::Sqlite(db) => {
                let names = db.read(|conn| {
                    let mut statement = conn.prepare(SQL)?;
                    let names = statement.query_map([], |row| row.get(0))?;
                    names.collect::<rusqlite::Result<Vec<String>>>()
                });
                names.await.map_err(StoreError::database)
            }
            Self::Postgres { primary, .. } => {
                let names = primary.read("namespace_names", |session| async move {
                    session.query(SQL, &[]).await
                });
                let names = names.await.map_err(StoreError::database)?;
                Ok(names.iter().map(|row| row.get(0)).collect())
            }
        }
    }

    /// The store over it, with the namespaces that begin `names`, which are added if
    /// they are new; and their chains, in order.
    pub(crate) async fn store(
        self,
        around: Surroundings,
        names: &[NameChain],
    ) -> Result<(Arc<dyn Store>, Vec<Chain>), StoreError> {
        Ok(match self {
            Self::Sqlite(db) => {
                let (store, chains) = SqliteStore::with_namespaces(
                    db,
                    around.cache,
                    around.options,
                    around.clock,
                    names,
                )
                .await?;
                (Arc::new(store), chains)
            }
            Self::Postgres { primary, replicas } => {
                let (store, chains) = PostgresStore::open(primary, replicas, around, names).await?;
                (Arc::new(store), chains)
            }
        })
    }
}
