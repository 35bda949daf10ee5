//! Several worlds in one database, and reads that fall back.

use std::collections::HashSet;

use fingerpost_core::{Namespaces, PermissionSet, Principal};
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv::namespace::NamespaceConfig;
use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, TestRunner};

use crate::model::{Model, Operation};
use crate::order::{operation, run};
use crate::place::{Place, on_each_store};
use crate::world::{World, hash};

on_each_store! {
    a_namespace_knows_nothing_of_the_others,
    a_fallback_answers_and_copies_nothing,
    a_task_keeps_what_the_fallback_answered,
    a_deletion_reaches_those_that_fall_back,
    a_collection_is_of_one_namespace,
    each_has_a_history_of_its_own,
    who_is_no_member_has_no_rights_of_their_own,
}

/// Names, and the places of those that their reads fall back to.
const NAMESPACES: [(&str, &[usize]); 4] = [
    ("default", &[]),
    ("release", &[0]),
    ("fix", &[1, 0]),
    ("lab", &[]),
];

async fn worlds(place: &Place) -> [World; 4] {
    let fallback = |place: &&[usize]| place.first().map(|next| NAMESPACES[*next].0.to_owned());
    let namespaces = NAMESPACES.iter().map(|(name, further)| NamespaceConfig {
        fallback: fallback(further),
        ..NamespaceConfig::named(name)
    });
    let config = Config {
        namespaces: namespaces.collect(),
        ..Config::default()
    };
    let names = NAMESPACES.map(|(name, _)| name);
    let worlds = World::of_namespaces(place, config, &names).await;
    worlds.try_into().ok().unwrap()
}

async fn a_namespace_knows_nothing_of_the_others(place: Place) {
    let [default, _, _, lab] = worlds(&place).await;
    assert_eq!(default.report("1", "a", "d").await, "d");
    assert_eq!(lab.look_up("1").await, None);
    assert_eq!(lab.report("1", "a", "e").await, "e");
    assert_eq!(default.look_up("1").await.as_deref(), Some("d"));
    let by_task = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("1"));
    let removed = lab.command("remove", &by_task).await.unwrap();
    assert_eq!(removed, "{\"count\": 2}");
    assert_eq!(default.look_up("1").await.as_deref(), Some("d"));
}

async fn a_fallback_answers_and_copies_nothing(place: Place) {
    let [default, release, fix, _] = worlds(&place).await;
    default.report("1", "a", "d").await;
    for world in [&release, &fix] {
        assert_eq!(world.look_up("1").await.as_deref(), Some("d"));
    }
    let usage = default.command("get-db-usage", "null").await.unwrap();
    assert!(usage.contains("\"unihashes_v3\": {\"rows\": 1}"), "{usage}");
    // An equal output takes the name that the fallback has for it.
    assert_eq!(fix.report("2", "a", "e").await, "d");
    assert_eq!(release.look_up("2").await, None);
}

async fn a_task_keeps_what_the_fallback_answered(place: Place) {
    let [default, release, ..] = worlds(&place).await;
    default.report("1", "a", "d").await;
    assert_eq!(release.report("1", "b", "e").await, "d");
    // It is the release's own now.
    let by_task = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("1"));
    default.command("remove", &by_task).await.unwrap();
    assert_eq!(default.look_up("1").await, None);
    assert_eq!(release.look_up("1").await.as_deref(), Some("d"));
}

async fn a_deletion_reaches_those_that_fall_back(place: Place) {
    let [default, release, fix, lab] = worlds(&place).await;
    default.report("1", "a", "d").await;
    let worlds = [&default, &release, &fix, &lab];
    let epochs = || worlds.map(|world| world.service.deletion_epoch());
    let before = epochs();
    for world in [&release, &fix] {
        // The second time from memory.
        assert!(world.look_up("1").await.is_some() && world.look_up("1").await.is_some());
    }
    let by_task = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("1"));
    default.command("remove", &by_task).await.unwrap();
    for world in worlds {
        assert_eq!(world.look_up("1").await, None);
    }
    let raised: Vec<bool> = (0..4)
        .map(|place| epochs()[place] > before[place])
        .collect();
    assert_eq!(raised, [true, true, true, false]);
}

async fn a_collection_is_of_one_namespace(place: Place) {
    let [default, release, ..] = worlds(&place).await;
    default.report("1", "a", "d").await;
    release.report("2", "b", "e").await;
    let all = "{\"mark\": \"M\", \"where\": {\"method\": \"m\"}}";
    let marked = release.command("gc-mark", all).await.unwrap();
    assert_eq!(marked, "{\"count\": 1}");
    assert!(
        default
            .command("gc-sweep", "{\"mark\": \"M\"}")
            .await
            .is_err()
    );
    let other = "{\"mark\": \"N\", \"where\": {\"unihash\": \"none\"}}";
    default.command("gc-mark", other).await.unwrap();
    let swept = default
        .command("gc-sweep", "{\"mark\": \"N\"}")
        .await
        .unwrap();
    assert_eq!(swept, "{\"count\": 1}");
    assert_eq!(release.look_up("2").await.as_deref(), Some("e"));
    let status = release.command("gc-status", "null").await.unwrap();
    assert_eq!(status, "{\"keep\": 1, \"remove\": 0, \"mark\": \"M\"}");
}

async fn each_has_a_history_of_its_own(place: Place) {
    let history = |world: &World| world.service.epoch_in_history().history;
    let told = worlds(&place).await.each_ref().map(history);
    let distinct: HashSet<_> = told.iter().collect();
    assert_eq!(distinct.len(), told.len());
}

async fn who_is_no_member_has_no_rights_of_their_own(place: Place) {
    let config = Config {
        namespaces: vec![NamespaceConfig {
            members: Some(vec!["bot".to_owned()]),
            anonymous: Some(PermissionSet::NONE),
            ..NamespaceConfig::named("release")
        }],
        ..Config::default()
    };
    let worlds = World::of_namespaces(&place, config, &["default", "release"]).await;
    let [default, release] = worlds.try_into().ok().unwrap();
    let read = [fingerpost_core::Permission::Read];
    let own = PermissionSet::of(&read);
    let may = |world: &World, user: &str, scope: Option<&str>| {
        let names = scope.map(|name| vec![name.to_owned()]);
        let caller = Principal::anonymous(PermissionSet::NONE).login(user, own);
        let caller = caller.within(Namespaces::of(names).unwrap());
        world.service.admit(caller).own_permissions() == own
    };
    assert!(may(&default, "bot", None) && may(&default, "eve", None));
    assert!(may(&release, "bot", None) && !may(&release, "eve", None));
    assert!(may(&release, "bot", Some("release")) && !may(&default, "bot", Some("release")));
    assert!(default.service.anonymous().allows(&read));
    assert!(!release.service.anonymous().allows(&read));
}

/// Runs operations one after another, each somewhere, against a model for each
/// namespace.
async fn check(place: &Place, operations: &[(usize, Operation)]) -> Result<(), TestCaseError> {
    let worlds = worlds(place).await;
    let mut models = [(); 4].map(|()| Model::default());
    for (place, operation) in operations {
        let further: Vec<Model> = NAMESPACES[*place]
            .1
            .iter()
            .map(|next| models[*next].clone())
            .collect();
        let expected = models[*place].apply_along(&further, operation);
        let answer = run(&worlds[*place], operation).await;
        prop_assert_eq!(
            answer,
            expected,
            "{} in {}",
            format!("{operation:?}"),
            place
        );
    }
    Ok(())
}

#[test]
fn every_namespace_equals_its_model() {
    property(100, async || Place::Files);
}

#[test]
fn every_namespace_of_postgresql_equals_its_model() {
    property(40, Place::cluster);
}

fn property(cases: u32, place: impl AsyncFnOnce() -> Place) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let place = runtime.block_on(place());
    let mut runner = TestRunner::new(RunnerConfig {
        cases,
        failure_persistence: None,
        ..RunnerConfig::default()
    });
    let operations = prop::collection::vec((0..4usize, operation()), 1..24);
    runner
        .run(&operations, |operations| {
            runtime.block_on(check(&place, &operations))
        })
        .unwrap();
}
