//! The service in every namespace of a server.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use fingerpost_core::Clock;
use prometheus_client::registry::Registry;

use crate::database::Database;
use crate::dump::CacheDump;
use crate::namespace;
use crate::service::{Config, HashEquiv, OpenError};
use crate::upstream::Upstream;

/// One [`HashEquiv`] for each namespace, over one database. Cheap to clone.
#[derive(Clone)]
pub struct NamespaceSet {
    default: Arc<HashEquiv>,
    by_name: Arc<HashMap<Box<str>, Arc<HashEquiv>>>,
}

impl NamespaceSet {
    /// Builds the service over an opened database. Must be called within a tokio
    /// runtime, which runs the backfill.
    pub async fn open(
        db: impl Into<Database>,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let names = namespace::resolve(&config.namespaces)?;
        let services = HashEquiv::open_all(db.into(), config, &names, upstream, clock).await?;
        let default = Arc::clone(&services[0]);
        let by_name = services.into_iter();
        let by_name = by_name.map(|service| (service.namespace().into(), service));
        Ok(Self {
            default,
            by_name: Arc::new(by_name.collect()),
        })
    }

    /// The namespace of who chose none.
    pub const fn default(&self) -> &Arc<HashEquiv> {
        &self.default
    }

    /// The namespace of this name.
    pub fn find(&self, name: &str) -> Option<&Arc<HashEquiv>> {
        self.by_name.get(name)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<HashEquiv>> {
        self.by_name.values()
    }

    /// The look-up cache of all namespaces, to be dumped to this file and loaded from
    /// it. Only for a database that keeps every commit.
    pub fn dump_at(&self, path: PathBuf) -> CacheDump {
        let chains = self.iter().map(|service| service.at.clone()).collect();
        self.default.dump_of(path, chains)
    }

    /// Adds every counter to `registry`, whose prefix is `fingerpost`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.default.register_metrics(registry);
    }
}

impl From<Arc<HashEquiv>> for NamespaceSet {
    /// One namespace alone, whatever others there are.
    fn from(service: Arc<HashEquiv>) -> Self {
        let by_name = HashMap::from([(service.namespace().into(), Arc::clone(&service))]);
        Self {
            default: service,
            by_name: Arc::new(by_name),
        }
    }
}
