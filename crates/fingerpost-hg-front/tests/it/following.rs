//! A client that follows content redirects, and what it does when a place is
//! not what it should be.

use std::time::Duration;

use axum::http::header;
use fingerpost_hg_front::client::{Asking, ClientError, Followed};
use fingerpost_hg_proto::cbor::Value;
use fingerpost_hg_proto::client::{Following, Response};
use fingerpost_hg_proto::{Compressor, ContentEncoding, Location, RedirectRequest};

use crate::elsewhere::{Calling, End, Place, Seen, follow, objects, serve};

/// What is told of the right objects, wherever they came from.
fn right() -> Vec<Response> {
    vec![
        Response::Ok,
        Response::Object(Value::record([(&b"totalitems"[..], 1_u64.into())])),
        Response::Object(Value::bytes(b"a revision. ".repeat(200))),
        Response::End,
    ]
}

/// A place that is not used: alone it has the client ask again without it, and
/// before a good one the good one is used. `why` is part of what is noted.
async fn falls_back(place: Place, why: &str) {
    let check = |seen: &Seen, targets: &[&[&str]]| {
        assert_eq!(seen.told, right(), "{why}");
        assert_eq!(seen.targets(), targets, "{why}");
        let (target, outcome) = &seen.noted[0];
        let outcome = outcome.as_ref().unwrap_err();
        assert_eq!(target, "bad");
        assert!(outcome.contains(why), "{outcome:?} does not say {why:?}");
    };
    let alone = follow(std::slice::from_ref(&place)).await;
    check(&alone, &[&["bad"], &[]]);
    assert_eq!(alone.noted.len(), 1);
    let before_another = follow(&[place, Place::good("good")]).await;
    check(&before_another, &[&["bad", "good"], &["good"]]);
    let (target, outcome) = &before_another.noted[1];
    assert_eq!((&target[..], outcome.is_ok()), ("good", true));
}

fn compressed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut compressor = Compressor::new(ContentEncoding::Zstd8mb, 3).unwrap();
    compressor.compress(content, &mut out).unwrap();
    compressor.finish(&mut out).unwrap();
    out
}

/// A place where what should be there is compressed.
fn zstd(mut place: Place) -> Place {
    place.body = compressed(&place.body);
    place.headers = vec![("content-encoding", "zstd".to_owned())];
    place
}

/// Other objects than the right ones, as well formed as they.
fn other_objects() -> Vec<u8> {
    let mut content = objects();
    let last = content.len() - 1;
    content[last] ^= 1;
    content
}

#[tokio::test]
async fn objects_come_as_if_inline() {
    let seen = follow(&[Place::good("one"), Place::good("two")]).await;
    assert_eq!(seen.told, right());
    let bytes = objects().len() as u64;
    let followed = Followed {
        body_bytes: bytes,
        bytes,
    };
    assert_eq!(seen.noted, [("one".to_owned(), Ok(followed))]);
    let redirect = RedirectRequest {
        targets: vec![b"one".to_vec(), b"two".to_vec()],
        hashes: vec![b"sha256".to_vec(), b"sha1".to_vec()],
        encodings: vec![b"zstd".to_vec()],
    };
    assert_eq!(seen.asked, [Some(redirect)]);
    let headers = &seen.places[0];
    assert_eq!(headers[header::ACCEPT], "application/mercurial-cbor");
    assert_eq!(headers[header::ACCEPT_ENCODING], "zstd, identity");
}

#[tokio::test]
async fn what_travels_compressed_is_undone() {
    let seen = follow(&[zstd(Place::good("one"))]).await;
    assert_eq!(seen.told, right());
    let followed = seen.noted[0].1.as_ref().unwrap();
    assert_eq!(followed.bytes, objects().len() as u64);
    assert!(followed.body_bytes < followed.bytes / 5);
}

#[tokio::test]
async fn long_answers_come_whole() {
    let mut content = Vec::new();
    let mut expected = vec![Response::Ok];
    for fill in 0..5_u8 {
        let bytes = vec![fill; 700_000];
        fingerpost_hg_proto::cbor::Writer::new(&mut content).bytes(&bytes);
        expected.push(Response::Object(Value::Bytes(bytes)));
    }
    expected.push(Response::End);
    for place in [
        Place::of("one", content.clone()),
        zstd(Place::of("one", content.clone()).unchecked()),
    ] {
        assert_eq!(follow(&[place]).await.told, expected);
    }
}

#[tokio::test]
async fn without_following_a_redirect_is_an_event() {
    let calling = Calling {
        asking: Asking::default(),
        stubborn: true,
        ..Calling::default()
    };
    let (seen, result) = calling.call(&[Place::good("one")]).await;
    result.unwrap();
    assert!(matches!(
        &seen.told[..],
        [Response::Redirect(_), Response::End]
    ));
    assert_eq!(seen.asked, [None]);
    assert!(seen.places.is_empty());
}

#[tokio::test]
async fn a_client_may_ask_as_a_stock_client_does_without_following() {
    let calling = Calling {
        asking: Asking::default(),
        as_one: Some(Following::stock()),
        ..Calling::default()
    };
    let mut new_tls = Place::good("new-tls");
    new_tls.target.tlsversions = vec![b"1.3".to_vec()];
    let (seen, result) = calling.call(&[new_tls, Place::good("one")]).await;
    result.unwrap();
    assert!(matches!(seen.told[0], Response::Redirect(_)));
    let redirect = RedirectRequest {
        targets: vec![b"one".to_vec()],
        hashes: vec![b"sha256".to_vec(), b"sha1".to_vec()],
        encodings: Vec::new(),
    };
    assert_eq!(seen.asked, [Some(redirect)]);
    assert!(seen.places.is_empty());
}

#[tokio::test]
async fn a_server_without_targets_is_sent_no_map() {
    let seen = follow(&[]).await;
    assert_eq!(seen.told, right());
    assert_eq!(seen.asked, [None]);
}

#[tokio::test]
async fn the_handshake_is_remembered() {
    let calling = Calling {
        calls: 3,
        ..Calling::default()
    };
    let (seen, _) = calling.call(&[Place::good("one")]).await;
    assert_eq!(seen.asked.len(), 3);
    assert_eq!(seen.repository.len(), 4);
}

#[tokio::test]
async fn targets_that_need_what_we_cannot_do_are_not_sent() {
    let mut old_tls = Place::good("old-tls");
    old_tls.target.tlsversions = vec![b"1.0".to_vec()];
    let mut new_tls = Place::good("new-tls");
    new_tls.target.tlsversions = vec![b"1.3".to_vec()];
    let mut gopher = Place::good("gopher");
    gopher.target.protocol = b"gopher".to_vec();
    let seen = follow(&[old_tls.clone(), gopher, new_tls]).await;
    assert_eq!(seen.targets(), [["new-tls"]]);
    let seen = follow(&[old_tls]).await;
    assert_eq!(seen.told, right());
    assert!(seen.asked[0].as_ref().unwrap().targets.is_empty());
}

#[tokio::test]
async fn a_redirect_to_nowhere_that_was_named_is_an_error() {
    let calling = Calling {
        stubborn: true,
        ..Calling::default()
    };
    let mut place = Place::good("bad");
    place.status = 404;
    let (seen, result) = calling.call(&[place]).await;
    assert!(matches!(result, Err(ClientError::StrayRedirect)));
    assert_eq!(seen.told, []);
    assert_eq!(seen.targets(), [&["bad"][..], &[]]);
}

#[tokio::test]
async fn other_content_is_not_told() {
    let place = |change: fn(&mut Place)| {
        let mut place = Place::of("bad", other_objects());
        change(&mut place);
        place
    };
    let longer = place(|place| place.location.size = Some(place.body.len() as u64 - 1));
    falls_back(longer, "longer than").await;
    let shorter = place(|place| place.location.size = Some(place.body.len() as u64 + 1));
    falls_back(shorter, "bytes, not").await;
    let sha1 = place(|place| place.location.fullhashes[0].1[0] ^= 1);
    falls_back(sha1, "another sha1").await;
    let sha256 = place(|place| place.location.fullhashes[1].1[0] ^= 1);
    falls_back(sha256, "another sha256").await;
    let seed = place(|place| place.location.fullhashseed = Some(b"seed".to_vec()));
    falls_back(seed, "another").await;
}

#[tokio::test]
async fn places_that_fail_are_left_out() {
    for status in [404, 403, 500, 206, 304] {
        let mut place = Place::of("bad", other_objects());
        place.status = status;
        falls_back(place, &format!("answers {status}")).await;
    }
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let mut place = Place::good("bad");
    place.location.url = format!("http://{address}/x").into_bytes();
    falls_back(place, "cannot be reached").await;
}

#[tokio::test]
async fn a_place_that_falls_silent_is_left_out_soon() {
    let check = async |place: Place| {
        let mut calling = Calling::default();
        calling.asking.target_wait = Duration::from_millis(50);
        let (seen, result) = calling.call(&[place]).await;
        result.unwrap();
        assert_eq!(seen.told, right());
        assert_eq!(seen.targets(), [&["bad"][..], &[]]);
        let outcome = seen.noted[0].1.as_ref().unwrap_err();
        assert!(outcome.contains("nothing came"), "{outcome}");
    };
    // The system accepts connections, and nobody takes them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut place = Place::good("bad");
    place.location.url = format!("http://{}/x", silent.local_addr().unwrap()).into_bytes();
    check(place).await;
    let mut place = Place::good("bad");
    place.body.truncate(100);
    place.end = End::Silence;
    check(place).await;
}

#[tokio::test]
async fn content_that_breaks_off_is_not_told() {
    let mut place = Place::of("bad", objects()).unchecked();
    place.end = End::BreaksOff;
    falls_back(place, "cannot be reached").await;
    let mut place = Place::of("bad", objects()).unchecked();
    place.body.pop();
    falls_back(place, "inside a value").await;
    let mut place = zstd(Place::of("bad", objects()).unchecked());
    // Without the checksum, all of the objects are there.
    place.body.truncate(place.body.len() - 3);
    falls_back(place, "breaks off").await;
}

#[tokio::test]
async fn garbage_is_not_told() {
    let garbage = b"\xa1\x41a\x01<html>".to_vec();
    falls_back(Place::of("bad", garbage), "CBOR head").await;
    let mut place = Place::of("bad", objects());
    place.headers = vec![("content-encoding", "zstd".to_owned())];
    falls_back(place, "zstd").await;
    let mut place = Place::of("bad", objects());
    place.headers = vec![("content-encoding", "gzip".to_owned())];
    falls_back(place, "content coding").await;
}

#[tokio::test]
async fn a_bomb_ends_at_the_limit() {
    let mut bomb = zstd(Place::of("bad", vec![0xf6; 64 << 20]));
    bomb.location.size = Some(1000);
    falls_back(bomb.clone(), "longer than 1000 bytes").await;
    // Without a size the client's own limit holds, and a size is not above it.
    for size in [None, Some(2_000_001)] {
        bomb.location.size = size;
        let mut calling = Calling::default();
        calling.asking.followed_bytes_max = 2_000_000;
        let (seen, result) = calling.call(std::slice::from_ref(&bomb)).await;
        result.unwrap();
        assert_eq!(seen.told, right());
        let outcome = seen.noted[0].1.as_ref().unwrap_err();
        assert!(outcome.contains("longer than 2000000 bytes"), "{outcome}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_fetched() {
    let mut place = Place::good("bad");
    place.location.mediatype = b"application/json".to_vec();
    falls_back(place.clone(), "application/json").await;
    assert!(follow(&[place]).await.places.is_empty());
    let mut place = Place::good("bad");
    place.location = Location::new("file:///etc/passwd");
    falls_back(place, "no http or https URL").await;
}

#[tokio::test]
async fn every_target_is_tried_once() {
    let names: Vec<_> = (0..12).map(|number| format!("n{number}")).collect();
    let bad = |name: &String| {
        let mut place = Place::good(name);
        place.status = 500;
        place
    };
    let places: Vec<_> = names.iter().map(bad).collect();
    let seen = follow(&places[..3]).await;
    let asked = seen.targets();
    assert_eq!(asked, [&names[..3], &names[1..3], &names[2..3], &[]]);
    let seen = follow(&places).await;
    assert_eq!(seen.noted.len(), 8, "then it is asked without any");
    assert_eq!(seen.targets().last().unwrap().len(), 0);
    assert_eq!(seen.told, right());
}

#[tokio::test]
async fn a_login_is_the_repositorys_alone() {
    let calling = Calling {
        login: "me:word@",
        ..Calling::default()
    };
    let (seen, _) = calling.call(&[Place::good("one")]).await;
    let has_login = |headers: &axum::http::HeaderMap| headers.contains_key(header::AUTHORIZATION);
    assert!(seen.repository.iter().all(has_login));
    assert!(!seen.places.is_empty() && !seen.places.iter().any(has_login));
}

#[tokio::test]
async fn redirects_of_the_place_itself_are_followed_a_few_times() {
    let content = objects();
    let hop = move |axum::extract::Path(left): axum::extract::Path<u32>| {
        let content = content.clone();
        async move {
            let response = axum::http::Response::builder();
            match left {
                0 => response.body(axum::body::Body::from(content)).unwrap(),
                _ => {
                    let next = format!("/{}", left - 1);
                    let response = response.status(302).header(header::LOCATION, next);
                    response.body(axum::body::Body::empty()).unwrap()
                }
            }
        }
    };
    let base = serve(axum::Router::new().route("/{left}", axum::routing::get(hop))).await;
    let mut place = Place::good("bad");
    place.location.url = format!("{base}/4").into_bytes();
    let seen = follow(std::slice::from_ref(&place)).await;
    assert!(seen.noted[0].1.is_ok());
    place.location.url = format!("{base}/5").into_bytes();
    falls_back(place, "cannot be reached").await;
}
