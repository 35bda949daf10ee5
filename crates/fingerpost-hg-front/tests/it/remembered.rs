//! Answers that are made once: found again, shared while they are made, and
//! never shown to whom they are not for.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_core::testing::Shelf;
use fingerpost_core::{Counts, SpoolOptions};
use fingerpost_hg_front::AnswerCache;
use fingerpost_hg_proto::Node;
use fingerpost_hg_proto::cbor::Value;

use crate::client::{API, Told, ask, body, call, post};
use crate::shelf::Shelved as _;
use crate::world::{World, hg, run};

/// A repository of three changesets that `hg` wrote, none of them public.
pub(crate) fn written() -> World {
    let world = World::empty();
    std::fs::create_dir_all(world.root()).unwrap();
    mercurial(&world, &["init"]);
    std::fs::write(world.root().join(".hg/hgrc"), "[phases]\npublish = no\n").unwrap();
    for content in ["one", "two", "three"] {
        let long = format!("{content}\n").repeat(5000);
        std::fs::write(world.root().join("file"), long).unwrap();
        mercurial(
            &world,
            &["commit", "-A", "-m", content, "-u", "me", "-d", "0 0"],
        );
    }
    world
}

pub(crate) fn mercurial(world: &World, args: &[&str]) {
    let mut command = Command::new(hg());
    command.env("HGPLAIN", "1").env("HGRCPATH", "/dev/null");
    run(command.current_dir(world.root()).args(["-q"]).args(args));
}

/// The node of a changeset.
fn node(world: &World, rev: &str) -> Node {
    let mut command = Command::new(hg());
    command.env("HGPLAIN", "1").env("HGRCPATH", "/dev/null");
    command.args(["log", "-r", rev, "-T", "{node}"]);
    let output = command.current_dir(world.root()).output();
    Node::from_hex(&output.unwrap().stdout).unwrap()
}

/// The node of `file` in a changeset.
async fn file_node(door: &axum::Router, changeset: Node) -> Node {
    let told = files(door, changeset, &["parents"]).await;
    let object = told.objects.last().unwrap().as_map().unwrap();
    let bytes = object.get(b"node").and_then(Value::as_bytes).unwrap();
    Node::from_bytes(bytes.try_into().unwrap())
}

fn set(words: &[&str]) -> Value {
    Value::set(words.iter().map(|word| Value::bytes(*word)))
}

async fn files(door: &axum::Router, changeset: Node, fields: &[&str]) -> Told {
    let specifier = Value::record([
        (&b"type"[..], Value::bytes("changesetexplicit")),
        (
            b"nodes",
            Value::Array(vec![Value::bytes(*changeset.as_bytes())]),
        ),
    ]);
    let args = [
        ("revisions", Value::Array(vec![specifier])),
        ("fields", set(fields)),
    ];
    call(door, "filesdata", &args).await
}

async fn file(door: &axum::Router, node: Node, fields: &[&str]) -> Told {
    let args = [
        ("path", Value::bytes("file")),
        ("nodes", Value::Array(vec![Value::bytes(*node.as_bytes())])),
        ("fields", set(fields)),
    ];
    call(door, "filedata", &args).await
}

/// Hits, misses and answers that were being made, of all commands.
pub(crate) fn counted(cache: &AnswerCache) -> [u64; 3] {
    let mut sums = [0; 3];
    for (_, counts) in cache.dispatch().all_counts() {
        let here = [&counts.hits, &counts.misses, &counts.coalesced];
        for (sum, count) in sums.iter_mut().zip(here) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
    sums
}

/// Waits until so many answers are in the store.
pub(crate) async fn stored(shelf: &Shelf, entries: usize) {
    let waiting = async {
        while shelf.names().len() < entries {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
}

/// Waits until everything that was made is in the store: it gets there behind the
/// back of who asked, and would replace what a test puts there.
async fn all_kept(cache: &AnswerCache) {
    let is_kept = || {
        let all = cache.dispatch().all_counts();
        let sum = |of: fn(&Counts) -> &AtomicU64| -> u64 {
            all.iter()
                .map(|(_, counts)| of(counts).load(Ordering::Relaxed))
                .sum()
        };
        sum(|counts| &counts.stored) == sum(|counts| &counts.misses)
    };
    let waiting = async {
        while !is_kept() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
}

/// A world with a cache over a shelf of its own.
pub(crate) fn remembering(mut world: World) -> (World, Arc<Shelf>, AnswerCache) {
    let shelf = Arc::new(Shelf::default());
    let cache = shelf.cache();
    world.cache = Some(cache.clone());
    (world, shelf, cache)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_to_ask_gets_what_the_first_one_got() {
    let (world, shelf, cache) = remembering(written());
    let door = world.door();
    let tip = node(&world, "tip");
    let first = files(&door, tip, &["parents", "revision"]).await;
    assert_eq!(first.complaint(), None);
    stored(&shelf, 1).await;
    assert_eq!(files(&door, tip, &["parents", "revision"]).await, first);
    assert_eq!(counted(&cache), [1, 1, 0]);
    // Another process with the same secret and store.
    let mut other = world;
    let cache = shelf.cache();
    other.cache = Some(cache.clone());
    assert_eq!(
        files(&other.door(), tip, &["parents", "revision"]).await,
        first
    );
    assert_eq!(counted(&cache), [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_have_it_made_once() {
    let (world, shelf, cache) = remembering(written());
    let (door, tip) = (world.door(), node(&world, "tip"));
    let asking = (0..64).map(|_| {
        let door = door.clone();
        tokio::spawn(async move { files(&door, tip, &["revision"]).await })
    });
    let asking: Vec<_> = asking.collect();
    let mut told = Vec::new();
    for one in asking {
        told.push(one.await.unwrap());
    }
    assert_eq!(told[0].complaint(), None);
    assert!(told.iter().all(|one| *one == told[0]));
    let [hits, misses, coalesced] = counted(&cache);
    assert_eq!((misses, hits + coalesced), (1, 63));
    stored(&shelf, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_secret_is_refused_though_it_is_in_the_store() {
    let (world, shelf, cache) = remembering(written());
    let (door, tip) = (world.door(), node(&world, "tip"));
    let of_file = file_node(&door, tip).await;
    assert_eq!(file(&door, of_file, &["revision"]).await.complaint(), None);
    stored(&shelf, 2).await;
    mercurial(&world, &["phase", "--force", "--secret", "tip"]);
    let before = counted(&cache);
    assert!(
        file(&door, of_file, &["revision"])
            .await
            .complaint()
            .is_some()
    );
    assert!(files(&door, tip, &["parents"]).await.complaint().is_some());
    assert_eq!(counted(&cache), before, "the store is not even asked");
    mercurial(&world, &["phase", "--draft", "tip"]);
    assert_eq!(file(&door, of_file, &["revision"]).await.complaint(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linknode_is_that_of_the_history_as_it_is() {
    let (world, _, _) = remembering(written());
    let door = world.door();
    let tip = node(&world, "tip");
    let of_file = file_node(&door, tip).await;
    let first = file(&door, of_file, &["linknode"]).await;
    // The same revision of the file, of another changeset, without a strip.
    let evolving = ["--config", "experimental.evolution=all"];
    let amend = ["commit", "--amend", "-m", "other"];
    mercurial(&world, &[&amend[..], &evolving].concat());
    let other = node(&world, "tip");
    assert_ne!(other, tip);
    let second = file(&door, of_file, &["linknode"]).await;
    let linknode = |told: &Told| {
        let object = told.objects.last().unwrap().as_map().unwrap();
        object
            .get(b"linknode")
            .and_then(Value::as_bytes)
            .map(<[u8]>::to_vec)
    };
    assert_eq!(linknode(&first).as_deref(), Some(&tip.as_bytes()[..]));
    assert_eq!(linknode(&second).as_deref(), Some(&other.as_bytes()[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_root_counts_once_it_is_known() {
    let (world, shelf, _) = remembering(written());
    let door = world.door();
    let (first, tip) = (node(&world, "0"), node(&world, "tip"));
    // A client that has a changeset which we do not have yet.
    std::fs::write(world.root().join("file"), "four\n".repeat(5000)).unwrap();
    mercurial(&world, &["commit", "-m", "four", "-u", "me", "-d", "0 0"]);
    let coming = node(&world, "tip");
    mercurial(&world, &["bundle", "--base", "2", "-r", "tip", "../bundle"]);
    mercurial(
        &world,
        &[
            "strip",
            "--no-backup",
            "--config",
            "extensions.strip=",
            "tip",
        ],
    );
    let range = |heads: Node| {
        let list = |node: Node| Value::Array(vec![Value::bytes(*node.as_bytes())]);
        let specifier = Value::record([
            (&b"type"[..], Value::bytes("changesetdagrange")),
            (b"roots", list(coming)),
            (b"heads", list(heads)),
        ]);
        [
            ("revisions", Value::Array(vec![specifier])),
            ("fields", set(&["revision"])),
        ]
    };
    let before = call(&door, "filesdata", &range(tip)).await;
    assert!(before.objects.len() > 3);
    stored(&shelf, 1).await;
    mercurial(&world, &["unbundle", "../bundle"]);
    let after = call(&door, "filesdata", &range(tip)).await;
    assert!(
        after.objects.len() < before.objects.len(),
        "{first}: all are ancestors of the root"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_censored_revision_is_not_found_under_its_old_key() {
    let (world, shelf, _) = remembering(written());
    let (door, second) = (world.door(), node(&world, "1"));
    let of_file = file_node(&door, second).await;
    let whole = file(&door, of_file, &["revision"]).await;
    stored(&shelf, 2).await;
    mercurial(
        &world,
        &[
            "censor",
            "--config",
            "extensions.censor=",
            "-r",
            "1",
            "file",
        ],
    );
    let censored = file(&door, of_file, &["revision"]).await;
    assert_ne!(censored.objects, whole.objects);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repositories_share_a_store_and_no_answers() {
    let (world, shelf, cache) = remembering(written());
    let tip = node(&world, "tip");
    let fork = world.root().with_file_name("fork");
    let mut copy = Command::new("cp");
    run(copy.arg("-a").arg(world.root()).arg(&fork));
    let mut site =
        fingerpost_hg::site::SiteConfig::new(fingerpost_hg::site::TrustPolicy::of_this_process());
    site.repositories.insert("one".to_owned(), world.root());
    site.repositories.insert("fork".to_owned(), fork);
    let door = world.door_to(site);
    for name in ["one", "fork"] {
        let specifier = Value::record([
            (&b"type"[..], Value::bytes("changesetexplicit")),
            (b"nodes", Value::Array(vec![Value::bytes(*tip.as_bytes())])),
        ]);
        let args = vec![
            ("revisions", Value::Array(vec![specifier])),
            ("fields", set(&["revision"])),
        ];
        let request = post(
            &format!("/{name}{API}/ro/filesdata"),
            body(&[("filesdata", args)]),
        );
        assert_eq!(ask(&door, request).await.told(1)[0].complaint(), None);
    }
    assert_eq!(counted(&cache), [0, 2, 0]);
    stored(&shelf, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_or_lies_is_worked_without() {
    let (world, shelf, _) = remembering(written());
    let (door, tip) = (world.door(), node(&world, "tip"));
    let first = files(&door, tip, &["revision"]).await;
    stored(&shelf, 1).await;
    shelf.damage();
    assert_eq!(files(&door, tip, &["revision"]).await, first);
    shelf.is_down.store(true, Ordering::SeqCst);
    assert_eq!(files(&door, tip, &["revision"]).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_in_the_middle_is_gone_on_without() {
    let (world, shelf, cache) = remembering(written());
    let (door, tip) = (world.door(), node(&world, "tip"));
    let first = files(&door, tip, &["revision"]).await;
    stored(&shelf, 1).await;
    shelf.break_in_the_middle(0);
    assert_eq!(files(&door, tip, &["revision"]).await, first);
    all_kept(&cache).await;
    shelf.break_in_the_middle(0);
    let asking = (0..16).map(|_| {
        let door = door.clone();
        tokio::spawn(async move { files(&door, tip, &["revision"]).await })
    });
    for one in asking.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), first);
    }
    all_kept(&cache).await;
    // What was sent is not what is made: better no answer than a wrong one.
    shelf.break_in_the_middle(1);
    let told = files(&door, tip, &["revision"]).await;
    assert!(told.complaint().is_some(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_held_is_given_all_the_same() {
    let mut world = written();
    let shelf = Arc::new(Shelf::default());
    let full = SpoolOptions {
        memory_bytes_max: 10,
        directory: Some("/not/there".into()),
        ..SpoolOptions::default()
    };
    let alone = files(&world.door(), node(&world, "tip"), &["revision"]).await;
    world.cache = Some(shelf.cache_with(full));
    let (door, tip) = (world.door(), node(&world, "tip"));
    let asking = (0..16).map(|_| {
        let door = door.clone();
        tokio::spawn(async move { files(&door, tip, &["revision"]).await })
    });
    for one in asking.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), alone);
    }
    assert!(shelf.names().is_empty());
}
