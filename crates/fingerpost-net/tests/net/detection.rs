//! One port speaks everything.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::world::Plan;

const HANDSHAKE: &str = "OEHASHEQUIV 1.1\n\n";

#[tokio::test]
async fn lines_arrive_whole_when_sent_byte_by_byte() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    for byte in HANDSHAKE.bytes() {
        client.send([byte]).await;
        sleep(Duration::from_millis(1)).await;
    }
    client.expect(HANDSHAKE).await;
    assert_eq!(
        world.metric(r#"fingerpost_connections_total{protocol="bitbake",transport="tcp"}"#),
        1
    );
}

#[tokio::test]
async fn the_letter_of_two_protocols_waits_for_the_next() {
    let world = Plan::default().start();
    let (mut line, mut http) = (world.connect().await, world.connect().await);
    line.send("O").await;
    http.send("O").await;
    sleep(Duration::from_millis(50)).await;
    line.send("EHASHEQUIV 1.1\n").await;
    line.expect("OEHASHEQUIV 1.1\n").await;
    http.send("PTIONS /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    assert!(http.rest().await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn an_empty_line_is_known_at_once() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    client.send("\n").await;
    client.expect("\n").await;
}

#[tokio::test]
async fn a_peer_that_does_not_say_what_it_speaks_is_closed_in_time() {
    let world = Plan::with(|options| options.handshake_max = Duration::from_millis(200)).start();
    let start = Instant::now();
    let (mut silent, mut shy) = (world.connect().await, world.connect().await);
    shy.send("PRI * HTTP/2.0\r\n").await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(shy.rest().await, "");
    assert!(start.elapsed() >= Duration::from_millis(200));
    world
        .metric_becomes(r#"fingerpost_refused_total{reason="handshake_timeout"}"#, 2)
        .await;
}

#[tokio::test]
async fn a_probe_without_a_byte_is_counted_and_nothing_else() {
    let world = Plan::default().start();
    drop(world.connect().await);
    world
        .metric_becomes("fingerpost_connections_silent_total", 1)
        .await;
    world.metric_becomes("fingerpost_connections_open", 0).await;
}

#[tokio::test]
async fn a_half_closed_peer_gets_its_answers() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    client.send("O").await;
    client.0.shutdown().await.expect("connected");
    assert_eq!(client.rest().await, "O\n");
}

#[tokio::test]
async fn tls_is_counted_and_closed() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    client.send(b"\x16\x03\x01\x02\x00\x01").await;
    assert_eq!(client.rest().await, "");
    world
        .metric_becomes(r#"fingerpost_refused_total{reason="tls"}"#, 1)
        .await;
}

#[tokio::test]
async fn a_door_knows_its_peer() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    let own = client.0.local_addr().expect("connected");
    client.send("who\n").await;
    client
        .expect(format!("{own} Tcp {}\n", world.address))
        .await;
}
