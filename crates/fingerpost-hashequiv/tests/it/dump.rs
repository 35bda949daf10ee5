//! What a server remembers after a restart, with a dump from before. On SQLite alone: the
//! dump lies beside the file, which is closed, copied and restored here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::{SystemClock, Timestamp};
use fingerpost_hashequiv::dump::{CacheDump, NotWritten, Unusable, Written};
use fingerpost_hashequiv::namespace::NamespaceConfig;
use fingerpost_hashequiv::sqlite::MIGRATIONS;
use fingerpost_hashequiv::{Config, NamespaceSet};
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};

use crate::place::Base;
use crate::world::{World, hash, name};

/// Namespaces with what their reads fall back to.
pub(crate) type Names = [(&'static str, Option<&'static str>)];

const ALONE: &Names = &[("default", None)];
pub(crate) const CHAIN: &Names = &[
    ("default", None),
    ("release", Some("default")),
    ("fix", Some("release")),
    ("lab", None),
];
const TASKS: [&str; 4] = ["1", "2", "3", "4"];

/// One process on a database.
pub(crate) struct Server {
    pub(crate) worlds: Vec<World>,
    pub(crate) dump: CacheDump,
    base: Base,
    names: &'static Names,
}

impl Server {
    pub(crate) async fn new(names: &'static Names) -> Self {
        Self::on(
            Arc::new(tempfile::tempdir().unwrap()),
            names,
            "test.fingerpost",
        )
        .await
    }

    /// One more on the same database.
    pub(crate) async fn other(&self, names: &'static Names) -> Self {
        Self::on(Arc::clone(self.directory()), names, "test.fingerpost").await
    }

    async fn on(directory: Arc<tempfile::TempDir>, names: &'static Names, file: &str) -> Self {
        let base = Base::of_file(Arc::clone(&directory), file, MIGRATIONS.len());
        let namespaces = names.iter().map(|(name, fallback)| NamespaceConfig {
            fallback: fallback.map(str::to_owned),
            ..NamespaceConfig::named(name)
        });
        let config = Config {
            namespaces: namespaces.collect(),
            ..Config::default()
        };
        let set = NamespaceSet::open(base.database(), config, None, Arc::new(SystemClock));
        let set = set.await.unwrap();
        let world = |(name, _): &(&str, _)| World {
            service: Arc::clone(set.find(name).unwrap()),
            base: base.clone(),
        };
        Self {
            worlds: names.iter().map(world).collect(),
            dump: set.dump_at(directory.path().join("dump")),
            base,
            names,
        }
    }

    fn directory(&self) -> &Arc<tempfile::TempDir> {
        self.base.sqlite().1
    }

    fn file(&self) -> PathBuf {
        self.directory().path().join("dump")
    }

    /// How many entries were dumped.
    async fn dumped(&self) -> u64 {
        match self.dump.write().await.unwrap() {
            Written::Dump { entries, .. } => entries,
            Written::Unchanged => panic!("nothing changed"),
        }
    }

    pub(crate) async fn restart(self) -> Self {
        let names = self.names;
        self.restart_with(names).await
    }

    async fn restart_with(self, names: &'static Names) -> Self {
        let directory = self.stop().await;
        Self::on(directory, names, "test.fingerpost").await
    }

    async fn stop(self) -> Arc<tempfile::TempDir> {
        drop(self.worlds);
        let (db, directory) = self.base.into_sqlite();
        assert!(db.close().await);
        directory
    }

    /// What memory knows of a task.
    fn remembered(&self, place: usize, task: &str) -> Option<String> {
        let service = &self.worlds[place].service;
        let taskhash = *Taskhash::parse(&hash(task)).as_bytes().unwrap();
        let found = service.cached_unihash(service.method(b"m")?, &taskhash)?;
        Some(name(&Unihash::from_bytes(found).to_text()))
    }

    /// Waits until what other processes deleted has been heard of.
    async fn hear(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        for world in &self.worlds {
            let epoch = world.service.cut().await.unwrap().epoch;
            while world.service.deletion_epoch() < epoch {
                assert!(Instant::now() < deadline, "nothing is heard");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Nothing in memory differs from the database; how much there is.
    pub(crate) async fn check(&self) -> usize {
        self.hear().await;
        let mut found = 0;
        for (place, world) in self.worlds.iter().enumerate() {
            for task in TASKS {
                let remembered = self.remembered(place, task);
                found += usize::from(remembered.is_some());
                if remembered.is_some() {
                    let stored = world.look_up(task).await;
                    assert_eq!(remembered, stored, "{task} in {}", self.names[place].0);
                }
            }
        }
        found
    }
}

async fn remove(world: &World, task: &str) {
    let argument = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash(task));
    world.command("remove", &argument).await.unwrap();
}

/// A server that was restarted after it reported tasks 1 and 2.
async fn with_dump(names: &'static Names) -> Server {
    let server = Server::new(names).await;
    for (task, output, proposed) in [("1", "a", "d"), ("2", "b", "2")] {
        server.worlds[0].report(task, output, proposed).await;
        server.worlds[0].look_up(task).await;
    }
    assert_eq!(server.dumped().await, 2);
    server
}

#[tokio::test]
async fn a_restart_remembers_what_was_looked_up() {
    let server = with_dump(ALONE).await.restart().await;
    assert_eq!(server.remembered(0, "1"), None);
    let loaded = server.dump.load().await;
    assert!(loaded.unusable.is_none(), "{loaded:?}");
    assert_eq!((loaded.entries, loaded.changed), (2, 0));
    assert_eq!(server.remembered(0, "1").as_deref(), Some("d"));
    assert_eq!(server.remembered(0, "2").as_deref(), Some("2"));
    // Once more adds nothing.
    let again = server.dump.load().await;
    assert_eq!((again.entries, again.not_needed), (0, 2));
}

#[tokio::test]
async fn what_nobody_changed_is_not_dumped_again() {
    let server = with_dump(ALONE).await;
    assert_eq!(server.dump.write().await.unwrap(), Written::Unchanged);
    server.worlds[0].report("3", "c", "e").await;
    server.worlds[0].look_up("3").await;
    assert_eq!(server.dumped().await, 3);
}

#[tokio::test]
async fn the_first_start_has_no_dump() {
    let server = Server::new(ALONE).await;
    let loaded = server.dump.load().await;
    assert!(loaded.unusable.is_none() && loaded.age.is_none());
}

#[tokio::test]
async fn what_was_deleted_while_nobody_served_is_not_remembered() {
    let directory = with_dump(ALONE).await.stop().await;
    let other = Server::on(directory, ALONE, "test.fingerpost").await;
    remove(&other.worlds[0], "1").await;
    let server = other.restart().await;
    let loaded = server.dump.load().await;
    assert_eq!((loaded.entries, loaded.changed), (1, 1));
    assert_eq!(server.remembered(0, "1"), None);
}

#[tokio::test]
async fn what_was_deleted_and_reported_again_is_not_remembered() {
    let server = with_dump(ALONE).await;
    remove(&server.worlds[0], "1").await;
    server.worlds[0].report("1", "c", "e").await;
    let server = server.restart().await;
    assert_eq!(server.dump.load().await.entries, 1);
    assert_eq!(server.remembered(0, "1"), None);
    assert_eq!(server.worlds[0].look_up("1").await.as_deref(), Some("e"));
}

#[tokio::test]
async fn what_another_process_has_just_deleted_is_not_dumped() {
    for _ in 0..10 {
        let server = with_dump(ALONE).await;
        let other = server.other(ALONE).await;
        server.worlds[0].report("3", "c", "e").await;
        server.worlds[0].look_up("3").await;
        remove(&other.worlds[0], "1").await;
        // The cache hears of it some milliseconds later.
        server.dump.write().await.unwrap();
        let server = server.restart().await;
        server.dump.load().await;
        assert_eq!(server.remembered(0, "1"), None);
    }
}

#[tokio::test]
async fn a_dump_from_before_what_is_known_is_dropped() {
    let server = with_dump(ALONE).await;
    remove(&server.worlds[0], "1").await;
    let far_away = Timestamp(i64::MAX / 2);
    let service = &server.worlds[0].service;
    service.forget_changes(far_away).await.unwrap();
    let server = server.restart().await;
    let loaded = server.dump.load().await;
    assert!(
        matches!(loaded.unusable, Some(Unusable::Forgotten)),
        "{loaded:?}"
    );
    assert_eq!(server.check().await, 0);
}

#[tokio::test]
async fn a_restored_backup_does_not_believe_a_dump_of_its_other_life() {
    let server = Server::new(ALONE).await;
    server.worlds[0].report("1", "a", "d").await;
    let (copy, restored) = (
        server.directory().path().join("copy"),
        server.directory().path().join("restored"),
    );
    server
        .base
        .sqlite()
        .0
        .backup(&copy, &mut |_, _| {})
        .unwrap();
    server.worlds[0].report("2", "b", "e").await;
    server.worlds[0].look_up("2").await;
    server.dumped().await;
    fingerpost_db::restore(&copy, &restored, false, &mut |_, _| {}).unwrap();
    let server = Server::on(server.stop().await, ALONE, "restored").await;
    let loaded = server.dump.load().await;
    assert!(
        matches!(loaded.unusable, Some(Unusable::History)),
        "{loaded:?}"
    );
    assert_eq!(server.check().await, 0);
}

#[tokio::test]
async fn a_damaged_dump_is_left_aside_and_counted() {
    let server = with_dump(ALONE).await;
    let whole = std::fs::read(server.file()).unwrap();
    let server = server.restart().await;
    let check = async |bytes: &[u8], reason: &str| {
        std::fs::write(server.file(), bytes).unwrap();
        let loaded = server.dump.load().await;
        assert!(loaded.unusable.is_some() && loaded.entries == 0);
        let mut registry = prometheus_client::registry::Registry::default();
        server.dump.register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = format!("hashequiv_cache_dump_dropped_total{{reason=\"{reason}\"}}");
        assert!(text.contains(&line), "{text}");
    };
    let mut flipped = whole.clone();
    flipped[100] ^= 4;
    check(&flipped, "damaged").await;
    check(&whole[..whole.len() - 1], "damaged").await;
    check(b"", "damaged").await;
    let mut newer = whole.clone();
    newer[11] += 1;
    check(&newer, "version").await;
    std::fs::remove_file(server.file()).unwrap();
    std::fs::create_dir(server.file()).unwrap();
    let loaded = server.dump.load().await;
    assert!(matches!(loaded.unusable, Some(Unusable::Io(_))));
    // Nor can one be written there, which is told.
    server.worlds[0].report("3", "c", "e").await;
    server.worlds[0].look_up("3").await;
    assert!(matches!(
        server.dump.write().await,
        Err(NotWritten::Io { .. })
    ));
}

/// Task 1 of `default`, asked for in `release` and `fix` too; and dumped.
async fn with_fallbacks() -> Server {
    let server = Server::new(CHAIN).await;
    server.worlds[0].report("1", "a", "d").await;
    for world in &server.worlds {
        world.look_up("1").await;
    }
    assert_eq!(server.dumped().await, 3);
    server
}

#[tokio::test]
async fn what_came_from_a_fallback_is_remembered_where_it_was_asked() {
    let server = with_fallbacks().await.restart().await;
    assert_eq!(server.dump.load().await.entries, 3);
    assert_eq!(server.check().await, 3);
}

#[tokio::test]
async fn a_deletion_in_a_fallback_reaches_all_that_was_dumped() {
    let server = with_fallbacks().await;
    remove(&server.worlds[0], "1").await;
    let server = server.restart().await;
    let loaded = server.dump.load().await;
    assert_eq!((loaded.entries, loaded.changed), (0, 3));
    assert_eq!(server.check().await, 0);
}

#[tokio::test]
async fn a_namespace_that_falls_back_elsewhere_now_begins_anew() {
    const LESS: &Names = &[
        ("default", None),
        ("release", None),
        ("fix", Some("release")),
    ];
    let server = with_fallbacks().await.restart_with(LESS).await;
    let loaded = server.dump.load().await;
    assert_eq!((loaded.entries, loaded.elsewhere), (1, 2));
    assert_eq!(server.check().await, 1);
}

#[tokio::test]
async fn a_row_that_came_before_a_fallback_is_answered() {
    const APART: &Names = &[("default", None), ("release", None)];
    let server = with_fallbacks().await;
    // A process that knows of no fallback gives the task another unihash.
    let other = server.other(APART).await;
    assert_eq!(other.worlds[1].report("1", "b", "e").await, "e");
    let server = server.restart().await;
    let loaded = server.dump.load().await;
    assert_eq!((loaded.entries, loaded.changed), (1, 2));
    assert_eq!(server.check().await, 1);
}

#[tokio::test]
async fn deletions_where_nobody_here_reads_forget_nothing() {
    let server = Server::new(CHAIN).await;
    server.worlds[3].report("1", "a", "d").await;
    remove(&server.worlds[3], "1").await;
    let server = server.restart_with(ALONE).await;
    let other = server.other(ALONE).await;
    server.worlds[0].report("1", "a", "d").await;
    server.worlds[0].look_up("1").await;
    for task in ["2", "3", "4", "5", "6", "7"] {
        // Each commit of another process has the epochs compared.
        other.worlds[0].report(task, task, "e").await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(server.remembered(0, "1").as_deref(), Some("d"));
    }
}
