//! Behind proxies: the PROXY protocol, and headers of HTTP.

use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::get as on_get;
use fingerpost_net::{Peer, TlsPolicy, TrustedProxies};

use crate::authority::Authority;
use crate::world::{Client, Plan, World, connect};

const V1: &str = "PROXY TCP4 192.0.2.1 10.0.0.1 5555 80\r\n";

/// A server that trusts whoever is in `network`.
fn plan(network: &str, proxy_protocol: bool) -> Plan {
    let who = async |peer: Extension<Peer>| format!("{} tls={}", *peer, peer.tls);
    let mut plan = Plan::with(|options| {
        options.proxies = TrustedProxies::new([network.parse().expect("a network")]);
        options.handshake_max = Duration::from_millis(500);
    });
    plan.router = Router::new().route("/who", on_get(who));
    plan.proxy_protocol = proxy_protocol;
    plan
}

async fn who(world: &World, opening: &str, headers: &str) -> String {
    let request = format!("GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    let mut client = world.connect().await;
    let answer = client.http(&format!("{opening}{request}")).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    body.to_owned()
}

#[tokio::test]
async fn the_header_tells_every_protocol_who_the_client_is() {
    let world = plan("127.0.0.0/8", true).start();
    let mut client = world.connect().await;
    client.send(format!("{V1}who\nlocal\n")).await;
    assert!(client.line().await.starts_with("192.0.2.1:5555 Tcp "));
    assert_eq!(client.line().await, "false");
    assert_eq!(who(&world, V1, "").await, "192.0.2.1:5555 tls=false");
    let mut slow = world.connect().await;
    slow.send(&V1[..20]).await;
    slow.send(&V1[20..]).await;
    slow.send("who\n").await;
    assert!(slow.line().await.starts_with("192.0.2.1:5555 "));
}

#[tokio::test]
async fn a_client_behind_the_header_is_not_believed_in_its_turn() {
    let world = plan("127.0.0.0/8", true).start();
    let forged = "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: https\r\n";
    assert_eq!(who(&world, V1, forged).await, "192.0.2.1:5555 tls=false");
    let twice = format!("{V1}PROXY TCP4 127.0.0.1 10.0.0.1 1 80\r\nwho\n");
    let mut client = world.connect().await;
    client.send(twice).await;
    assert_eq!(client.line().await.split(' ').next(), Some("PROXY"));
    assert!(client.line().await.starts_with("192.0.2.1:5555 "));
    let chained = "PROXY TCP4 127.0.0.9 10.0.0.1 5555 80\r\n";
    let forwarded = "x-forwarded-for: 192.0.2.7\r\n";
    assert_eq!(who(&world, chained, forwarded).await, "192.0.2.7 tls=false");
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let authority = Authority::new();
    let world = Plan {
        tls: Some((TlsPolicy::Required, authority.server())),
        ..plan("127.0.0.0/8", true)
    };
    let world = world.start();
    let mut tcp = connect(&world.address).await;
    tcp.send(V1).await;
    let mut client = authority.connect_over(tcp.0).await;
    client.send("who\n").await;
    assert!(client.line().await.starts_with("192.0.2.1:5555 "));
}

#[tokio::test]
async fn a_proxy_without_a_header_is_refused() {
    let world = plan("127.0.0.0/8", true).start();
    for wrong in [
        "who\n",
        "GET / HTTP/1.1\r\n\r\n",
        "PROXY nonsense nonsense\r\n",
    ] {
        let mut client = world.connect().await;
        assert_eq!(client.http(wrong).await, "", "{wrong}");
    }
    let refused = r#"fingerpost_refused_total{reason="proxy_header"}"#;
    world.metric_becomes(refused, 3).await;
    let mut late = world.connect().await;
    assert_eq!(late.http("PROXY TCP4 ").await, "");
    let refused = r#"fingerpost_refused_total{reason="handshake_timeout"}"#;
    world.metric_becomes(refused, 1).await;
    drop(world.connect().await);
    world
        .metric_becomes("fingerpost_connections_silent_total", 1)
        .await;
}

#[tokio::test]
async fn nobody_else_may_connect_where_proxies_do() {
    let world = plan("10.0.0.0/8", true).start();
    let mut client = world.connect().await;
    let _ = client.try_send(V1).await;
    assert_eq!(client.rest().await, "");
    world
        .metric_becomes(r#"fingerpost_refused_total{reason="no_proxy"}"#, 1)
        .await;
}

#[tokio::test]
async fn a_header_where_none_is_expected_is_an_unknown_protocol() {
    let world = plan("127.0.0.0/8", false).start();
    let mut client = world.connect().await;
    client.send(format!("{V1}who\n")).await;
    assert_eq!(client.line().await, V1.trim_end());
    assert!(client.line().await.starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn headers_of_http_count_when_a_proxy_sends_them() {
    let headers = "x-forwarded-for: 127.0.0.1, 192.0.2.1\r\nx-forwarded-proto: https\r\n";
    let world = plan("127.0.0.0/8", false).start();
    assert_eq!(who(&world, "", headers).await, "192.0.2.1 tls=true");
    let world = plan("10.0.0.0/8", false).start();
    let answer = who(&world, "", headers).await;
    assert!(answer.starts_with("127.0.0.1:") && answer.ends_with("tls=false"));
}

#[tokio::test]
async fn each_request_of_a_connection_has_its_own_client() {
    let world = plan("127.0.0.0/8", false).start();
    let mut client: Client = world.connect().await;
    let first = "GET /who HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.1\r\n\r\n";
    let second = "GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = client.http(&format!("{first}{second}")).await;
    assert_eq!(answers.matches("192.0.2.1 ").count(), 1, "{answers}");
    assert_eq!(answers.matches("127.0.0.1:").count(), 1, "{answers}");
}

#[tokio::test]
async fn who_came_to_a_trusted_proxy_through_tls_needs_none_from_it() {
    let authority = Authority::new();
    let world = Plan {
        tls: Some((TlsPolicy::Required, authority.server())),
        ..plan("127.0.0.0/8", false)
    };
    let world = world.start();
    let secure = "x-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\n";
    assert_eq!(who(&world, "", secure).await, "192.0.2.1 tls=true");
    let plain = who(&world, "", "x-forwarded-for: 192.0.2.1\r\n").await;
    assert!(plain.starts_with("only TLS is spoken"), "{plain}");
}
