//! Every protocol within TLS.

use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::get as on_get;
use fingerpost_net::{Address, Peer, TlsPolicy};
use futures_util::{SinkExt, StreamExt};
use reqwest::Version;
use rustls::version::TLS12;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::authority::{Authority, shake};
use crate::world::{PATIENCE, Plan, Policy, World, connect};

/// A server that says over HTTP whether a request came through TLS.
pub(crate) fn serve(authority: &Authority, policy: Policy) -> World {
    let tls = async |peer: Extension<Peer>| peer.tls.to_string();
    let plan = Plan {
        router: Router::new().route("/tls", on_get(tls)),
        tls: Some((policy, authority.server())),
        ..Plan::default()
    };
    plan.start()
}

fn port(address: &Address) -> u16 {
    address.host_port().expect("TCP").1
}

#[tokio::test]
async fn lines_are_served() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    assert!(world.address.to_string().starts_with("wss://127.0.0.1:"));
    let mut client = authority.connect(&world).await;
    client.send("one\ntwo\n").await;
    client.expect("one\ntwo\n").await;
    let long = "x".repeat(300_000) + "\n";
    client.send(&long).await;
    client.expect(&long).await;
    let connections = r#"fingerpost_connections_total{protocol="bitbake",transport="tls"}"#;
    assert_eq!(world.metric(connections), 1);
}

#[tokio::test]
async fn http_is_served_in_both_versions() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    let url = format!("https://localhost:{}/tls", port(&world.address));
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut config = authority.client(None);
        if version == Version::HTTP_2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .no_proxy()
            .build()
            .expect("a client");
        for _ in 0..2 {
            let answer = client.get(&url).send().await.expect("an answer");
            assert_eq!(answer.version(), version);
            assert_eq!(answer.text().await.expect("a text"), "true");
        }
    }
}

#[tokio::test]
async fn http2_is_known_by_its_preface_too() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    let mut client = authority.connect(&world).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.send(b"\0\0\0\x04\0\0\0\0\0").await;
    let mut head = [0; 4];
    let read = client.0.read_exact(&mut head);
    timeout(PATIENCE, read)
        .await
        .expect("in time")
        .expect("settings");
    assert_eq!(head[3], 4, "a SETTINGS frame");
}

#[tokio::test]
async fn websocket_is_served() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    let stream = authority.connect(&world).await.0;
    let opened = client_async("wss://localhost/any/path", stream).await;
    let (mut socket, _) = opened.expect("an upgrade");
    socket.send(Message::text("hello")).await.expect("sent");
    let answer = timeout(PATIENCE, socket.next()).await.expect("in time");
    let answer = answer.expect("a message").expect("no error");
    assert_eq!(answer, Message::text("hello"));
    let connections = r#"fingerpost_connections_total{protocol="websocket",transport="tls"}"#;
    assert_eq!(world.metric(connections), 1);
}

#[tokio::test]
async fn where_tls_is_optional_both_are_served() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Optional);
    assert!(matches!(world.address, Address::Tcp { .. }));
    let mut plain = world.connect().await;
    plain.send("plain\n").await;
    plain.expect("plain\n").await;
    let mut client = authority.connect(&world).await;
    client.send("within\n").await;
    client.expect("within\n").await;
    let request = "GET /tls HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(
        world
            .connect()
            .await
            .http(request)
            .await
            .ends_with("\r\nfalse")
    );
    let answer = authority.connect(&world).await.http(request).await;
    assert!(answer.ends_with("\r\ntrue"), "{answer}");
}

#[tokio::test]
async fn an_old_version_is_refused_where_a_new_one_is_asked_for() {
    let authority = Authority::new();
    let mut options = authority.server();
    options.version_min = fingerpost_net::TlsVersion::V13;
    let plan = Plan {
        tls: Some((TlsPolicy::Required, options)),
        ..Plan::default()
    };
    let world = plan.start();
    let mut old = authority.client(None);
    old = rustls::ClientConfig::builder_with_provider(old.crypto_provider().clone())
        .with_protocol_versions(&[&TLS12])
        .expect("a version")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let refused = shake(&world.address, old).await.expect_err("too old");
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    authority.connect(&world).await.send("hello\n").await;
    let refused = r#"fingerpost_refused_total{reason="tls_handshake"}"#;
    assert_eq!(world.metric(refused), 1);
}

/// `rest` would panic if the end came without being told.
#[tokio::test]
async fn the_end_is_told_within_tls() {
    let authority = Authority::new();
    let world = serve(&authority, TlsPolicy::Required);
    let mut client = authority.connect(&world).await;
    client.send("hello\n").await;
    client.expect("hello\n").await;
    world.shutdown.start();
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, client.0.read_to_end(&mut rest));
    assert_eq!(ended.await.expect("in time").expect("told"), 0);
    assert_eq!(world.ended().await, 0);
}

/// Handshakes that do not go on, or that are none: what is sent, and then nothing.
#[tokio::test]
async fn no_handshake_outlasts_the_deadline() {
    let authority = Authority::new();
    let mut plan = Plan::with(|options| options.handshake_max = Duration::from_millis(400));
    plan.tls = Some((TlsPolicy::Required, authority.server()));
    let world = plan.start();
    // A record of 512 bytes that never comes, half a header, a length too long,
    // a record of zeros, alerts.
    let mut zeros = vec![0x16, 3, 1, 0x10, 0];
    zeros.resize(5 + 0x1000, 0);
    for opening in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"\x16\x03",
        b"\x16",
        b"\x16\x03\x01\xff\xff",
        &zeros,
        b"\x16\x03\x01\x00\x02\x01\x00\x15\x03\x01\x00\x02\x02\x28",
    ] {
        let mut client = world.connect().await;
        client.send(opening).await;
        let closed = timeout(Duration::from_secs(5), client.rest());
        assert!(closed.await.is_ok(), "{opening:02x?} stays open");
    }
    // Shaken hands, and not a word.
    let mut silent = authority.connect(&world).await;
    assert_eq!(
        timeout(Duration::from_secs(5), silent.rest()).await,
        Ok(String::new())
    );
    world.metric_becomes("fingerpost_connections_open", 0).await;
    let count = |reason| world.metric(&format!("fingerpost_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!(count("handshake_timeout") + count("tls_handshake"), 7);
}

#[tokio::test]
async fn half_open_handshakes_do_not_keep_others_waiting() {
    let authority = Authority::new();
    let mut plan = Plan::with(|options| options.connections_max = 110);
    plan.tls = Some((TlsPolicy::Required, authority.server()));
    let world = plan.start();
    let mut half_open = Vec::new();
    for _ in 0..100 {
        let mut client = world.connect().await;
        client
            .send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            .await;
        half_open.push(client);
    }
    let mut good = Vec::new();
    for _ in 0..10 {
        let mut client = authority.connect(&world).await;
        client.send("hello\n").await;
        client.expect("hello\n").await;
        good.push(client);
    }
    // They count as every other connection.
    assert_eq!(connect(&world.address).await.rest().await, "");
    assert_eq!(
        world.metric(r#"fingerpost_refused_total{reason="connection_limit"}"#),
        1
    );
}
