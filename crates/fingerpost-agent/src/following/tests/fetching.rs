use std::collections::HashSet;
use std::fs;

use fingerpost_signatures::{Key, KeyName, KeyRing, SigningKey, UnixTime};
use fingerpost_snapshot::{Digest, Manifest};

use super::server::Server;
use super::world::{World, eventually};
use crate::following::{Found, Publishers};

fn shards(manifest: &Manifest) -> HashSet<Digest> {
    let shards = manifest.shards();
    shards.map(|(_, shard)| shard.sha256).collect()
}

/// Shards that were sent since the last time.
fn sent(world: &World) -> Vec<Digest> {
    let sent = |inner: &mut super::server::Inner| std::mem::take(&mut inner.shards_sent);
    world.server.inner(sent)
}

fn ring(key: &SigningKey) -> KeyRing {
    let mut ring = KeyRing::default();
    let name = KeyName::parse("publisher").unwrap();
    let created = UnixTime::new(1).unwrap();
    ring.add(Key::verifying(name, created, key.verifying_key()))
        .unwrap();
    ring
}

async fn is_in_trouble(world: &World, words: &str) {
    eventually(words, || {
        let trouble = world.followed().status().trouble;
        trouble.is_some_and(|trouble| trouble.contains(words))
    })
    .await;
}

#[tokio::test]
async fn a_shard_that_comes_damaged_is_fetched_again_and_no_other() {
    let server = Server::with_rows(300);
    let all = shards(&server.snapshot("a"));
    let bad = *all.iter().next().unwrap();
    server.inner(|inner| inner.damaged.insert(bad));
    let mut world = World::new(server);
    world.start().await;
    is_in_trouble(&world, "came damaged").await;
    assert_eq!(world.found(1), Found::Nothing);
    // The fetch ends with the first bad shard; after some tries all others are there.
    let others = all.len() - 1;
    let shards = world.place().partial("a").join("shards");
    eventually("the others are there", || {
        let whole = fs::read_dir(&shards).unwrap();
        let is_whole = |entry: &fs::DirEntry| entry.path().extension().is_none();
        whole.flatten().filter(is_whole).count() == others
    })
    .await;
    world.stop().await;
    sent(&world);
    world.server.inner(|inner| inner.damaged.clear());
    world.start().await;
    world.finds(1).await;
    assert_eq!(sent(&world), [bad]);
}

#[tokio::test]
async fn what_no_trusted_publisher_signed_is_not_used() {
    let trusted = SigningKey::ed25519(&[1; 32]);
    let server = Server::with_rows(50);
    server.snapshot("a");
    let mut world = World::new(server);
    world.options.publishers = Publishers::new(Some(ring(&trusted)));
    world.server.publish("a", &SigningKey::ed25519(&[4; 32]));
    world.server.snapshot("b");
    world.server.publish("b", &SigningKey::ed25519(&[2; 32]));
    world.start().await;
    let untrusted = || world.followed().status().untrusted;
    eventually("both are refused", || untrusted() == 2).await;
    // One that nobody has signed yet is looked at again.
    world.server.snapshot("c");
    is_in_trouble(&world, "nobody has signed it yet").await;
    world.server.publish("c", &trusted);
    world.finds(1).await;
    assert_eq!(world.snapshot().unwrap(), "c");
    assert_eq!(untrusted(), 2);
    world.stop().await;
    // And what lies here is no better.
    world.server.inner(|inner| inner.is_up = false);
    world.options.publishers = Publishers::new(Some(ring(&SigningKey::ed25519(&[3; 32]))));
    world.start().await;
    is_in_trouble(&world, "nobody is there").await;
    assert_eq!(world.found(1), Found::Nothing);
}

#[tokio::test]
async fn who_is_trusted_no_longer_is_not_answered_from() {
    let (one, other) = (SigningKey::ed25519(&[1; 32]), SigningKey::ed25519(&[2; 32]));
    let server = Server::with_rows(50);
    server.snapshot("a");
    let mut world = World::new(server);
    world.options.publishers = Publishers::new(Some(ring(&one)));
    world.server.publish("a", &one);
    world.start().await;
    world.finds(1).await;
    world.followed().believe(Some(ring(&one))).await;
    assert_ne!(world.found(1), Found::Nothing);
    world.followed().believe(Some(ring(&other))).await;
    assert_eq!(world.found(1), Found::Nothing);
    let untrusted = || world.followed().status().untrusted;
    eventually("it is refused", || untrusted() == 1).await;
    // And it is taken again once it is trusted.
    world.followed().believe(Some(ring(&one))).await;
    world.finds(1).await;
}

#[tokio::test]
async fn nothing_is_fetched_for_which_there_is_no_room() {
    let server = Server::with_rows(50);
    let manifest = server.snapshot("a");
    let bytes: u64 = manifest.shards().map(|(_, shard)| shard.bytes).sum();
    let mut world = World::new(server);
    world.options.free_bytes = |_| Ok(1000);
    world.start().await;
    is_in_trouble(&world, "1000 are free").await;
    world.stop().await;
    world.options.free_bytes = |_| Ok(1 << 40);
    world.options.snapshot_bytes_max = bytes - 1;
    world.start().await;
    let failures = || world.followed().status().failures;
    eventually("it is refused", || failures() > 0).await;
    assert_eq!(sent(&world), []);
    world.stop().await;
    world.options.snapshot_bytes_max = bytes;
    world.start().await;
    world.finds(1).await;
}

#[tokio::test]
async fn nothing_is_fetched_that_cannot_be_followed() {
    let server = Server::with_rows(50);
    server.snapshot("a");
    server.delete(1);
    server.inner(|inner| inner.floor = inner.position);
    let mut world = World::new(server);
    world.start().await;
    let failures = || world.followed().status().failures;
    eventually("it is refused", || failures() > 0).await;
    assert_eq!(sent(&world), []);
    assert!(!world.place().partial("a").exists());
}

#[tokio::test]
async fn what_two_snapshots_share_is_fetched_once() {
    let server = Server::with_rows(100);
    (0..100).for_each(|number| server.add_to("n", number + 5000));
    let first = shards(&server.snapshot("a"));
    let mut world = World::new(server);
    world.start().await;
    world.finds(1).await;
    assert_eq!(sent(&world).len(), first.len());
    world.server.add_to("n", 9000);
    let second = shards(&world.server.snapshot("b"));
    world.answers_from("b").await;
    let new: HashSet<_> = second.difference(&first).copied().collect();
    assert!(!new.is_empty() && new.len() < second.len());
    assert_eq!(sent(&world).into_iter().collect::<HashSet<_>>(), new);
    world.finds(1).await;
}

#[tokio::test]
async fn a_file_that_is_damaged_later_is_fetched_again() {
    let server = Server::with_rows(300);
    server.snapshot("a");
    let mut world = World::new(server);
    world.start().await;
    world.finds(1).await;
    world.settled().await;
    world.stop().await;
    sent(&world);
    let shards = world.place().snapshot("a").join("shards");
    let bad = fs::read_dir(shards).unwrap().next().unwrap().unwrap();
    let mut bytes = fs::read(bad.path()).unwrap();
    bytes[200] ^= 1;
    fs::write(bad.path(), bytes).unwrap();
    world.start().await;
    eventually("it is noticed", || {
        (0..300).for_each(|number| {
            let found = world.found(number);
            assert!(found != Found::Unknown, "{number}");
        });
        world.followed().status().fetched == 1
    })
    .await;
    for number in 0..300 {
        world.finds(number).await;
    }
    let name = bad.file_name().into_string().unwrap();
    assert_eq!(sent(&world), [Digest::parse(&name).unwrap()]);
}
