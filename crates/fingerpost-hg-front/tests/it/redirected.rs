//! Answers that clients are sent elsewhere for.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use fingerpost_core::testing::Shelf;
use fingerpost_core::{Audience, RedirectTarget, SpoolOptions};
use fingerpost_hg_proto::cbor::{self, Decoder, Event, Value};
use fingerpost_hg_proto::client::{RequestWriter, Response};
use fingerpost_hg_proto::{CommandRequest, ContentEncoding, Decompressor, Location};
use sha2::{Digest as _, Sha256};

use crate::client::{API, Told, ask, call_following, follows, post};
use crate::hostile::basic;
use crate::places::Places;
use crate::replay::{Answer, Message, recorded, recorded_answer};
use crate::shelf::Shelved as _;
use crate::world::{World, examples};

const STOCK: &str = "mercurial/proto-1.0 (Mercurial 6.0.3)";
const OURS: &str = "fingerpost/0";
const SAMPLE: &str = "[phases]\npublish = no\n";

/// The recorded repository, with these targets.
fn redirecting(places: Places) -> (World, Arc<Places>) {
    let places = Arc::new(places);
    let mut world = World::recorded("sample-dothg", SAMPLE);
    let cache = Arc::new(Shelf::default()).cache();
    let targets = Arc::clone(&places) as Arc<_>;
    world.cache = Some(cache.redirecting_to(targets, SpoolOptions::default()));
    (world, places)
}

fn one_place() -> (World, Arc<Places>) {
    redirecting(Places::new(vec![Places::target("cdn-a")]))
}

/// The manifests that the recorded exchanges ask for.
fn manifests(targets: &[&str], encodings: &[&str]) -> CommandRequest {
    let path = examples().join("94-redirect-miss.req");
    CommandRequest {
        redirect: Some(follows(targets, encodings)),
        ..Message::read(&path).command()
    }
}

/// Asks until the answer is elsewhere.
async fn redirected(door: &axum::Router, agent: &str, request: &CommandRequest) -> Location {
    redirected_by(async || call_following(door, agent, request).await).await
}

async fn redirected_by(ask: impl AsyncFn() -> Told) -> Location {
    let asking = async {
        loop {
            let told = ask().await;
            assert_eq!(told.complaint(), None);
            match told.redirect {
                Some(location) => {
                    assert!(told.objects.is_empty(), "a redirect is first and only");
                    return location;
                }
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, asking).await.unwrap()
}

/// The objects that lie at a target.
fn objects(mut bytes: &[u8]) -> Vec<Value> {
    let mut decoder = Decoder::new(cbor::Limits::RESPONSE);
    let mut objects = Vec::new();
    while let Some(event) = decoder.next(&mut bytes).unwrap() {
        match event {
            Event::Value(value) => objects.push(value),
            _ => panic!("these are short"),
        }
    }
    objects
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_redirects_are_replayed() {
    let secure = RedirectTarget {
        name: "cdn-b".to_owned(),
        protocol: "https".to_owned(),
        uris: vec!["https://cdn.example.com/".to_owned()],
        snirequired: Some(true),
        tlsversions: vec!["1.2".to_owned(), "1.3".to_owned()],
    };
    let plain = RedirectTarget {
        uris: vec!["http://127.0.0.1:8123/".to_owned()],
        ..Places::target("cdn-a")
    };
    let (world, places) = redirecting(Places::new(vec![plain, secure]));
    let door = world.door();
    let exchange = async |number: u32| {
        let (_, name) = recorded([number]).remove(0);
        let request = Message::read(&examples().join(format!("{name}.req")));
        (
            Answer::ours(&door, request.request()).await,
            recorded_answer(&name),
        )
    };
    let offered = |answer: Answer| match answer {
        Answer::Handshake(apis) => apis[0].1.get(b"redirect").cloned().unwrap(),
        other => panic!("{other:?}"),
    };
    let (ours, theirs) = exchange(93).await;
    let (ours, theirs) = (offered(ours), offered(theirs));
    assert_eq!(ours.get(b"targets"), theirs.get(b"targets"));
    let sha256 = Value::Array(vec![Value::bytes("sha256")]);
    assert_eq!(ours.get(b"hashes"), Some(&sha256), "we have no others");
    let (ours, theirs) = exchange(94).await;
    assert_eq!(ours, theirs);
    // Asked for again, it is put to a target.
    let located = redirected(&door, STOCK, &manifests(&["cdn-a"], &[])).await;
    assert!(located.url.starts_with(b"http://127.0.0.1:8123/"));
    for number in [95, 98, 100] {
        let (ours, theirs) = exchange(number).await;
        let lines = |answer: Answer| match answer {
            Answer::Frames(lines) => lines,
            other => panic!("{other:?}"),
        };
        let expected = format!("1 {:?}", Response::Redirect(located.clone()));
        assert_eq!(lines(ours), [expected, "1 End".to_owned()], "{number}");
        let theirs = lines(theirs);
        assert!(
            number == 100 || theirs[0].starts_with("1 Redirect"),
            "{theirs:?}"
        );
    }
    for number in [97, 99] {
        let (ours, theirs) = exchange(number).await;
        assert_eq!(ours, theirs, "{number}");
    }
    // What lies there is what the reference has there.
    let lying = Message::read(&examples().join("96-redirect-follow.resp"));
    assert_eq!(places.fetch(&located.url), lying.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_is_told_nothing_that_it_warns_of() {
    let (world, places) = one_place();
    let door = world.door();
    let request = manifests(&["cdn-a"], &["zstd"]);
    // By what it says that it can undo, which warming leaves out on purpose.
    redirected(&door, OURS, &manifests(&["cdn-a"], &[])).await;
    let stock = redirected(&door, STOCK, &manifests(&["cdn-a"], &[])).await;
    let told = |asked: &fingerpost_core::Following| asked.client.is_stock;
    assert!(places.asked.lock().unwrap().iter().all(told));
    let bytes = places.fetch(&stock.url);
    assert_eq!(stock.size, Some(bytes.len() as u64));
    assert!(stock.fullhashes.is_empty() && stock.serverdercerts.is_empty());
    let ours = redirected(&door, OURS, &request).await;
    let digest = Sha256::digest(&bytes).to_vec();
    assert_eq!(ours.fullhashes, [(b"sha256".to_vec(), digest)]);
    assert_eq!(ours.serverdercerts, [[1]]);
    assert_eq!(ours.servercadercerts, [[2], [3]]);
    let inline = call_following(&door, STOCK, &manifests(&[], &[])).await;
    assert_eq!(objects(&bytes), inline.objects);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_undoes_zstd_gets_the_entry_as_it_was_sent() {
    let (world, places) = one_place();
    let door = world.door();
    let mut body = Vec::new();
    let request = manifests(&["cdn-a"], &["zstd"]);
    let names = ContentEncoding::ALL.map(ContentEncoding::name);
    let mut writer = RequestWriter::new(names);
    writer.write(&mut body, &request).unwrap();
    let ask_for_it = async || {
        let mut request = post(&format!("{API}/ro/manifestdata"), body.clone());
        let agent = OURS.parse().unwrap();
        request.headers_mut().insert(header::USER_AGENT, agent);
        ask(&door, request).await.told(1).remove(0)
    };
    let inline = ask_for_it().await;
    let location = redirected_by(ask_for_it).await;
    let coded = places.fetch(&location.url);
    let mut plain = Vec::new();
    let mut decompressor = Decompressor::new(ContentEncoding::Zstd8mb).unwrap();
    decompressor
        .decompress(&mut &coded[..], &mut plain, 1 << 20)
        .unwrap();
    assert_eq!(location.size, Some(plain.len() as u64));
    assert_eq!(location.fullhashes[0].1, Sha256::digest(&plain).to_vec());
    assert_eq!(objects(&plain), inline.objects);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_answers_and_unknown_targets_stay_here() {
    let mut places = Places::new(vec![Places::target("cdn-a")]);
    places.plain_len_min = 640;
    let (world, places) = redirecting(places);
    let door = world.door();
    let told: Told = call_following(&door, STOCK, &manifests(&[], &[])).await;
    for targets in [&["cdn-a"][..], &["zz"], &[]] {
        for _ in 0..5 {
            let again = call_following(&door, STOCK, &manifests(targets, &[])).await;
            assert_eq!(again, told, "{targets:?}");
        }
    }
    assert_eq!(places.entries(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_little_to_do_answers_are_sent_from_here() {
    let (mut world, places) = one_place();
    let request = manifests(&["cdn-a"], &[]);
    redirected(&world.door(), STOCK, &request).await;
    // A request alone is one of two.
    world.front.redirected_from = 2;
    let door = world.door();
    for _ in 0..5 {
        let told = call_following(&door, STOCK, &request).await;
        assert!(told.redirect.is_none() && !told.objects.is_empty());
    }
    world.front.redirected_from = 1;
    redirected(&world.door(), STOCK, &request).await;
    assert_eq!(places.entries(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_told_who_may_see_the_answer() {
    for (rules, audience) in [
        ("", Audience::Anyone),
        ("[web]\nallow_read = alice\n", Audience::Caller),
    ] {
        let (mut world, places) = one_place();
        std::fs::write(world.root().join(".hg/hgrc"), format!("{SAMPLE}{rules}")).unwrap();
        let alice = basic("alice", &world.add_user("alice").await);
        let door = world.door();
        let mut body = Vec::new();
        let mut writer = RequestWriter::without_settings();
        writer
            .write(&mut body, &manifests(&["cdn-a"], &[]))
            .unwrap();
        redirected_by(async || {
            let mut request = post(&format!("{API}/ro/manifestdata"), body.clone());
            let login = alice.parse().unwrap();
            request.headers_mut().insert(header::AUTHORIZATION, login);
            ask(&door, request).await.told(1).remove(0)
        })
        .await;
        let asked = places.asked.lock().unwrap();
        assert!(
            asked.iter().all(|asked| asked.audience == audience),
            "{rules}"
        );
    }
}
