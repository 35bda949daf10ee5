//! What many or strange peers may not do to others.

use std::time::Duration;

use fingerpost_net::raise_open_files;
use tokio::time::{Instant, timeout};

use crate::world::{Client, PATIENCE, Plan, get};

async fn echo(client: &mut Client) {
    client.send("hello\n").await;
    client.expect("hello\n").await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let world = Plan::with(|options| options.connections_max = 2).start();
    let (mut first, mut second) = (world.connect().await, world.connect().await);
    echo(&mut first).await;
    echo(&mut second).await;
    let start = Instant::now();
    assert_eq!(world.connect().await.rest().await, "");
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(
        world.metric(r#"fingerpost_refused_total{reason="connection_limit"}"#),
        1
    );

    echo(&mut first).await;
    assert!(
        get(&world.probes, "/metrics")
            .await
            .contains("fingerpost_connections_open 2\n")
    );
    drop(second);
    world.metric_becomes("fingerpost_connections_open", 1).await;
    echo(&mut world.connect().await).await;
}

#[tokio::test]
async fn a_thousand_strange_peers_do_not_slow_a_good_one() {
    // Both ends of every connection are files of this process.
    let most = (raise_open_files() / 4).min(1000);
    let world = Plan::default().start();
    let mut strangers = Vec::new();
    for number in 0..most {
        let mut stranger = world.connect().await;
        match number % 4 {
            0 => {}
            1 => stranger.send("O").await,
            2 => stranger.send("GET / HT").await,
            _ => stranger.send("half a line").await,
        }
        strangers.push(stranger);
    }
    let mut client = world.connect().await;
    let asking = async {
        for _ in 0..100 {
            echo(&mut client).await;
        }
    };
    timeout(PATIENCE / 4, asking).await.expect("in time");
    drop(strangers);
    world.metric_becomes("fingerpost_connections_open", 1).await;
}

#[tokio::test]
async fn a_peer_that_never_reads_holds_only_its_own_connection() {
    let world = Plan::with(|options| options.drain_max = Duration::from_millis(300)).start();
    let greedy = world.connect().await;
    // Fill both directions until neither side can write any more.
    let lines = ("x".repeat(65_535) + "\n").repeat(16);
    let mut sent = 0;
    while timeout(Duration::from_millis(200), greedy.0.writable())
        .await
        .is_ok()
    {
        let rest = &lines.as_bytes()[sent % lines.len()..];
        sent += greedy.0.try_write(rest).unwrap_or(0);
        assert!(sent < 256 << 20, "the server buffers without bound");
    }
    echo(&mut world.connect().await).await;
    assert_eq!(
        world.stop().await,
        1,
        "stuck in a write, so dropped at the cap"
    );
}
