//! [`Valkey`] against a server that works, dies, hangs and lies.

use std::time::{Duration, Instant};

use fingerpost_content::testing::contract;
use fingerpost_content::{Valkey, ValkeyConfig};
use fingerpost_core::{Cacher, CacherError};
use fingerpost_testkit::{RedisServer, free_port};

use crate::world::{bytes, fetch, name, store, until};

const DEADLINE: Duration = Duration::from_millis(300);

fn valkey(server: &RedisServer) -> Valkey {
    Valkey::new(ValkeyConfig {
        url: server.url(),
        entry_bytes_max: 100_000,
        deadline: DEADLINE,
        ..ValkeyConfig::default()
    })
    .unwrap()
}

/// Values as they lie on the server, past the store.
async fn raw(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn key(word: &str) -> String {
    format!("fingerpost:{}", name(word).to_hex())
}

#[tokio::test]
async fn entries_come_back_until_removed() {
    let server = RedisServer::start().unwrap();
    let valkey = valkey(&server);
    for len in [0, 1, 100_000] {
        let (name, bytes) = (name(&len.to_string()), bytes(len));
        assert_eq!(fetch(&valkey, &name, 999).await.unwrap(), None);
        store(&valkey, &name, &bytes).await;
        store(&valkey, &name, &bytes).await;
        assert_eq!(fetch(&valkey, &name, 999).await.unwrap(), Some(bytes));
        assert!(valkey.remove(&name).await.unwrap());
        assert!(!valkey.remove(&name).await.unwrap());
        assert_eq!(fetch(&valkey, &name, 999).await.unwrap(), None);
    }
}

#[tokio::test]
async fn valkey_keeps_the_contract_of_stores() {
    let server = RedisServer::start().unwrap();
    let valkey = Valkey::new(ValkeyConfig {
        url: server.url(),
        entry_bytes_max: 10 << 20,
        deadline: Duration::from_secs(5),
        ..ValkeyConfig::default()
    })
    .unwrap();
    contract(&valkey).await;
}

#[tokio::test]
async fn too_long_is_refused() {
    let server = RedisServer::start().unwrap();
    let valkey = valkey(&server);
    let refused = valkey
        .store(&name("long"), std::sync::Arc::new(bytes(100_001)))
        .await;
    assert!(matches!(refused, Err(CacherError::Length { len: 100_001 })));
    assert_eq!(fetch(&valkey, &name("long"), 999).await.unwrap(), None);
}

#[tokio::test]
async fn entries_end_after_their_time() {
    let server = RedisServer::start().unwrap();
    let valkey = Valkey::new(ValkeyConfig {
        url: server.url(),
        time_to_live: Duration::from_millis(300),
        ..ValkeyConfig::default()
    })
    .unwrap();
    store(&valkey, &name("short"), &bytes(10)).await;
    until("it ended", async || {
        fetch(&valkey, &name("short"), 999).await.unwrap().is_none()
    })
    .await;
    // Forever is not more than the server can count.
    let valkey = Valkey::new(ValkeyConfig {
        url: server.url(),
        time_to_live: Duration::MAX,
        ..ValkeyConfig::default()
    })
    .unwrap();
    store(&valkey, &name("long"), &bytes(10)).await;
}

#[tokio::test]
async fn what_is_not_ours_is_never_served() {
    let server = RedisServer::start().unwrap();
    let valkey = valkey(&server);
    store(&valkey, &name("a"), &bytes(1000)).await;
    let mut raw = raw(&server).await;
    let get = redis::cmd("GET").arg(key("a")).clone();
    let value: Vec<u8> = get.query_async(&mut raw).await.unwrap();
    let mut flipped = value.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut longer = value.clone();
    longer.resize(200_000, 0);
    for wrong in [
        flipped,
        value[..value.len() - 1].to_vec(),
        value[..10].to_vec(),
        longer,
        b"another program's".to_vec(),
    ] {
        let mut set = redis::cmd("SET");
        set.arg(key("a")).arg(wrong);
        let () = set.query_async(&mut raw).await.unwrap();
        let found = fetch(&valkey, &name("a"), 999).await;
        assert!(matches!(found, Err(CacherError::Damaged(_))), "{found:?}");
    }
    // The right value under another name.
    let mut set = redis::cmd("SET");
    set.arg(key("b")).arg(value);
    let () = set.query_async(&mut raw).await.unwrap();
    let found = fetch(&valkey, &name("b"), 999).await;
    assert!(matches!(found, Err(CacherError::Damaged(_))), "{found:?}");
    // A value of another type.
    let mut push = redis::cmd("LPUSH");
    push.arg(key("c")).arg("x");
    let () = push.query_async(&mut raw).await.unwrap();
    let found = fetch(&valkey, &name("c"), 999).await;
    assert!(matches!(found, Err(CacherError::Other(_))), "{found:?}");
}

/// The time that a look-up takes which must fail.
async fn failing(valkey: &Valkey) -> (Duration, CacherError) {
    let start = Instant::now();
    let found = fetch(valkey, &name("a"), 999).await;
    (start.elapsed(), found.unwrap_err())
}

#[tokio::test]
async fn a_lost_server_comes_back_by_itself() {
    let mut server = RedisServer::start().unwrap();
    let valkey = valkey(&server);
    store(&valkey, &name("a"), &bytes(10)).await;
    server.kill().unwrap();
    for _ in 0..5 {
        let (took, error) = failing(&valkey).await;
        assert!(took < DEADLINE * 2, "{took:?}: {error}");
    }
    server.restart().unwrap();
    until("it is back", async || {
        fetch(&valkey, &name("a"), 999).await.is_ok()
    })
    .await;
    store(&valkey, &name("a"), &bytes(10)).await;
    let found = fetch(&valkey, &name("a"), 999).await.unwrap();
    assert_eq!(found, Some(bytes(10)));
}

#[tokio::test]
async fn a_hung_server_is_an_error_in_time() {
    let server = RedisServer::start().unwrap();
    let valkey = valkey(&server);
    store(&valkey, &name("a"), &bytes(10)).await;
    server.hang().unwrap();
    // More calls than its pipeline holds, at once.
    let calls = (0..200).map(|_| failing(&valkey));
    for (took, error) in futures_util::future::join_all(calls).await {
        assert!(took < DEADLINE * 2, "{took:?}: {error}");
        assert!(matches!(error, CacherError::TimedOut(DEADLINE)), "{error}");
    }
    server.go_on().unwrap();
    until("it is back", async || {
        let found = fetch(&valkey, &name("a"), 999).await;
        found.is_ok_and(|found| found == Some(bytes(10)))
    })
    .await;
}

#[tokio::test]
async fn a_server_that_was_never_there_is_an_error_in_time() {
    let port = free_port().unwrap();
    let valkey = Valkey::new(ValkeyConfig {
        url: format!("redis://:word@127.0.0.1:{port}"),
        ..ValkeyConfig::default()
    })
    .unwrap();
    let (took, error) = failing(&valkey).await;
    assert!(took < Duration::from_secs(1), "{took:?}: {error}");
    for shown in [format!("{valkey:?}"), format!("{error:?} {error}")] {
        assert!(!shown.contains("word"), "{shown}");
    }
}

#[tokio::test]
async fn a_server_that_refused_with_words_is_asked_again() {
    let server = RedisServer::start().unwrap();
    let mut raw = raw(&server).await;
    let mut password = async |word: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("requirepass").arg(word);
        let () = set.query_async(&mut raw).await.unwrap();
    };
    password("another").await;
    let valkey = Valkey::new(ValkeyConfig {
        url: server.url().replace("//", "//:word@"),
        deadline: DEADLINE,
        ..ValkeyConfig::default()
    })
    .unwrap();
    failing(&valkey).await;
    password("word").await;
    until("it is let in", async || {
        fetch(&valkey, &name("a"), 999).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_full_server_says_so() {
    let server = RedisServer::start().unwrap();
    let valkey = valkey(&server);
    let mut raw = raw(&server).await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxmemory").arg("1mb");
    let () = set.query_async(&mut raw).await.unwrap();
    let mut full = None;
    for number in 0..100 {
        let content = std::sync::Arc::new(bytes(50_000));
        let stored = valkey.store(&name(&number.to_string()), content).await;
        if let Err(error) = stored {
            full = Some(error);
            break;
        }
    }
    assert!(matches!(full, Some(CacherError::Full)), "{full:?}");
}

#[tokio::test]
async fn all_entries_are_removed_and_nothing_else() {
    let server = RedisServer::start().unwrap();
    let valkey = valkey(&server);
    for number in 0..2500 {
        store(&valkey, &name(&number.to_string()), &bytes(3)).await;
    }
    let others = ["fingerpost:x", "other:key", &format!("x{}", key("a"))];
    let mut raw = raw(&server).await;
    for other in others {
        let set = redis::cmd("SET").arg(other).arg("kept").to_owned();
        set.query_async::<()>(&mut raw).await.unwrap();
    }
    assert_eq!(valkey.remove_all().await.unwrap(), 2500);
    assert_eq!(valkey.remove_all().await.unwrap(), 0);
    let left = redis::cmd("DBSIZE").query_async::<u64>(&mut raw).await;
    assert_eq!(left.unwrap(), others.len() as u64);
    // A prefix stands for itself.
    let starred = Valkey::new(ValkeyConfig {
        url: server.url(),
        prefix: "*[a]\\?:".to_owned(),
        ..ValkeyConfig::default()
    })
    .unwrap();
    store(&valkey, &name("a"), &bytes(3)).await;
    store(&starred, &name("a"), &bytes(3)).await;
    assert_eq!(starred.remove_all().await.unwrap(), 1);
    assert!(valkey.remove(&name("a")).await.unwrap());
}
