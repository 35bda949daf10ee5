//! What the content endpoint answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fingerpost_content::{Disk, EndpointOptions, Fault, Memory, UrlSigner};
use fingerpost_core::{ContentCoding, SystemClock, Timestamp};

use crate::endpoint_site::{Got, LIFETIME_SECONDS, Site, read, signer};
use crate::world::{bytes, name};

/// An entry of two pieces and a few blocks.
const LEN: usize = (256 << 10) + 3 * (64 << 10) + 17;

fn in_memory() -> Arc<Memory> {
    Arc::new(Memory::new(64 << 20))
}

/// Has no header that lets somebody keep it, and none that tells of an entry.
fn is_refusal(got: &Got, status: u16) {
    assert_eq!(got.status, status, "{got:?}");
    assert_eq!(got.header("cache-control"), "no-store");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    for name in ["etag", "content-encoding", "accept-ranges"] {
        assert_eq!(got.header(name), "", "{name}");
    }
}

#[tokio::test]
async fn an_entry_is_sent_with_what_caches_need() {
    let site = Site::start().await;
    site.put("a", &bytes(LEN)).await;
    let got = site.get("a", &[]).await;
    assert_eq!(got.status, 200);
    assert!(got.body == bytes(LEN));
    let tag = format!("\"{}\"", &name("a").to_hex()[..32]);
    for (header, expected) in [
        ("content-type", "application/mercurial-cbor"),
        ("content-length", &LEN.to_string()),
        ("etag", &tag),
        ("cache-control", "public, max-age=60, immutable"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("content-encoding", ""),
        ("content-range", ""),
    ] {
        assert_eq!(got.header(header), expected, "{header}");
    }
    assert_eq!(site.counted("content_requests_total{status=\"200\"}"), 1);
    assert_eq!(site.counted("content_sent_bytes_total"), LEN as u64);
    // Whoever comes later may keep it for less long.
    let path = site.path("a", None);
    site.clock.advance_micros(59_500_000);
    let got = read(site.request("GET", &path)).await;
    let kept = got.header("cache-control");
    assert_eq!(kept, "public, max-age=1, immutable");
}

#[tokio::test]
async fn a_coding_is_said_and_left_to_the_client() {
    let site = Site::start().await;
    site.put("a", &bytes(1000)).await;
    let path = site.path("a", Some(ContentCoding::Zstd));
    let got = read(site.request("GET", &path)).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-encoding"), "zstd");
    assert_eq!(got.header("content-length"), "1000");
    assert_eq!(got.body, bytes(1000));
    let tag = format!("\"{}-zstd\"", &name("a").to_hex()[..32]);
    assert_eq!(got.header("etag"), tag);
    // A range is one of the coded bytes.
    let range = site.request("GET", &path).header("range", "bytes=10-19");
    let got = read(range).await;
    assert_eq!(got.status, 206);
    assert_eq!(got.header("content-encoding"), "zstd");
    assert_eq!(got.body, bytes(1000).slice(10..20));
    // An accepted coding changes nothing.
    let got = site.get("a", &[("accept-encoding", "zstd, gzip")]).await;
    assert_eq!(got.header("content-encoding"), "");
}

#[tokio::test]
async fn no_url_but_a_right_one_opens_anything() {
    let site = Site::start().await;
    site.put("a", &bytes(1000)).await;
    let right = site.path("a", None);
    let calls = site.store.calls();
    let coded = right.replacen('?', ".zst?", 1);
    let other_secret = UrlSigner::new(b"other");
    let expires = Timestamp(i64::MAX);
    let other_secret = other_secret.path_and_query(&name("a"), None, expires);
    let mut bodies = Vec::new();
    for path in [
        "/content/".to_owned(),
        "/content/a".to_owned(),
        "/content/a/b?expires=1&signature=2".to_owned(),
        format!("/content/{}", name("a").to_hex()),
        format!("{right}&x=1"),
        right.replacen("/content/", "/content/x/", 1),
        right.replacen("/content/", "/content//", 1),
        right.replacen("expires", "%65xpires", 1),
        right.replacen('?', "%3f", 1),
        right.replace("signature=", "signature=0"),
        right.replacen("expires=1", "expires=2", 1),
        coded,
        other_secret.expose().to_owned(),
        right.replace(&name("a").to_hex(), &name("b").to_hex()),
    ] {
        let got = read(site.request("GET", &path)).await;
        is_refusal(&got, 403);
        bodies.push(got.body);
    }
    site.clock.advance_micros(LIFETIME_SECONDS * 1_000_000);
    let got = read(site.request("GET", &right)).await;
    is_refusal(&got, 403);
    bodies.push(got.body);
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "all are told the same");
    assert_eq!(site.store.calls(), calls, "the store is not asked");
    let got = read(site.request("GET", "/content")).await;
    assert_eq!(got.status, 404, "not our path");
}

#[tokio::test]
async fn an_entry_that_is_nowhere_is_not_found() {
    let site = Site::start().await;
    is_refusal(&site.get("a", &[]).await, 404);
    let any = [("if-none-match", "*"), ("range", "bytes=0-0")];
    is_refusal(&site.get("a", &any).await, 404);
}

#[tokio::test]
async fn other_methods_are_refused() {
    let site = Site::start().await;
    site.put("a", &bytes(1000)).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let got = read(site.request(method, &site.path("a", None))).await;
        is_refusal(&got, 405);
        assert_eq!(got.header("allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn head_says_what_get_would() {
    let site = Site::start().await;
    site.put("a", &bytes(LEN)).await;
    let path = site.path("a", Some(ContentCoding::Zstd));
    let get = read(site.request("GET", &path)).await;
    // Ranges are for GET alone.
    let head = site.request("HEAD", &path).header("range", "bytes=0-0");
    let head = read(head).await;
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
    let without_date = |got: &Got| {
        let mut headers = got.headers.clone();
        headers.remove("date");
        headers
    };
    assert_eq!(without_date(&head), without_date(&get));
    let nothing = read(site.request("HEAD", &site.path("b", None))).await;
    is_refusal(&nothing, 404);
    assert!(nothing.body.is_empty());
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let site = Site::start().await;
    site.put("a", &bytes(1000)).await;
    let tag = site.get("a", &[]).await.header("etag").to_owned();
    for tags in ["*", &tag, &format!("\"x\", W/{tag}")] {
        let got = site.get("a", &[("if-none-match", tags)]).await;
        assert_eq!(got.status, 304, "{tags}");
        assert!(got.body.is_empty());
        assert_eq!(got.header("etag"), tag);
        let kept = got.header("cache-control");
        assert_eq!(kept, "public, max-age=60, immutable");
    }
    let got = site.get("a", &[("if-none-match", "\"x\"")]).await;
    assert_eq!((got.status, got.body.len()), (200, 1000));
}

#[tokio::test]
async fn ranges_are_what_a_slice_would_be() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::open(directory.path(), 64 << 20, Arc::new(SystemClock)).unwrap();
    let site = Site::over(Arc::new(disk), EndpointOptions::default()).await;
    let whole = bytes(LEN);
    site.put("a", &whole).await;
    let check = async |asked: String, expected: Option<std::ops::Range<usize>>| {
        let got = site.get("a", &[("range", &asked)]).await;
        let Some(range) = expected else {
            is_refusal(&got, 416);
            let said = format!("bytes */{LEN}");
            assert_eq!(got.header("content-range"), said, "{asked}");
            return;
        };
        assert_eq!(got.status, 206, "{asked}");
        assert!(got.body == whole[range.clone()], "{asked}");
        let said = format!("bytes {}-{}/{LEN}", range.start, range.end - 1);
        assert_eq!(got.header("content-range"), said, "{asked}");
        let len = range.len().to_string();
        assert_eq!(got.header("content-length"), len, "{asked}");
    };
    let block = 64 << 10;
    let places = [
        0,
        1,
        block - 1,
        block,
        3 * block + 5,
        4 * block - 1,
        4 * block,
        4 * block + 1,
        LEN - 1,
        LEN,
        LEN + 1,
        usize::MAX,
    ];
    for first in places {
        for last in places.into_iter().filter(|last| *last >= first) {
            let end = last.saturating_add(1).min(LEN);
            check(
                format!("bytes={first}-{last}"),
                (first < LEN).then_some(first..end),
            )
            .await;
        }
        check(
            format!("bytes={first}-"),
            (first < LEN).then_some(first..LEN),
        )
        .await;
        let last = LEN.saturating_sub(first)..LEN;
        check(format!("bytes=-{first}"), (first > 0).then_some(last)).await;
    }
}

#[tokio::test]
async fn what_is_no_single_range_gets_the_whole() {
    let site = Site::start().await;
    site.put("a", &bytes(1000)).await;
    let tag = site.get("a", &[]).await.header("etag").to_owned();
    for range in ["bytes=0-0,5-5", "bytes=5-1", "bytes=x", "items=0-0", ""] {
        let got = site.get("a", &[("range", range)]).await;
        assert_eq!((got.status, got.body.len()), (200, 1000), "{range}");
        assert_eq!(got.header("content-range"), "");
    }
    for (condition, status) in [(&*tag, 206), ("\"x\"", 200), (&format!("W/{tag}"), 200)] {
        let headers = [("range", "bytes=0-0"), ("if-range", condition)];
        let got = site.get("a", &headers).await;
        assert_eq!(got.status, status, "{condition}");
    }
    // What is there already is not sent in part either.
    let headers = [("range", "bytes=0-0"), ("if-none-match", &tag)];
    assert_eq!(site.get("a", &headers).await.status, 304);
}

#[tokio::test]
async fn an_empty_entry_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::open(directory.path(), 64 << 20, Arc::new(SystemClock)).unwrap();
    let site = Site::over(Arc::new(disk), EndpointOptions::default()).await;
    site.put("a", &Bytes::new()).await;
    for (range, status) in [("", 200), ("bytes=-5", 200), ("bytes=0-", 416)] {
        let got = site.get("a", &[("range", range)]).await;
        assert_eq!(got.status, status, "{range}");
    }
    let got = site.get("a", &[]).await;
    assert_eq!(got.header("content-length"), "0");
}

#[tokio::test]
async fn a_store_that_fails_asks_for_patience() {
    let options = EndpointOptions {
        look_up_time: Duration::from_millis(100),
        ..EndpointOptions::default()
    };
    let site = Site::over(in_memory(), options).await;
    site.put("a", &bytes(LEN)).await;
    for (fault, status) in [
        (Fault::Fail, 503),
        (Fault::FailReads, 503),
        (Fault::Hang, 404),
        (Fault::HangReads, 404),
        (Fault::Damage, 404),
    ] {
        site.fail(fault);
        let got = site.get("a", &[]).await;
        is_refusal(&got, status);
        let retry = if status == 503 { "5" } else { "" };
        assert_eq!(got.header("retry-after"), retry, "{fault:?}");
    }
    site.fail(Fault::None);
    assert_eq!(site.get("a", &[]).await.status, 200);
}

#[tokio::test]
async fn the_endpoint_shows_no_secret() {
    let site = Site::start().await;
    let shown = format!("{:?} {:?}", site.endpoint, signer());
    assert!(!shown.contains("secret"), "{shown}");
}
