//! Content endpoint: clients that are slow, too many or curl, entries that are
//! damaged on their way, and what of it gets into logs.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use fingerpost_content::{Disk, EndpointOptions, Fault, Memory};
use fingerpost_core::{Cacher, CacherError, Content, ContentCoding, EntryName, SystemClock};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tower::ServiceExt as _;

use crate::endpoint_site::{Site, read};
use crate::world::{bytes, name, until};

const PIECE: u64 = 256 << 10;

/// The one entry of a store, longer than any buffer of sockets.
struct Long {
    len: u64,
    /// Where the bytes end that were read.
    read: AtomicU64,
}

impl Long {
    fn new(len: u64) -> Arc<Self> {
        let read = AtomicU64::new(0);
        Arc::new(Self { len, read })
    }

    fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::SeqCst)
    }
}

impl Content for Long {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        let max = max.min((self.len - offset) as usize);
        self.read.fetch_max(offset + max as u64, Ordering::SeqCst);
        Box::pin(async move { Ok(vec![7; max].into()) })
    }
}

struct OnlyLong(Arc<Long>);

impl Cacher for OnlyLong {
    fn name(&self) -> &str {
        "long"
    }

    fn look_up<'a>(
        &'a self,
        _: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        let long = Arc::clone(&self.0) as Arc<dyn Content>;
        Box::pin(async move { Ok(Some(long)) })
    }

    fn store<'a>(
        &'a self,
        _: &'a EntryName,
        _: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async { Ok(()) })
    }

    fn remove<'a>(&'a self, _: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(async { Ok(false) })
    }
}

async fn site_of(long: &Arc<Long>, change: impl FnOnce(&mut EndpointOptions)) -> Site {
    let mut options = EndpointOptions::default();
    change(&mut options);
    Site::over(Arc::new(OnlyLong(Arc::clone(long))), options).await
}

/// Sends a request on a connection of its own and reads nothing.
async fn ask_and_leave(site: &Site) -> TcpStream {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let path = site.path("a", None);
    let request = format!("GET {path} HTTP/1.1\r\nHost: us\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// What comes until the connection ends, however it does.
async fn read_to_end(stream: &mut TcpStream) -> u64 {
    let (mut all, mut buffer) = (0, vec![0; 1 << 16]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        all += read as u64;
    }
    all
}

#[tokio::test]
async fn one_piece_is_read_ahead() {
    let long = Long::new(1 << 30);
    let site = site_of(&long, |_| {}).await;
    let request = |range: &'static str| {
        let request = Request::get(site.path("a", None)).header("range", range);
        site.endpoint
            .router()
            .oneshot(request.body(Body::empty()).unwrap())
    };
    let answer = request("bytes=0-").await.unwrap();
    assert_eq!(long.read_bytes(), PIECE, "before anybody takes anything");
    let mut pieces = answer.into_body().into_data_stream();
    for taken in 1..=5 {
        let piece = pieces.next().await.unwrap().unwrap();
        assert_eq!(piece.len() as u64, PIECE);
        assert_eq!(long.read_bytes(), (taken + 1) * PIECE);
    }
    // One that begins anywhere comes to the borders between pieces.
    let answer = request("bytes=1000000000-").await.unwrap();
    let mut pieces = answer.into_body().into_data_stream();
    let first = pieces.next().await.unwrap().unwrap();
    assert_eq!((1_000_000_000 + first.len() as u64) % PIECE, 0);
}

#[tokio::test]
async fn too_many_for_too_long_are_sent_away() {
    let long = Long::new(1 << 30);
    let site = site_of(&long, |options| {
        options.answers_max = 2;
        options.look_up_time = Duration::from_millis(100);
    })
    .await;
    let taking = async || {
        let request = site.request("GET", &site.path("a", None));
        request.send().await.unwrap()
    };
    let (first, _second) = (taking().await, taking().await);
    assert_eq!(first.status(), 200);
    let path = site.path("a", None);
    for method in ["GET", "HEAD"] {
        let got = read(site.request(method, &path)).await;
        assert_eq!(got.status, 503);
        assert_eq!(got.header("retry-after"), "5");
        assert_eq!(got.header("cache-control"), "no-store");
    }
    // Who has no right learns nothing of it.
    let forbidden = read(site.request("GET", &format!("{path}0"))).await;
    assert_eq!(forbidden.status, 403);
    drop(first);
    until("there is a place", async || {
        read(site.request("HEAD", &path)).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_request_waits_until_there_is_a_place() {
    let long = Long::new(1 << 30);
    let site = site_of(&long, |options| options.answers_max = 1).await;
    let path = site.path("a", None);
    let first = site.request("GET", &path).send().await.unwrap();
    assert_eq!(first.status(), 200);
    let mut second = tokio::spawn(read(site.request("HEAD", &path)));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    assert!(early.is_err(), "{early:?}");
    drop(first);
    assert_eq!(second.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped() {
    let long = Long::new(1 << 30);
    let site = site_of(&long, |options| {
        options.answers_max = 1;
        options.stall = Duration::from_millis(300);
    })
    .await;
    let mut stream = ask_and_leave(&site).await;
    let path = site.path("a", None);
    let is_free = async || read(site.request("HEAD", &path)).await.status == 200;
    until("it is answered", async || long.read_bytes() > PIECE).await;
    until("it is dropped", is_free).await;
    assert_eq!(site.counted("content_broken_total{why=\"stalled\"}"), 1);
    let read_bytes = long.read_bytes();
    let sent = read_to_end(&mut stream).await;
    assert!(sent < long.len / 2, "it ends in the middle");
    assert_eq!(long.read_bytes(), read_bytes, "nothing more is read");
    assert_eq!(Arc::strong_count(&long), 2, "nothing is held");
}

#[tokio::test]
async fn an_answer_has_its_time() {
    let long = Long::new(1 << 50);
    let site = site_of(&long, |options| {
        options.answer_time = Duration::from_millis(300);
    })
    .await;
    let mut stream = ask_and_leave(&site).await;
    let sent = read_to_end(&mut stream).await;
    assert!(sent > PIECE && sent < long.len, "{sent}");
    assert_eq!(site.counted("content_broken_total{why=\"too_long\"}"), 1);
}

#[tokio::test]
async fn a_store_that_hangs_in_the_middle_breaks_the_answer() {
    let options = EndpointOptions {
        stall: Duration::from_millis(300),
        ..EndpointOptions::default()
    };
    let site = Site::over(Arc::new(Memory::new(64 << 20)), options).await;
    let whole = bytes(3 * PIECE as usize);
    site.put("a", &whole).await;
    for (fault, why) in [(Fault::HangReads, "stalled"), (Fault::FailReads, "failed")] {
        let request = Request::get(site.path("a", None)).body(Body::empty());
        let answer = site.endpoint.router().oneshot(request.unwrap());
        let mut pieces = answer.await.unwrap().into_body().into_data_stream();
        site.fail(fault);
        let first = pieces.next().await.unwrap().unwrap();
        assert!(first == whole[..PIECE as usize]);
        assert!(pieces.next().await.unwrap().is_err(), "{why}");
        assert!(pieces.next().await.is_none());
        let counter = format!("content_broken_total{{why=\"{why}\"}}");
        assert_eq!(site.counted(&counter), 1);
        site.fail(Fault::None);
    }
}

#[tokio::test]
async fn damage_in_the_middle_breaks_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::open(directory.path(), 64 << 20, Arc::new(SystemClock)).unwrap();
    let site = Site::over(Arc::new(disk), EndpointOptions::default()).await;
    let whole = bytes(5 << 20);
    let hex = name("a").to_hex();
    let file = directory.path().join(&hex[..2]).join(&hex);
    for (at, range) in [(3 << 20, "bytes=0-"), (4 << 20, "bytes=1000000-")] {
        site.put("a", &whole).await;
        let mut damaged = std::fs::read(&file).unwrap();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        let request = site.request("GET", &site.path("a", None));
        let mut answer = request.header("range", range).send().await.unwrap();
        assert_eq!(answer.status(), 206);
        let start = if at == 3 << 20 { 0 } else { 1_000_000 };
        let promised = answer.content_length().unwrap();
        assert_eq!(promised, (whole.len() - start) as u64);
        let mut sent = start;
        let broken = loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => {
                    assert!(bytes == whole[sent..][..bytes.len()], "wrong bytes");
                    sent += bytes.len();
                }
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(broken, "it looks whole after {sent} bytes");
        assert!(sent <= at);
        assert_eq!(site.get("a", &[]).await.status, 404, "it was removed");
    }
    assert_eq!(site.counted("content_broken_total{why=\"damaged\"}"), 2);
}

#[tokio::test]
async fn curl_gets_entries_and_ranges() {
    let site = Site::start().await;
    let whole = bytes(700_000);
    site.put("a", &whole).await;
    let curl = async |args: &[&str], coding: Option<ContentCoding>| {
        let url = format!("http://{}{}", site.address, site.path("a", coding));
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "20", "--fail", &url])
            .args(args)
            .kill_on_drop(true)
            .output()
            .await
            .expect("scripts/prepare demands curl");
        assert!(output.status.success(), "{args:?}: {:?}", output.status);
        output.stdout
    };
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        assert!(curl(&[version], None).await == whole);
        assert!(curl(&[version], Some(ContentCoding::Zstd)).await == whole);
        for (range, expected) in [
            ("10-19", 10..20),
            ("262143-262144", 262_143..262_145),
            ("600000-", 600_000..700_000),
            ("-5", 699_995..700_000),
        ] {
            let got = curl(&[version, "--range", range], None).await;
            assert!(got == whole[expected], "{version} {range}");
        }
        let head = curl(&[version, "--head"], None).await;
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.contains("content-length: 700000\r\n"), "{head}");
    }
    // As it goes on after a download that broke.
    let directory = tempfile::tempdir().unwrap();
    let part = directory.path().join("part");
    std::fs::write(&part, &whole[..300_000]).unwrap();
    let part_path = part.to_str().unwrap();
    curl(&["--continue-at", "-", "--output", part_path], None).await;
    assert!(std::fs::read(&part).unwrap() == whole);
}

/// Where the lines of a log go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_holds_a_url() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For this thread, on which everything here runs.
    let _logging = tracing::subscriber::set_default(subscriber);
    let long = Long::new(3 * PIECE);
    let site = site_of(&long, |options| {
        options.look_up_time = Duration::from_millis(50);
    })
    .await;
    for fault in [Fault::None, Fault::Fail, Fault::Hang, Fault::FailReads] {
        site.fail(fault);
        // Not by reqwest, which logs for itself.
        let mut stream = ask_and_leave(&site).await;
        stream.shutdown().await.unwrap();
        read_to_end(&mut stream).await;
    }
    site.fail(Fault::None);
    let url = format!("http://{}{}", site.address, site.path("a", None));
    let _ = Command::new("curl")
        .args(["--silent", "--http2-prior-knowledge", &url])
        .kill_on_drop(true)
        .output()
        .await;
    let log = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert!(log.contains("the store of content failed"), "{log}");
    for secret in ["signature", "expires", &name("a").to_hex()[12..]] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
