//! Stopping.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::world::{Plan, World};

/// Generous, because two cores may be busy; the cap that must not be waited
/// for is longer.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
async fn idle_connections_of_every_kind_close_at_once() {
    let world = Plan::default().start();
    let (mut silent, mut line, mut http) = (
        world.connect().await,
        world.connect().await,
        world.connect().await,
    );
    line.send("hello\n").await;
    line.expect("hello\n").await;
    http.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    http.expect("HTTP/1.1 200 OK\r\n").await;
    let start = Instant::now();
    world.shutdown.start();
    assert_eq!(silent.rest().await, "");
    assert_eq!(line.rest().await, "");
    assert!(http.rest().await.ends_with("ok\n"));
    assert_eq!(world.ended().await, 0);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_request_in_hand_is_answered() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    client.send("slow\nnot begun\n").await;
    sleep(Duration::from_millis(100)).await;
    world.shutdown.start();
    assert_eq!(client.rest().await, "slow\n");
    assert_eq!(world.ended().await, 0);
}

#[tokio::test]
async fn who_was_accepted_last_can_still_ask() {
    let world = Plan::default().start();
    let (mut line, mut http, idle) = (
        world.connect().await,
        world.connect().await,
        world.connect().await,
    );
    world.metric_becomes("fingerpost_connections_open", 3).await;
    let start = Instant::now();
    world.shutdown.begin();
    assert!(world.shutdown.is_stopping());
    assert!(!world.shutdown.is_draining());
    sleep(Duration::from_millis(50)).await;
    line.send("hello\n").await;
    line.expect("hello\n").await;
    http.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    http.expect("HTTP/1.1 200 OK\r\n").await;
    assert_eq!(world.ended().await, 0);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    drop(idle);
}

#[tokio::test]
async fn what_does_not_end_is_dropped_at_the_cap() {
    let world = Plan::with(|options| options.drain_max = Duration::from_millis(300)).start();
    let mut client = world.connect().await;
    client.send("stuck\n").await;
    sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    world.shutdown.start();
    assert_eq!(client.rest().await, "");
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(world.ended().await, 1);
    assert!(start.elapsed() < SOON);
}

#[tokio::test]
async fn nobody_can_connect_any_more() {
    let world: World = Plan::default().start();
    let (_, port) = world.address.host_port().expect("a TCP address");
    assert_eq!(world.stop().await, 0);
    TcpStream::connect(("127.0.0.1", port))
        .await
        .expect_err("closed");
}

#[tokio::test]
async fn a_server_told_to_stop_before_it_runs_ends() {
    let plan = Plan::default();
    let world = plan.start();
    world.shutdown.start();
    world.shutdown.start();
    assert!(world.shutdown.is_draining());
    assert_eq!(world.ended().await, 0);
}
