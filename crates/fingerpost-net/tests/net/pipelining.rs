//! Requests of HTTP/1.1 that are sent before the answers to earlier ones.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get as on_get;
use futures_util::stream;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::world::{Client, PATIENCE, Plan};

const ONE: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

fn for_path(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

/// What comes until `end` did.
async fn until(client: &mut Client, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let byte = timeout(PATIENCE, client.0.read_u8())
            .await
            .expect("in time");
        read.push(byte.expect("connected"));
    }
    read
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_next() {
    let go = Arc::new(Notify::new());
    let slow = on_get({
        let go = go.clone();
        async move || {
            go.notified().await;
            "slow\n"
        }
    });
    let router = Router::new().route("/slow", slow);
    let world = Plan {
        router,
        ..Plan::default()
    }
    .start();
    let mut client = world.connect().await;
    client.send(ONE.repeat(3) + &for_path("/slow") + ONE).await;
    for _ in 0..3 {
        until(&mut client, b"\r\n\r\nok\n").await;
    }
    go.notify_one();
    until(&mut client, b"\r\n\r\nslow\n").await;
    until(&mut client, b"\r\n\r\nok\n").await;
}

#[tokio::test]
async fn the_next_request_may_come_in_pieces() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    let (begin, end) = ONE.split_at(20);
    client.send(ONE.repeat(2) + begin).await;
    for _ in 0..2 {
        until(&mut client, b"\r\n\r\nok\n").await;
    }
    client.send(end).await;
    until(&mut client, b"\r\n\r\nok\n").await;
}

#[tokio::test]
async fn answers_before_one_that_fails_arrive() {
    let broken = on_get(async || {
        let pieces = [Ok(Bytes::from("begun")), Err(io::Error::other("broken"))];
        Body::from_stream(stream::iter(pieces))
    });
    let world = Plan {
        router: Router::new().route("/broken", broken),
        ..Plan::default()
    }
    .start();
    let mut client = world.connect().await;
    client.send(ONE.repeat(3) + &for_path("/broken")).await;
    let answers = client.rest().await;
    assert_eq!(answers.matches("\r\n\r\nok\n").count(), 3, "{answers}");
    let mut client = world.connect().await;
    client.send(ONE.repeat(3) + "nonsense\r\n\r\n").await;
    let answers = client.rest().await;
    assert_eq!(answers.matches("\r\n\r\nok\n").count(), 3, "{answers}");
    assert!(answers.contains("HTTP/1.1 400 "), "{answers}");
}

#[tokio::test]
async fn a_websocket_may_follow_requests() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    let upgrade = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(ONE.repeat(2) + upgrade).await;
    for _ in 0..2 {
        until(&mut client, b"\r\n\r\nok\n").await;
    }
    let answer = until(&mut client, b"\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    // A text of five bytes, masked with zeros; the answer is not masked.
    client.send(b"\x81\x85\0\0\0\0hello").await;
    until(&mut client, b"\x81\x05hello").await;
}

#[tokio::test]
async fn who_asks_on_and_takes_no_answer_is_dropped() {
    let world = Plan::with(|options| {
        options.http.write_stall_max = Duration::from_millis(200);
    })
    .start();
    let mut client = world.connect().await;
    let many = ONE.repeat(1000);
    let asking = async { while client.try_send(&many).await.is_ok() {} };
    timeout(PATIENCE, asking).await.expect("dropped in time");
    world.metric_becomes("fingerpost_connections_open", 0).await;
}
