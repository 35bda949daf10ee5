//! Instances on a database of one test of deletions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::{SystemClock, Timestamp};
use fingerpost_db::postgres::{Postgres, PostgresSettings};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use fingerpost_testkit::PostgresCluster;

use crate::namespace::NamespaceConfig;
use crate::query::{Column, Conditions};
use crate::store::{Metadata, Report, Task};
use crate::{Config, HashEquiv, NamespaceSet};

pub(in crate::postgres) struct World {
    pub(in crate::postgres) cluster: PostgresCluster,
}

impl World {
    pub(in crate::postgres) fn new() -> Self {
        let cluster = PostgresCluster::start().unwrap();
        cluster.fresh_database().unwrap();
        Self { cluster }
    }

    /// An instance, with the namespace `branch`, which falls back to the default one.
    pub(in crate::postgres) async fn instance(&self) -> NamespaceSet {
        instance_at(&self.cluster.url("test_1")).await
    }

    /// The lines of a statement's answer.
    pub(in crate::postgres) fn sql(&self, sql: &str) -> String {
        self.cluster.sql("test_1", sql).unwrap()
    }

    /// Checks that the counts of every namespace are right.
    pub(in crate::postgres) fn check_counts(&self) {
        let counted = self.sql("SELECT id, mappings, outputs FROM namespace ORDER BY id");
        let rows = self.sql(
            "SELECT one.id, (SELECT count(*) FROM mapping AS m WHERE m.namespace = one.id),
                    (SELECT count(*) FROM output AS o WHERE o.namespace = one.id)
               FROM namespace AS one ORDER BY one.id",
        );
        assert_eq!(counted, rows);
    }
}

pub(in crate::postgres) async fn instance_at(url: &str) -> NamespaceSet {
    let settings = PostgresSettings::from_url(url).unwrap();
    let db = Postgres::open(settings, super::super::MIGRATIONS)
        .await
        .unwrap();
    let branch = NamespaceConfig {
        fallback: Some("default".to_owned()),
        ..NamespaceConfig::named("branch")
    };
    let config = Config {
        namespaces: vec![branch],
        ..Config::default()
    };
    let opened = NamespaceSet::open(db, config, None, Arc::new(SystemClock)).await;
    opened.unwrap()
}

/// 64 digits.
pub(in crate::postgres) fn hash(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<64}")
}

pub(in crate::postgres) fn task(name: &str) -> Task {
    Task {
        method: Method::new("m"),
        taskhash: Taskhash::parse(&hash(name)),
    }
}

/// A report of a task whose output and unihash are its own.
pub(in crate::postgres) fn report(name: &str) -> Report {
    Report {
        task: task(name),
        outhash: Some(Outhash::parse(&hash(&format!("o{name}")))),
        proposed: Unihash::parse(&hash(&format!("u{name}"))),
        upstream: None,
        metadata: Metadata::default(),
        siginfo: Some(format!("listing of {name}")),
        now: Timestamp(1_700_000_000_000_000),
    }
}

pub(in crate::postgres) async fn add(service: &HashEquiv, name: &str) {
    let added = service.store.report(&service.at, report(name)).await;
    assert!(added.unwrap().adopted, "{name}");
}

/// Looks a task up, so that the cache has it if the database has.
pub(in crate::postgres) async fn look_up(service: &HashEquiv, name: &str) -> bool {
    let key = ("m".to_owned(), hash(name));
    let found = service.unihashes(vec![key]).await.unwrap();
    found[0].is_some()
}

/// Whether the cache has a task.
pub(in crate::postgres) fn remembers(service: &HashEquiv, name: &str) -> bool {
    let method = service.method(b"m").unwrap();
    let taskhash = *Taskhash::parse(&hash(name)).as_bytes().unwrap();
    service.cached_unihash(method, &taskhash).is_some()
}

pub(in crate::postgres) fn of_task(name: &str) -> Conditions {
    Conditions(vec![(Column::Taskhash, hash(name))])
}

/// Waits for something that happens soon.
pub(in crate::postgres) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(20), "not yet: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
