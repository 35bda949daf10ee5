use std::time::Duration;

use super::super::collect::testing::{World, add, look_up, remembers};
use super::*;
use crate::HashEquiv;
use crate::retention::RunRecord;
use fingerpost_core::Timestamp;

const LEASE: ChoreLease = ChoreLease {
    name: "retention",
    term: Duration::from_secs(30),
};
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

/// All rows of a kind, read two at a time.
async fn rows(service: &HashEquiv, kind: Kind) -> Vec<RetainedRow> {
    let (mut rows, mut next) = (Vec::new(), Some(0));
    while let Some(after) = next {
        let page = service.store.retained(kind, after, 2).await.unwrap();
        rows.extend(page.rows);
        next = page.next;
    }
    assert!(rows.is_sorted_by_key(|row| row.id));
    rows
}

async fn expire(service: &HashEquiv, kind: Kind, rows: &[RetainedRow]) -> Expired {
    let expired = service.store.expire(kind, rows.to_vec(), LEASE, NOW).await;
    expired.unwrap()
}

fn looked(looked: usize, gone: &[usize]) -> Expired {
    let gone = gone.to_vec();
    Expired::Looked { looked, gone }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_meanwhile_stays() {
    let world = World::new();
    let set = world.instance().await;
    let (service, branch) = (set.default(), set.find("branch").unwrap());
    for name in ["a", "b", "c"] {
        add(service, name).await;
    }
    add(branch, "d").await;
    for kind in [Kind::Outputs, Kind::Mappings] {
        // Look-ups note today, the tasks were made in 2023.
        world.sql("UPDATE mapping SET used_day = 5");
        let seen = rows(service, kind).await;
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().all(|row| row.used_day() == Some(5)));
        service.cache.forget_all();
        assert!(look_up(service, "b").await && look_up(service, "c").await);
        assert_eq!(service.uses().waiting(), 2);
        assert_eq!(service.store_uses().await.unwrap(), 2);
        // One namespace at a time.
        assert_eq!(expire(service, kind, &seen).await, looked(3, &[0]));
        assert_eq!(expire(service, kind, &seen[3..]).await, looked(1, &[0]));
        assert_eq!(expire(service, kind, &seen[..1]).await, looked(1, &[]));
        world.check_counts();
        add_again(branch).await;
        add_again(service).await;
    }
    assert!(remembers(service, "b") && remembers(service, "c"));
}

/// Puts back what expired.
async fn add_again(service: &HashEquiv) {
    let name = match service.namespace() {
        "branch" => "d",
        _ => "a",
    };
    let report = super::super::collect::testing::report(name);
    service.store.report(&service.at, report).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_when_the_last_row_that_names_it_does_without() {
    let world = World::new();
    let set = world.instance().await;
    let service = set.default();
    for name in ["a", "b"] {
        let mut report = super::super::collect::testing::report(name);
        report.siginfo = Some("one listing".repeat(50));
        service.store.report(&service.at, report).await.unwrap();
    }
    let seen = rows(service, Kind::Siginfo).await;
    // The newest row that names it says what it takes.
    let bytes: Vec<bool> = seen.iter().map(|row| row.bytes > 0).collect();
    assert_eq!(bytes, [false, true]);
    let outputs = rows(service, Kind::Outputs).await;
    assert_eq!(outputs[0].bytes, OUTPUT_BYTES);
    assert_eq!(outputs[1].bytes, OUTPUT_BYTES + seen[1].bytes);
    assert_eq!(
        expire(service, Kind::Siginfo, &seen[..1]).await,
        looked(1, &[0])
    );
    assert_eq!(world.sql("SELECT count(*) FROM listing"), "1");
    assert_eq!(
        expire(service, Kind::Siginfo, &seen[1..]).await,
        looked(1, &[0])
    );
    assert_eq!(world.sql("SELECT count(*) FROM listing"), "0");
    assert_eq!(world.sql("SELECT count(*) FROM listing_base"), "0");
    assert_eq!(rows(service, Kind::Siginfo).await, []);
    assert_eq!(rows(service, Kind::Outputs).await.len(), 2);
    world.check_counts();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_expires_at_a_time() {
    let world = World::new();
    let (here, there) = (world.instance().await, world.instance().await);
    let (here, there) = (here.default(), there.default());
    add(here, "a").await;
    assert!(there.store.hold_lease(LEASE, NOW).await.unwrap());
    let seen = rows(here, Kind::Mappings).await;
    assert_eq!(expire(here, Kind::Mappings, &seen).await, Expired::NotOurs);
    there.store.release_lease(LEASE).await.unwrap();
    assert_eq!(expire(here, Kind::Mappings, &seen).await, looked(1, &[0]));
    assert!(!there.store.hold_lease(LEASE, NOW).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_hundred_runs_are_remembered() {
    let world = World::new();
    let set = world.instance().await;
    let store = &set.default().store;
    for started in 0..103 {
        store
            .put_run(RunRecord::begun(Timestamp(started)))
            .await
            .unwrap();
    }
    let mut last = RunRecord::begun(Timestamp(102));
    last.rows = 7;
    last.why = "a\0b".to_owned();
    store.put_run(last).await.unwrap();
    store.end_runs(NOW).await.unwrap();
    let runs = store.runs(1000).await.unwrap();
    assert_eq!(runs.len(), 100);
    assert_eq!((runs[0].started, runs[0].rows), (Timestamp(102), 7));
    assert_eq!(runs[99].started, Timestamp(3));
    assert!(runs.iter().all(|run| run.ended == Some(NOW)));
    assert_eq!(store.runs(2).await.unwrap().len(), 2);
    let labels = store.labels().await.unwrap();
    assert_eq!(labels.namespaces.len(), 2);
    assert_eq!(labels.marks, [(0, String::new())]);
    assert_eq!(store.waiting_jobs(), 0);
}
