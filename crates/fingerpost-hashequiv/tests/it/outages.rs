//! Caches of several instances on one PostgreSQL: what others deleted is not answered for
//! longer than promised, and what happens while the database is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::SystemClock;
use fingerpost_db::postgres::PostgresSettings;
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv::namespace::NamespaceConfig;
use fingerpost_hashequiv_proto::types::Taskhash;
use fingerpost_testkit::PostgresCluster;

use crate::place::{Base, Place};
use crate::world::{World, builder, hash, name, reported, task};

/// No look-up that the database has to answer takes longer.
const LOOK_UP_MAX: Duration = Duration::from_millis(2500);

/// How long a report may take, as the instances here are told.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long the database may be back before everything is as it was.
const HEALING_MAX: Duration = Duration::from_secs(15);

fn short_limits(settings: &mut PostgresSettings) {
    settings.connect_timeout = Duration::from_millis(500);
    settings.statement_timeout = Duration::from_secs(1);
    settings.acquire_timeout = Duration::from_secs(1);
    settings.deadline = DEADLINE;
}

/// An instance on the database of `base`.
async fn instance(base: &Base, serve_stale: bool) -> World {
    let (_, home) = base.postgres();
    let base = Base::with_settings(Arc::clone(home), short_limits).await;
    let config = Config {
        serve_stale,
        ..Config::default()
    };
    World::on(base, config, None, Arc::new(SystemClock)).await
}

/// What `get` answers, from memory or not.
async fn get(world: &World, asked: &str) -> Option<String> {
    let found = world.service.unihash(&task(asked)).await.unwrap();
    found.map(|unihash| name(&unihash.to_text()))
}

/// Whether the hot path knows a task.
fn is_remembered(world: &World, task: &str) -> bool {
    let method = world.service.method(b"m");
    let taskhash = *Taskhash::parse(&hash(task)).as_bytes().unwrap();
    method.is_some_and(|method| world.service.cached_unihash(method, &taskhash).is_some())
}

/// Polls until `done` says so; how long it took.
async fn wait(limit: Duration, what: &str, mut done: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

async fn remove(world: &World, task: &str) {
    let argument = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash(task));
    world.command("remove", &argument).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_instance_deleted_is_not_answered_after_a_second() {
    const NAMES: &[&str] = &["default", "release", "fix"];
    let base = Place::cluster().await.fresh().await;
    let fallback = |name: &str, to: &str| NamespaceConfig {
        fallback: Some(to.to_owned()),
        ..NamespaceConfig::named(name)
    };
    let config = Config {
        namespaces: vec![fallback("release", "default"), fallback("fix", "release")],
        ..Config::default()
    };
    let here = World::of_namespaces_on(&base, config.clone(), NAMES).await;
    let there = World::of_namespaces_on(&base.again().await, config, NAMES).await;
    for _ in 0..5 {
        here[0].report("1", "a", "d").await;
        for world in &there {
            assert_eq!(get(world, "1").await.as_deref(), Some("d"));
            assert!(is_remembered(world, "1"));
        }
        remove(&here[0], "1").await;
        let forgotten = async || there.iter().all(|world| !is_remembered(world, "1"));
        wait(base.promise(), "a deletion", forgotten).await;
        for world in &there {
            assert_eq!(get(world, "1").await, None);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_stops_no_build() {
    outage(PostgresCluster::kill, PostgresCluster::restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_says_nothing_stops_no_build() {
    outage(|server| server.hang(), |server| server.go_on()).await;
}

async fn outage<E: std::fmt::Debug>(
    begin: impl FnOnce(&mut PostgresCluster) -> Result<(), E>,
    end: impl FnOnce(&mut PostgresCluster) -> Result<(), E>,
) {
    let place = Place::cluster().await;
    let base = place.fresh().await;
    let patient = instance(&base, true).await;
    let strict = instance(&base, false).await;
    patient.report("1", "a", "d").await;
    assert_eq!(get(&strict, "1").await.as_deref(), Some("d"));
    // It is believed since the first comparison with the database.
    let compared = async || strict.service.cache_is_fresh();
    wait(HEALING_MAX, "a comparison", compared).await;
    place.server(begin);
    let began = Instant::now();
    unavailable(&patient, &strict).await;
    let stale = async || !strict.service.cache_is_fresh();
    wait(Duration::from_secs(6), "a stale cache", stale).await;
    assert!(
        began.elapsed() > Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    misses(&strict, "1").await;
    assert!(patient.service.cache_is_fresh());
    unavailable(&patient, &patient).await;
    assert!(patient.service.metrics().shared.stale_batches.get() > 0);
    place.server(end);
    heals(&patient, &strict).await;
}

/// Memory answers; the rest is missing, or fails, within limits.
async fn unavailable(first: &World, second: &World) {
    for world in [first, second] {
        let began = Instant::now();
        assert_eq!(get(world, "1").await.as_deref(), Some("d"));
        assert!(began.elapsed() < Duration::from_millis(100));
    }
    tokio::join!(
        misses(first, "2"),
        misses(second, "2"),
        fails(first, "3"),
        fails(first, "4"),
    );
    // Nor do those wait for the ones before that were given up.
    tokio::join!(misses(first, "2"), fails(first, "5"));
}

async fn misses(world: &World, task: &str) {
    let began = Instant::now();
    assert_eq!(get(world, task).await, None);
    let took = began.elapsed();
    assert!(took < LOOK_UP_MAX, "a look-up took {took:?}");
}

async fn fails(world: &World, task: &str) {
    let began = Instant::now();
    let report = reported(task, "b", "e");
    let failed = world.service.report(&builder(), report).await;
    assert!(failed.is_err(), "{failed:?}");
    let took = began.elapsed();
    assert!(
        took < DEADLINE + Duration::from_millis(500),
        "a report took {took:?}"
    );
}

/// The same instances do everything again.
async fn heals(first: &World, second: &World) {
    let report = async || {
        let report = reported("6", "c", "f");
        first.service.report(&builder(), report).await.is_ok()
    };
    wait(HEALING_MAX, "a report", report).await;
    let found = async || get(second, "6").await.is_some();
    wait(HEALING_MAX, "a look-up", found).await;
    let fresh = async || second.service.cache_is_fresh();
    wait(HEALING_MAX, "a fresh cache", fresh).await;
    assert_eq!(get(second, "1").await.as_deref(), Some("d"));
    remove(first, "1").await;
    let forgotten = async || get(second, "1").await.is_none();
    wait(Duration::from_secs(1), "a deletion", forgotten).await;
}
