//! Moving a database into another one, of whatever kind.

use std::sync::Arc;

use fingerpost_core::SystemClock;
use fingerpost_hashequiv::copying::{CopyError, CopyOptions, CopyReport, copy};
use fingerpost_hashequiv::namespace::NamespaceConfig;
use fingerpost_hashequiv::store::Metadata;
use fingerpost_hashequiv::{Config, HashEquiv};

use crate::place::{Base, Place};
use crate::world::{World, hash};

/// A task of several builds whose listings resemble each other.
fn listing(task: u32) -> (Metadata, Option<String>) {
    let metadata = Metadata {
        owner: Some("kim".to_owned()),
        pn: Some(format!("recipe{}", task % 7)),
        task: Some("do_package".to_owned()),
        ..Metadata::default()
    };
    let lines = (0..40).map(|line| format!("{:08x} file{line}\n", line * task));
    (metadata, Some(lines.collect()))
}

async fn fill(world: &World, tasks: std::ops::Range<u32>) {
    for task in tasks {
        let (metadata, siginfo) = listing(task);
        let (task, output) = (format!("{task:04x}"), format!("{:04x}", task % 50));
        let unihash = format!("{:x}", task.len());
        world
            .report_with(&task, &output, &unihash, metadata, siginfo)
            .await;
    }
}

async fn run(from: &Base, into: &Base, finish: bool) -> Result<CopyReport, CopyError> {
    let options = CopyOptions { finish };
    let clock = Arc::new(SystemClock);
    copy(from.database(), into.database(), options, clock, |_| {}).await
}

fn config() -> Config {
    Config {
        namespaces: vec![NamespaceConfig::named("lab")],
        ..Config::default()
    }
}

/// Everything that clients see of a world, but for numbers of rows.
async fn seen(service: &Arc<HashEquiv>, base: &Base) -> Vec<String> {
    let world = World {
        service: Arc::clone(service),
        base: base.clone(),
    };
    let mut seen = Vec::new();
    for task in (0..400_u32).map(|task| format!("{task:04x}")) {
        let argument = format!(
            "{{\"method\": \"m\", \"taskhash\": \"{}\", \"all\": true}}",
            hash(&task)
        );
        seen.push(world.command("get", &argument).await.unwrap());
        let argument = format!(
            "{{\"method\": \"m\", \"outhash\": \"{}\", \"taskhash\": \"{}\"}}",
            hash(&task),
            hash(&task)
        );
        seen.push(world.command("get-outhash", &argument).await.unwrap());
    }
    for answer in &mut seen {
        // Of one database alone: where a row lies.
        if let Some((_, rest)) = answer
            .split_once(", ")
            .filter(|(id, _)| id.contains("\"id\""))
        {
            *answer = rest.to_owned();
        }
    }
    seen.push(world.command("get-db-usage", "null").await.unwrap());
    seen.push(world.command("gc-status", "null").await.unwrap());
    seen
}

/// Copies while the source is written to, in several runs, and then finishes.
async fn a_copy_follows_what_is_written_meanwhile(from: Base, into: Base) {
    let worlds = World::of_namespaces_on(&from, config(), &["default", "lab"]).await;
    let [source, lab] = &worlds[..] else {
        panic!("two namespaces");
    };
    fill(source, 0..250).await;
    fill(lab, 0..20).await;
    let accounts = source.service.accounts();
    accounts
        .create("kim", fingerpost_core::PermissionSet::NONE)
        .await
        .unwrap();
    let first = run(&from, &into, false).await.unwrap();
    assert_eq!(first.taken.len(), 2);
    assert_eq!(first.taken[0].1.outputs, 250);
    assert!(first.finishing.is_none());
    // Added, removed, removed and added again, marked.
    fill(source, 250..300).await;
    let remove = |task: &str| format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash(task));
    for task in ["0001", "0002", "00fb"] {
        source.command("remove", &remove(task)).await.unwrap();
    }
    source.report("0002", "beef", "c").await;
    let old = format!("{{\"where\": {{\"outhash\": \"{}\"}}}}", hash("0003"));
    source.command("remove", &old).await.unwrap();
    let mark = format!(
        "{{\"mark\": \"K\", \"where\": {{\"unihash\": \"{}\"}}}}",
        hash("4")
    );
    source.command("gc-mark", &mark).await.unwrap();
    let second = run(&from, &into, false).await.unwrap();
    assert!(second.removed > 0);
    assert_eq!(second.taken[0].1.outputs, 49);
    // Just before the end.
    source.command("remove", &remove("0004")).await.unwrap();
    lab.report("0f0f", "0f0f", "d").await;
    let last = run(&from, &into, true).await.unwrap();
    assert!(last.finishing.is_some() && last.sampled > 0 && last.users == 1);
    let target = World::of_namespaces_on(&into, config(), &["default", "lab"]).await;
    for (before, after) in worlds.iter().zip(&target) {
        let (before, after) = (
            seen(&before.service, &from).await,
            seen(&after.service, &into).await,
        );
        assert_eq!(before, after);
    }
    // The mark goes on, and whatever comes now is settled as it would have been there.
    let swept = target[0].command("gc-sweep", "{\"mark\": \"K\"}").await;
    assert_eq!(swept, source.command("gc-sweep", "{\"mark\": \"K\"}").await);
    let reported = ("0123", "0005", "e");
    assert_eq!(
        target[0].report(reported.0, reported.1, reported.2).await,
        source.report(reported.0, reported.1, reported.2).await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_move_between_all_kinds() {
    let cluster = Place::cluster().await;
    for (from, into) in [
        (&Place::Files, &Place::Files),
        (&Place::Files, &cluster),
        (&cluster, &Place::Files),
        (&cluster, &cluster),
    ] {
        a_copy_follows_what_is_written_meanwhile(from.fresh().await, into.fresh().await).await;
    }
}

#[tokio::test]
async fn what_is_not_empty_or_of_another_source_is_refused() {
    let (one, other, into) = (
        World::new(&Place::Files).await,
        World::new(&Place::Files).await,
        Place::Files.fresh().await,
    );
    one.report("1", "a", "d").await;
    other.report("2", "b", "e").await;
    let refused = run(&one.base, &other.base, false).await;
    assert!(matches!(refused, Err(CopyError::NotEmpty)), "{refused:?}");
    run(&one.base, &into, false).await.unwrap();
    let refused = run(&other.base, &into, true).await;
    assert!(
        matches!(refused, Err(CopyError::OtherSource)),
        "{refused:?}"
    );
    run(&one.base, &into, true).await.unwrap();
    let again = run(&one.base, &into, true).await;
    assert!(matches!(again, Err(CopyError::NotEmpty)), "{again:?}");
}
