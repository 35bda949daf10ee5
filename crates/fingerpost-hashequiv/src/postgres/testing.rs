//! A farm of builders around instances on one PostgreSQL, with verbs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::{Permission, PermissionSet, Principal, SystemClock};
use fingerpost_db::postgres::{Postgres, PostgresSettings};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use fingerpost_testkit::PostgresCluster;

use super::MIGRATIONS;
use crate::changes::{ChangeFilter, Changes, ChangesSince};
use crate::namespace::NamespaceConfig;
use crate::reporting::Reported;
use crate::store::{Metadata, Task};
use crate::{Config, HashEquiv, NamespaceSet};

/// A server with one database of ours.
pub(super) struct Farm {
    pub(super) cluster: PostgresCluster,
    pub(super) url: String,
}

/// An instance on it, in the default namespace.
pub(super) struct Instance {
    pub(super) db: Postgres,
    pub(super) set: NamespaceSet,
    pub(super) service: Arc<HashEquiv>,
}

impl Farm {
    pub(super) fn new() -> Self {
        let cluster = PostgresCluster::start().unwrap();
        let url = cluster.fresh_database().unwrap();
        Self { cluster, url }
    }

    pub(super) async fn instance(&self) -> Instance {
        self.instance_with(Config::default()).await
    }

    /// One with the namespace `fix`, which falls back to the default one.
    pub(super) async fn instance_with_fix(&self) -> Instance {
        let fix = NamespaceConfig {
            fallback: Some("default".to_owned()),
            ..NamespaceConfig::named("fix")
        };
        let namespaces = vec![fix];
        self.instance_with(Config {
            namespaces,
            ..Config::default()
        })
        .await
    }

    async fn instance_with(&self, config: Config) -> Instance {
        let settings = PostgresSettings::from_url(&self.url).unwrap();
        let db = Postgres::open(settings, MIGRATIONS).await.unwrap();
        let set = NamespaceSet::open(db.clone(), config, None, Arc::new(SystemClock));
        let set = set.await.unwrap();
        let service = Arc::clone(set.default());
        Instance { db, set, service }
    }

    pub(super) fn sql(&self, sql: &str) -> String {
        self.cluster.sql("test_1", sql).unwrap()
    }
}

impl Instance {
    /// It, in another namespace.
    pub(super) fn within(&self, name: &str) -> Self {
        Self {
            db: self.db.clone(),
            set: self.set.clone(),
            service: Arc::clone(self.set.find(name).unwrap()),
        }
    }

    pub(super) async fn report(&self, name: &str, output: &str, unihash: &str) -> Unihash {
        self.report_task(task(name), output, unihash).await
    }

    pub(super) async fn report_task(&self, task: Task, output: &str, unihash: &str) -> Unihash {
        let builder = PermissionSet::of(&[Permission::Read, Permission::Report]);
        let report = Reported {
            task,
            outhash: Some(Outhash::parse(&hash(output))),
            proposed: Unihash::parse(&hash(unihash)),
            metadata: Metadata::default(),
            siginfo: None,
        };
        let report = self
            .service
            .report(&Principal::anonymous(builder), report)
            .await;
        report.unwrap().unihash
    }

    pub(super) async fn look_up(&self, name: &str) -> Option<String> {
        let key = ("m".to_owned(), hash(name));
        let found = self.service.unihashes(vec![key]).await.unwrap();
        found
            .into_iter()
            .next()
            .flatten()
            .map(|unihash| unihash.to_text())
    }

    pub(super) async fn told(&self, since: u64, limit: usize) -> Changes {
        match self
            .service
            .changes(since, limit, ChangeFilter::All)
            .await
            .unwrap()
        {
            ChangesSince::Told(changes) => changes,
            gone @ ChangesSince::Gone { .. } => panic!("{gone:?}"),
        }
    }

    pub(super) async fn is_gone(&self, since: u64) -> bool {
        let since = self
            .service
            .changes(since, 10, ChangeFilter::All)
            .await
            .unwrap();
        matches!(since, ChangesSince::Gone { .. })
    }

    pub(super) fn life(&self) -> [u8; 16] {
        self.service.store.history()
    }
}

/// Waits, within a limit, until something is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(20), "never {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A hash by a short hexadecimal name: `a` is 64 times `a`.
pub(super) fn hash(name: &str) -> String {
    name.repeat(64 / name.len())
}

pub(super) fn task(name: &str) -> Task {
    Task {
        method: Method::new("m"),
        taskhash: Taskhash::parse(&hash(name)),
    }
}
