//! Signed URLs, fetched by plain HTTP from a server that checks them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use fingerpost_content::{ObjectStore, ObjectStoreConfig, Place, PresignConfig, Presigner};
use fingerpost_core::Cacher as _;
use fingerpost_testkit::S3Server;

use crate::s3_server;
use crate::world::{bytes, name, store};

const LIFETIME: Duration = Duration::from_secs(120);

fn presigner(store: &ObjectStore) -> Presigner {
    let config = PresignConfig {
        lifetime: LIFETIME,
        ..PresignConfig::default()
    };
    Presigner::new(store, config).unwrap()
}

async fn get(url: &str) -> (u16, Bytes) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap())
}

#[tokio::test]
async fn a_signed_url_is_enough() {
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |_| {});
    store(&cacher, &name("a"), &bytes(1000)).await;
    let url = presigner(&cacher)
        .url(&name("a"), Instant::now())
        .await
        .unwrap();
    let answer = reqwest::get(url.expose()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/mercurial-cbor");
    assert_eq!(header("cache-control"), "max-age=31536000, immutable");
    assert_eq!(answer.bytes().await.unwrap(), bytes(1000));
    let missing = presigner(&cacher)
        .url(&name("b"), Instant::now())
        .await
        .unwrap();
    assert_eq!(get(missing.expose()).await.0, 404);
}

#[tokio::test]
async fn anything_else_is_forbidden() {
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |_| {});
    for word in ["a", "b"] {
        store(&cacher, &name(word), &bytes(1000)).await;
    }
    let url = presigner(&cacher)
        .url(&name("a"), Instant::now())
        .await
        .unwrap();
    let url = url.expose();
    let (path, _) = url.split_once('?').unwrap();
    let last = if url.ends_with('0') { '1' } else { '0' };
    for wrong in [
        path.to_owned(),
        url.replace(&name("a").to_hex(), &name("b").to_hex()),
        url.replace("X-Amz-Expires=120", "X-Amz-Expires=121"),
        format!("{}{last}", &url[..url.len() - 1]),
        url.replace("Credential=key", "Credential=kez"),
    ] {
        assert_ne!(wrong, url);
        assert_eq!(get(&wrong).await.0, 403, "{wrong}");
    }
    assert_eq!(get(url).await.0, 200);
}

#[tokio::test]
async fn a_url_ends() {
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |_| {});
    store(&cacher, &name("a"), &bytes(10)).await;
    let config = PresignConfig {
        lifetime: Duration::from_secs(1),
        lifetime_min: Duration::ZERO,
        ..PresignConfig::default()
    };
    let presigner = Presigner::new(&cacher, config).unwrap();
    let url = presigner.url(&name("a"), Instant::now()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(get(url.expose()).await.0, 403);
}

#[tokio::test]
async fn a_url_is_signed_anew_after_half_its_life() {
    let server = S3Server::start().await.unwrap();
    let presigner = presigner(&s3_server::store(&server, |_| {}));
    let start = Instant::now();
    let first = presigner.url(&name("a"), start).await.unwrap();
    // The signature has seconds in it.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let just = start + LIFETIME / 2 - Duration::from_millis(1);
    assert_eq!(presigner.url(&name("a"), just).await.unwrap(), first);
    let late = start + LIFETIME / 2;
    let second = presigner.url(&name("a"), late).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(presigner.url(&name("a"), late).await.unwrap(), second);
}

#[tokio::test]
async fn clients_may_have_another_endpoint() {
    let server = S3Server::start().await.unwrap();
    let outside = server.endpoint().replace("127.0.0.1", "localhost");
    let cacher = s3_server::store(&server, |config| {
        config.place.client_endpoint = Some(outside.clone())
    });
    store(&cacher, &name("a"), &bytes(10)).await;
    let url = presigner(&cacher)
        .url(&name("a"), Instant::now())
        .await
        .unwrap();
    assert!(
        url.expose()
            .starts_with(&format!("{outside}/bucket/entries/"))
    );
    assert_eq!(get(url.expose()).await, (200, bytes(10)));
    // The signature is of that host alone.
    let inside = url.expose().replace("localhost", "127.0.0.1");
    assert_eq!(get(&inside).await.0, 403);
    let shown = format!("{url} {url:?} {cacher:?}");
    assert!(!shown.contains("Signature") && !shown.contains(&name("a").to_hex()));
}

#[tokio::test]
async fn a_directory_signs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cacher = ObjectStore::new(ObjectStoreConfig {
        place: Place {
            url: format!("file://{}", directory.path().display()),
            ..Place::default()
        },
        ..ObjectStoreConfig::default()
    })
    .unwrap();
    assert_eq!(cacher.name(), "s3");
    assert!(Presigner::new(&cacher, PresignConfig::default()).is_err());
}
