//! [`ObjectStore`] against an S3 server that checks every request, and a
//! directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fingerpost_content::testing::contract;
use fingerpost_content::{Form, ObjectStore, ObjectStoreConfig, Place};
use fingerpost_core::{Cacher, CacherError, Content, EntryName};
use fingerpost_testkit::S3Server;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::s3_server;
use crate::world::{bytes, fetch, name, store, until};

const MIB: usize = 1 << 20;

async fn entries_come_back_until_removed(cacher: &dyn Cacher) {
    for len in [0, 1, 100_000] {
        let (name, bytes) = (name(&len.to_string()), bytes(len));
        assert_eq!(fetch(cacher, &name, 30_000).await.unwrap(), None);
        store(cacher, &name, &bytes).await;
        store(cacher, &name, &bytes).await;
        let found = fetch(cacher, &name, 30_000).await.unwrap();
        assert_eq!(found, Some(bytes.clone()));
        let content = cacher.look_up(&name).await.unwrap().unwrap();
        if len > 1 {
            let range = content.read(99_990, 100).await.unwrap();
            assert_eq!(range, bytes.slice(99_990..));
        }
        assert_eq!(content.read(u64::MAX, 9).await.unwrap(), Bytes::new());
        assert!(cacher.remove(&name).await.unwrap());
        assert!(!cacher.remove(&name).await.unwrap());
        assert_eq!(fetch(cacher, &name, 30_000).await.unwrap(), None);
        if len > 1 {
            assert!(content.read(0, 9).await.is_err());
        }
    }
}

#[tokio::test]
async fn s3_keeps_entries() {
    let server = S3Server::start().await.unwrap();
    entries_come_back_until_removed(&s3_server::store(&server, |_| {})).await;
}

/// The contract wants to read what was removed meanwhile; an object is gone
/// then, and says so. So this reads it when it is found.
struct Loaded(ObjectStore);

impl Cacher for Loaded {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        Box::pin(async move {
            let bytes = fetch(&self.0, name, MIB).await?;
            Ok(bytes.map(|bytes| Arc::new(bytes) as Arc<dyn Content>))
        })
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        self.0.store(name, content)
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        self.0.remove(name)
    }
}

#[tokio::test]
async fn s3_keeps_the_contract_of_stores() {
    let server = S3Server::start().await.unwrap();
    contract(&Loaded(s3_server::store(&server, |_| {}))).await;
    contract(&Loaded(s3_server::store(&server, |config| {
        config.form = Form::Sealed
    })))
    .await;
}

#[tokio::test]
async fn a_damaged_sealed_object_is_never_served() {
    let server = S3Server::start().await.unwrap();
    let sealed = s3_server::store(&server, |config| config.form = Form::Sealed);
    let plain = s3_server::store(&server, |_| {});
    let bytes = bytes(200_000);
    store(&sealed, &name("a"), &bytes).await;
    let object = fetch(&plain, &name("a"), MIB).await.unwrap().unwrap();
    assert!(object.len() > bytes.len());
    for at in [0, 20, 45, 100_000, object.len() - 1] {
        let mut wrong = object.to_vec();
        wrong[at] ^= 1;
        store(&plain, &name("a"), &wrong.into()).await;
        let found = fetch(&sealed, &name("a"), MIB).await;
        assert!(matches!(found, Err(CacherError::Damaged(_))), "{found:?}");
    }
    store(&plain, &name("b"), &object).await;
    let found = fetch(&sealed, &name("b"), MIB).await;
    assert!(matches!(found, Err(CacherError::Damaged(_))), "{found:?}");
}

#[tokio::test]
async fn a_directory_keeps_entries() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let cacher = ObjectStore::new(ObjectStoreConfig {
        place: Place {
            url: format!("file://{path}"),
            ..Place::default()
        },
        ..ObjectStoreConfig::default()
    })
    .unwrap();
    entries_come_back_until_removed(&cacher).await;
    let long = bytes(20 * MIB);
    store(&cacher, &name("long"), &long).await;
    let found = fetch(&cacher, &name("long"), 3 * MIB).await.unwrap();
    assert_eq!(found, Some(long));
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1);
}

/// Makes its bytes when they are read, and counts how many live.
struct Made {
    len: usize,
    ends_at: usize,
    alive: Arc<AtomicUsize>,
    most: AtomicUsize,
}

impl Made {
    fn new(len: usize, ends_at: usize) -> Self {
        Self {
            len,
            ends_at,
            alive: Arc::default(),
            most: AtomicUsize::new(0),
        }
    }
}

struct Counted(Bytes, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

impl Content for Made {
    fn len(&self) -> u64 {
        self.len as u64
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        let offset = usize::try_from(offset).unwrap();
        let len = max.min(300_000).min(self.ends_at - offset);
        let alive = self.alive.fetch_add(len, Ordering::SeqCst) + len;
        self.most.fetch_max(alive, Ordering::SeqCst);
        let byte = |at: usize| (at / 7 % 251) as u8;
        let piece: Bytes = (offset..offset + len).map(byte).collect();
        let counted = Counted(piece, Arc::clone(&self.alive));
        Box::pin(std::future::ready(Ok(Bytes::from_owner(counted))))
    }
}

#[tokio::test]
async fn long_entries_are_sent_in_parts_with_bounded_memory() {
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |_| {});
    let made = Arc::new(Made::new(20 * MIB, 20 * MIB));
    cacher
        .store(&name("long"), Arc::clone(&made) as Arc<dyn Content>)
        .await
        .unwrap();
    let most = made.most.load(Ordering::SeqCst);
    assert!(most <= 8 * MIB, "{most} bytes at once");
    let found = fetch(&cacher, &name("long"), 3 * MIB).await.unwrap();
    let expected = crate::world::read(&*made, MIB).await.unwrap();
    assert!(found == Some(expected));
    assert_eq!(server.parts().unwrap(), 0);
}

#[tokio::test]
async fn a_failed_upload_leaves_nothing() {
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |_| {});
    for ends_at in [MIB, 12 * MIB] {
        for len in [2 * MIB, 20 * MIB] {
            let made = Arc::new(Made::new(len, ends_at.min(len - 1)));
            let stored = cacher.store(&name("short"), made).await;
            assert!(matches!(stored, Err(CacherError::Damaged(_))), "{stored:?}");
            assert!(cacher.look_up(&name("short")).await.unwrap().is_none());
            assert_eq!(server.parts().unwrap(), 0);
        }
    }
}

/// Two parts, and then nothing for ever.
struct Stuck;

impl Content for Stuck {
    fn len(&self) -> u64 {
        24 << 20
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        if offset >= 16 << 20 {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(Ok(Bytes::from(vec![1; max]))))
    }
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_aborted() {
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |_| {});
    let name = name("stuck");
    {
        let mut storing = cacher.store(&name, Arc::new(Stuck));
        let start = Instant::now();
        while server.parts().unwrap() < 2 {
            assert!(start.elapsed() < Duration::from_secs(10));
            let step = Duration::from_millis(20);
            let _ = tokio::time::timeout(step, &mut storing).await;
        }
    }
    until("it is aborted", async || server.parts().unwrap() == 0).await;
}

#[tokio::test]
async fn too_long_is_refused() {
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |config| config.entry_bytes_max = 10);
    let refused = cacher.store(&name("long"), Arc::new(bytes(11))).await;
    assert!(matches!(refused, Err(CacherError::Length { len: 11 })));
}

#[tokio::test]
async fn another_key_is_refused() {
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |config| {
        let (_, secret) = config.place.options.last_mut().unwrap();
        *secret = "another".to_owned();
    });
    let (name, content) = (name("a"), Arc::new(bytes(9)));
    let error = cacher.store(&name, content).await.unwrap_err();
    let shown = format!("{error} {error:?} {cacher:?}");
    assert!(!shown.contains(&name.to_hex()), "{shown}");
    assert!(!shown.contains("another"), "{shown}");
    assert!(shown.contains("SignatureDoesNotMatch"), "{shown}");
}

#[tokio::test]
async fn what_a_server_says_of_credentials_is_not_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let body = "<Error><Code>InvalidToken</Code><Token-0>s3cret</Token-0></Error>";
    let length = body.len();
    let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\n\r\n");
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            _ = stream.read(&mut request).await;
            _ = stream.write_all((head.clone() + body).as_bytes()).await;
        }
    });
    let server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |config| config.place.endpoint = Some(endpoint));
    let stored = cacher.store(&name("a"), Arc::new(bytes(9))).await;
    let error = stored.unwrap_err().to_string();
    assert!(error.contains("400 Bad Request InvalidToken"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
    answering.abort();
}

#[tokio::test]
async fn a_lost_server_comes_back_by_itself() {
    let mut server = S3Server::start().await.unwrap();
    let cacher = s3_server::store(&server, |_| {});
    store(&cacher, &name("a"), &bytes(9)).await;
    server.lose().await;
    let start = Instant::now();
    cacher.look_up(&name("a")).await.unwrap_err();
    let content = Arc::new(bytes(9));
    cacher.store(&name("b"), content).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(4));
    server.go_on().await.unwrap();
    let found = fetch(&cacher, &name("a"), 99).await.unwrap();
    assert_eq!(found, Some(bytes(9)));
    store(&cacher, &name("b"), &bytes(9)).await;
}

#[tokio::test]
async fn a_hung_server_is_an_error_in_time() {
    let server = S3Server::start().await.unwrap();
    let deadline = Duration::from_millis(300);
    let cacher = s3_server::store(&server, |config| config.deadline = deadline);
    server.hang(true);
    let start = Instant::now();
    let found = cacher.look_up(&name("a")).await;
    assert!(matches!(found, Err(CacherError::TimedOut(_))), "{found:?}");
    assert!(start.elapsed() < deadline * 2);
    server.hang(false);
    assert!(cacher.look_up(&name("a")).await.unwrap().is_none());
}
