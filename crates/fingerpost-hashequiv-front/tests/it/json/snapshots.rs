//! Snapshots and changes, as a client fetches and follows them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use fingerpost_core::{
    CacherError, Certificates, Content, ContentCoding, EntryForm, EntryName, EntryNames, Follower,
    Following, Redirect, RedirectTarget, Redirects, SecretUrl, Timestamp,
};
use fingerpost_hashequiv_front::{JsonDoor, JsonOptions, SnapshotShelf};
use fingerpost_signatures::{SigningKey, UnixTime};
use fingerpost_snapshot::{
    About, Change, ChangeReader, Digest, Files, Manifest, ReadAt, Residence, Snapshot, Writer,
    publish,
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;

use super::{Json, METHOD, hash};
use crate::world::{PATIENCE, World};

pub(super) const NAME: &str = "one";
const FAR_AWAY: Timestamp = Timestamp(i64::MAX / 2);

/// A door with a shelf in its world's directory.
pub(super) async fn door(published_only: bool, elsewhere: Option<Arc<Bucket>>) -> Json {
    let world = World::new().await;
    let door = JsonDoor::new(Arc::clone(&world.service), JsonOptions::default());
    let shelf = SnapshotShelf::new(world.directory.path().join("shelf"), published_only);
    let shelf = match elsewhere {
        Some(bucket) => shelf.redirecting_to(bucket, EntryNames::new(b"secret")),
        None => shelf,
    };
    std::fs::create_dir(world.directory.path().join("shelf")).unwrap();
    Json {
        router: door.serving_snapshots(shelf).router(),
        registry: prometheus_client::registry::Registry::default(),
        world,
    }
}

impl Json {
    pub(super) fn path(&self) -> std::path::PathBuf {
        self.world.directory.path().join("shelf").join(NAME)
    }

    /// Makes a snapshot of what the service has.
    pub(super) async fn cut(&self) -> Manifest {
        let service = &self.world.service;
        let cut = service.cut().await.unwrap();
        let about = About {
            namespace: service.namespace().to_owned(),
            epoch: cut.epoch,
            position: cut.position,
            created: UnixTime::MAX,
        };
        let mut writer = Writer::create(&self.path(), about).unwrap();
        for row in service.mappings(0, 1000).await.unwrap().rows {
            let pushed = writer.push(&row.method, &row.taskhash, &row.unihash, None);
            pushed.unwrap();
        }
        writer.finish(|| true).unwrap()
    }

    pub(super) async fn get(&self, verb: &str, path: &str, headers: &[(&str, &str)]) -> Fetched {
        let mut request = Request::builder().method(verb).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        let (parts, body) = response.into_parts();
        Fetched {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: to_bytes(body, 64 << 20).await.unwrap(),
        }
    }

    pub(super) async fn remove(&self, taskhash: char) {
        let gone = json!({"where": {"taskhash": hash(taskhash)}});
        let told = self.ask("POST", "/v1/removals", Some(&gone)).await;
        assert_eq!(told.status, StatusCode::OK);
    }

    /// Changes since a position, and the next one.
    pub(super) async fn changes(&self, query: &str) -> (Vec<Change>, u64) {
        let told = self.get("GET", &format!("/v1/changes?{query}"), &[]).await;
        assert_eq!(told.status, 200, "{:?}", told.body);
        assert_eq!(told.headers[header::CONTENT_TYPE], "application/x-ndjson");
        let (mut reader, _) = ChangeReader::new(&told.body[..]).unwrap();
        let mut changes = Vec::new();
        while let Some(change) = reader.next_change().unwrap() {
            changes.push(change);
        }
        (changes, reader.position())
    }
}

pub(super) struct Fetched {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

fn bytes(digit: char) -> [u8; 32] {
    let digit = digit.to_digit(16).unwrap() as u8;
    [digit << 4 | digit; 32]
}

fn sign(path: &Path, manifest: &Manifest) {
    let key = SigningKey::ed25519(&[7; 32]);
    publish(path, manifest, &key, UnixTime::MAX).unwrap();
}

/// Shards as they were fetched.
#[derive(Default)]
struct Shards(HashMap<Digest, Vec<u8>>);

impl Files for Shards {
    fn open(&self, name: &Digest) -> io::Result<Box<dyn ReadAt>> {
        let shard = self.0.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(shard.clone()))
    }
}

#[tokio::test]
async fn a_fetched_snapshot_with_the_changes_since_answers_as_the_server_does() {
    let json = door(false, None).await;
    for digit in '1'..='6' {
        json.report(digit, digit, 'd').await;
    }
    json.cut().await;
    json.remove('2').await;
    json.report('7', 'a', 'e').await;
    json.remove('3').await;
    json.report('3', 'b', 'f').await;

    let one = json.get("GET", "/v1/snapshots/latest", &[]).await;
    let one: serde_json::Value = serde_json::from_slice(&one.body).unwrap();
    assert_eq!((&one["name"], &one["rows"]), (&json!(NAME), &json!(6)));
    let path = format!("/v1/snapshots/{NAME}");
    let manifest = json.get("GET", &format!("{path}/manifest.json"), &[]).await;
    assert_eq!(manifest.headers[header::CACHE_CONTROL], "no-cache");
    let read = Manifest::parse(&manifest.body).unwrap();
    let mut shards = Shards::default();
    for (_, shard) in read.shards() {
        let fetched = json
            .get("GET", &format!("{path}/shards/{}", shard.sha256), &[])
            .await;
        shards.0.insert(shard.sha256, fetched.body.to_vec());
    }
    let snapshot = Snapshot::new(read, Box::new(shards), Residence::Memory);
    let position = one["position"].as_u64().unwrap();
    let (changes, _) = json.changes(&format!("since={position}")).await;
    let mut overlay = HashMap::new();
    for change in changes {
        match change {
            Change::Adopted {
                taskhash, unihash, ..
            } => overlay.insert(taskhash, Some(unihash)),
            Change::Deleted { taskhash, .. } => overlay.insert(taskhash, None),
            Change::Epoch { .. } => None,
        };
    }
    for digit in '1'..='9' {
        let ours = match overlay.get(&bytes(digit)) {
            Some(known) => *known,
            None => snapshot.lookup(METHOD, &bytes(digit)).unwrap(),
        };
        let path = format!("/v1/unihashes/{METHOD}/{}", hash(digit));
        let theirs = json.ask("GET", &path, None).await.body["unihash"].clone();
        let ours = ours.map(|hash| json!(faster_hex::hex_string(&hash)));
        assert_eq!(ours.unwrap_or_default(), theirs, "{digit}");
    }
}

#[tokio::test]
async fn changes_go_on_from_where_an_answer_ended() {
    let json = door(false, None).await;
    for digit in '1'..='5' {
        json.report(digit, digit, 'd').await;
    }
    json.remove('1').await;
    let (all, end) = json.changes("since=0").await;
    // Four that are left, one that is gone, and the epoch.
    assert_eq!(all.len(), 6);
    let (mut some, mut position) = (Vec::new(), 0);
    while position < end {
        let (next, until) = json.changes(&format!("since={position}&limit=2")).await;
        assert!(next.len() <= 2 && until > position);
        some.extend(next);
        position = until;
    }
    assert_eq!(some, all);
    assert_eq!(
        json.changes(&format!("since={end}")).await,
        (Vec::new(), end)
    );
    for wrong in [
        "since=x",
        "since=1&only=additions",
        "since=1&limit=0",
        "since=1&wait=31",
        "since=1&a=b",
    ] {
        let told = json.get("GET", &format!("/v1/changes?{wrong}"), &[]).await;
        assert_eq!(told.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn positions_that_are_forgotten_or_were_never_told_are_gone() {
    let json = door(false, None).await;
    json.report('1', 'a', 'd').await;
    json.remove('1').await;
    let (_, end) = json.changes("since=0").await;
    json.world.service.forget_changes(FAR_AWAY).await.unwrap();
    for since in [0, end + 1] {
        let path = format!("/v1/changes?since={since}");
        json.ask("GET", &path, None)
            .await
            .is_problem(410, "changes-gone");
    }
    json.changes(&format!("since={end}")).await;
}

#[tokio::test]
async fn who_waits_is_told_when_something_changes() {
    let json = door(false, None).await;
    json.report('1', 'a', 'd').await;
    let (_, end) = json.changes("since=0").await;
    let query = format!("since={end}&wait=30");
    let (waited, _) = tokio::join!(json.changes(&query), json.report('2', 'b', 'e'));
    assert_eq!(waited.0.len(), 1);
}

#[tokio::test]
async fn a_shard_is_immutable_and_comes_in_parts() {
    let json = door(false, None).await;
    for digit in '1'..='9' {
        json.report(digit, digit, 'd').await;
    }
    let manifest = json.cut().await;
    let (_, shard) = manifest.shards().next().unwrap();
    let path = format!("/v1/snapshots/{NAME}/shards/{}", shard.sha256);
    let whole = json.get("GET", &path, &[("accept-encoding", "zstd")]).await;
    assert_eq!(Digest::of(&whole.body), shard.sha256);
    let tag = format!("\"{}\"", shard.sha256);
    let check = |fetched: &Fetched, status: u16, length: u64| {
        assert_eq!(fetched.status, status);
        let headers = &fetched.headers;
        assert_eq!(headers[header::ETAG], tag);
        assert_eq!(
            headers[header::CACHE_CONTROL],
            "public, max-age=31536000, immutable"
        );
        let told = headers.get(header::CONTENT_LENGTH);
        let told = told.map_or(0, |told| told.to_str().unwrap().parse().unwrap());
        assert_eq!(told, length);
    };
    check(&whole, 200, shard.bytes);
    let head = json.get("HEAD", &path, &[]).await;
    check(&head, 200, shard.bytes);
    assert!(head.body.is_empty());
    let has_it = json.get("GET", &path, &[("if-none-match", &tag)]).await;
    check(&has_it, 304, 0);
    let part = json.get("GET", &path, &[("range", "bytes=8-11")]).await;
    check(&part, 206, 4);
    assert_eq!(part.body, whole.body[8..12]);
    let behind = json.get("GET", &path, &[("range", "bytes=99999-")]).await;
    assert_eq!(behind.status, 416);
    for wrong in [
        format!("/v1/snapshots/{NAME}/shards/{}", hash('0')),
        format!("/v1/snapshots/{NAME}/shards/x"),
        format!("/v1/snapshots/other/shards/{}", shard.sha256),
        "/v1/snapshots/..%2fshelf/manifest.json".to_owned(),
    ] {
        assert_eq!(json.get("GET", &wrong, &[]).await.status, 404, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_not_published_is_not_served() {
    let json = door(true, None).await;
    json.report('1', 'a', 'd').await;
    let manifest = json.cut().await;
    let list = json.ask("GET", "/v1/snapshots", None).await;
    assert_eq!(list.body, json!({"fallbacks": [], "snapshots": []}));
    let path = format!("/v1/snapshots/{NAME}/manifest.json");
    let latest = json.ask("GET", "/v1/snapshots/latest", None).await;
    latest.is_problem(404, "no-such-snapshot");
    json.ask("GET", &path, None)
        .await
        .is_problem(404, "no-such-snapshot");
    sign(&json.path(), &manifest);
    let until = tokio::time::Instant::now() + PATIENCE;
    while json.get("GET", &path, &[]).await.status != 200 {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let list = json.ask("GET", "/v1/snapshots", None).await;
    let key = SigningKey::ed25519(&[7; 32]).id().to_string();
    assert_eq!(list.body["snapshots"][0]["signed_by"], key);
    let path = format!("/v1/snapshots/{NAME}/manifest.sig");
    let signature = json.get("GET", &path, &[]).await;
    let kept = std::fs::read(json.path().join("manifest.sig")).unwrap();
    assert_eq!(signature.body, kept);
}

/// A place to which clients are sent.
#[derive(Default)]
pub(super) struct Bucket(Mutex<HashSet<EntryName>>);

impl Redirects for Bucket {
    fn advertised(&self, _: &Follower) -> Vec<RedirectTarget> {
        vec![RedirectTarget {
            name: "bucket".to_owned(),
            protocol: "http".to_owned(),
            uris: Vec::new(),
            snirequired: None,
            tlsversions: Vec::new(),
        }]
    }

    fn would_take(&self, following: &Following, _: Option<ContentCoding>, _: Option<u64>) -> bool {
        following.targets == [b"bucket"]
    }

    fn find<'a>(
        &'a self,
        _: &'a Following,
        form: &'a EntryForm,
    ) -> BoxFuture<'a, Option<Redirect>> {
        let is_there = self.0.lock().contains(&form.name);
        let redirect = is_there.then(|| Redirect {
            target: "bucket".to_owned(),
            location: SecretUrl::new(format!("http://bucket/{}", form.name.to_hex())),
            certificates: Certificates::default(),
        });
        Box::pin(std::future::ready(redirect))
    }

    fn publish<'a>(
        &'a self,
        _: &'a Following,
        form: &'a EntryForm,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move {
            assert_eq!(content.len(), form.plain_len);
            content.read(0, 8).await?;
            self.0.lock().insert(form.name);
            Ok(())
        })
    }
}

#[tokio::test]
async fn get_is_sent_to_where_a_shard_lies_and_head_is_not() {
    let bucket = Arc::new(Bucket::default());
    let json = door(false, Some(Arc::clone(&bucket))).await;
    json.report('1', 'a', 'd').await;
    let manifest = json.cut().await;
    let (_, shard) = manifest.shards().next().unwrap();
    let path = format!("/v1/snapshots/{NAME}/shards/{}", shard.sha256);
    // The first one gets the bytes, and has them put there.
    assert_eq!(json.get("GET", &path, &[]).await.status, 200);
    let until = tokio::time::Instant::now() + PATIENCE;
    while bucket.0.lock().is_empty() {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sent = json.get("GET", &path, &[]).await;
    assert_eq!(sent.status, 307);
    let location = sent.headers[header::LOCATION].to_str().unwrap();
    assert!(location.starts_with("http://bucket/"), "{location}");
    // The name tells nothing to who knows the digest.
    assert!(!location.contains(&shard.sha256.to_string()));
    assert_eq!(sent.headers[header::CACHE_CONTROL], "no-store");
    let head = json.get("HEAD", &path, &[]).await;
    assert_eq!(head.status, 200);
    assert!(!head.headers.contains_key(header::LOCATION));
}

#[tokio::test]
async fn a_snapshot_that_another_server_has_just_listed_is_found() {
    let json = door(true, None).await;
    json.report('1', '1', 'd').await;
    let manifest = json.cut().await;
    let path = format!("/v1/snapshots/{NAME}/manifest.json");
    // Nobody has signed it, and it is remembered so for a moment.
    assert_eq!(json.get("GET", &path, &[]).await.status, 404);
    sign(&json.path(), &manifest);
    assert_eq!(json.get("GET", &path, &[]).await.status, 200);
    let list = json.get("GET", "/v1/snapshots", &[]).await;
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list["snapshots"][0]["name"], NAME);
    for wrong in [".hidden", "..", "none"] {
        let path = format!("/v1/snapshots/{wrong}/manifest.json");
        assert_eq!(json.get("GET", &path, &[]).await.status, 404, "{wrong}");
    }
}
