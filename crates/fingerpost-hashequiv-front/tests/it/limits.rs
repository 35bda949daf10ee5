//! Peers that are slow, silent or too much.

use std::time::{Duration, Instant};

use fingerpost_hashequiv_front::DoorOptions;
use tokio::io::AsyncWriteExt;

use crate::world::{HANDSHAKE, World, taskhash};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_handshake_must_be_over_in_time() {
    let world = World::new().await;
    let mut wire = world.connect_with(4096, SHORT);
    wire.send("OEHASHEQUIV 1.1\nneeds-head").await;
    let start = Instant::now();
    assert_eq!(wire.rest().await, "");
    assert!(start.elapsed() < 10 * SHORT);
}

#[tokio::test]
async fn a_message_must_be_over_in_time_however_it_trickles() {
    let options = DoorOptions {
        message_time: SHORT,
        ..DoorOptions::default()
    };
    let world = World::with(options, Default::default(), None).await;
    for (before, byte) in [
        ("", b" "),
        ("{\"get-stream\": null}\n", b"m"),
        ("{\"chunk-stream\": null}\n", b"\n "),
    ] as [(&str, &[u8]); 3]
    {
        let mut wire = world.open().await;
        wire.send(before).await;
        if before.contains("get-stream") {
            assert_eq!(wire.line().await, "\"ok\"");
        }
        let start = Instant::now();
        while !wire.is_closed_within(SHORT / 10).await {
            wire.io.write_all(byte).await.unwrap();
            assert!(start.elapsed() < 20 * SHORT, "{before}");
        }
    }
}

#[tokio::test]
async fn a_silent_client_may_stay() {
    let options = DoorOptions {
        message_time: SHORT,
        write_stall: SHORT,
        ..DoorOptions::default()
    };
    let world = World::with(options, Default::default(), None).await;
    let mut wire = world.open().await;
    // A message in two parts, so that a deadline was set once.
    wire.send("{\"ping\"").await;
    tokio::time::sleep(SHORT / 4).await;
    assert_eq!(wire.ask(": {}}").await, "{\"alive\": true}");
    tokio::time::sleep(3 * SHORT).await;
    assert_eq!(wire.ask("{\"ping\": {}}").await, "{\"alive\": true}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let options = DoorOptions {
        write_stall: SHORT,
        ..DoorOptions::default()
    };
    let world = World::with(options, Default::default(), None).await;
    let mut wire = world.connect(64);
    wire.send(HANDSHAKE).await;
    wire.send("{\"get-db-query-columns\": null}\n").await;
    tokio::time::timeout(20 * SHORT, wire.served)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn all_connections_together_hold_no_more_than_allowed() {
    let options = DoorOptions {
        buffered_bytes_total: 1 << 20,
        ..DoorOptions::default()
    };
    let world = World::with(options, Default::default(), None).await;
    let mut wires = Vec::new();
    let piece = format!("{}\n", "x".repeat(60_000));
    for _ in 0..4 {
        let mut wire = world.open().await;
        wire.send("{\"chunk-stream\": null}\n").await;
        wires.push(wire);
    }
    let mut closed = 0;
    for wire in &mut wires {
        for _ in 0..12 {
            wire.io.write_all(piece.as_bytes()).await.unwrap();
        }
        closed += u32::from(wire.is_closed_within(SHORT).await);
    }
    assert!((1..4).contains(&closed), "{closed} of 4 were closed");
    let mut other = world.open().await;
    assert_eq!(other.ask("{\"ping\": {}}").await, "{\"alive\": true}");
}

#[tokio::test]
async fn a_line_of_65536_bytes_is_taken_and_no_longer_one() {
    let world = World::new().await;
    let line = |length: usize| format!("{{\"ping\": \"{}\"}}", "x".repeat(length - 12));
    let mut wire = world.open().await;
    assert_eq!(wire.ask(&line(65_536)).await, "{\"alive\": true}");
    wire.send_line(&line(65_537)).await;
    assert_eq!(wire.rest().await, "");
    // Noticed before the line end comes.
    let mut wire = world.open().await;
    wire.send(&"x".repeat(200_000)).await;
    assert_eq!(wire.rest().await, "");
    drop(wire.io);
    let mut wire = world.open().await;
    assert_eq!(wire.ask("{\"get-stream\": null}").await, "\"ok\"");
    wire.send(&format!("m {}\nm {}", taskhash(0), "x".repeat(70_000)))
        .await;
    assert_eq!(wire.rest().await, "\n");
}
