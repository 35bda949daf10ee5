//! The client and the door over every transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_hashequiv_client::request::{self, Report};
use fingerpost_hashequiv_client::{Client, ClientError, ClientOptions};
use fingerpost_net::{Address, Host};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Listening, PATIENCE, World, taskhash, unihash};

pub(crate) fn websocket(address: &Address, tls: bool) -> Address {
    let Address::Tcp { host, port } = address.clone() else {
        panic!("no TCP address")
    };
    Address::WebSocket {
        host,
        port,
        path: "/any/path".to_owned(),
        tls,
    }
}

/// What a build does, with a message that is long enough to be cut.
async fn build(mut client: Client) {
    let (task, unihash) = (taskhash(1), unihash(1));
    let siginfo = "x y ".repeat(40_000);
    let report = Report {
        method: "m",
        taskhash: &task,
        outhash: &task,
        unihash: &unihash,
        outhash_siginfo: Some(&siginfo),
        ..Report::default()
    };
    client.call(&request::report(&report)).await.unwrap();
    let keys: Vec<_> = (0..3000).map(|task| ("m", taskhash(task))).collect();
    let found = client.unihashes(&keys).await.unwrap();
    assert_eq!(found.iter().position(Option::is_some), Some(1));
    assert_eq!(
        client.exist(&[unihash.as_str(), "none"]).await.unwrap(),
        [true, false]
    );
    let row = client
        .call(&request::get_all("m", &task))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.outhash_siginfo, Some(siginfo));
}

#[tokio::test]
async fn tcp_unix_and_websocket_are_the_same() {
    let world = World::new().await.listen();
    build(world.reached(world.tcp.clone()).await).await;
    build(world.reached(world.unix()).await).await;
    build(world.reached(websocket(&world.tcp, false)).await).await;
}

#[tokio::test]
async fn ipv6_and_names_are_resolved() {
    let world = World::new().await.listen();
    if let Some(v6) = world.v6.clone() {
        build(world.reached(v6).await).await;
    }
    let Address::Tcp { port, .. } = world.tcp else {
        panic!("no TCP address")
    };
    // `localhost` may be tried on IPv6 first, where nobody listens on this port.
    build(
        world
            .reached(Address::Tcp {
                host: Host::Name("localhost".to_owned()),
                port,
            })
            .await,
    )
    .await;
    build(
        world
            .reached(Address::Tcp {
                host: Host::Any,
                port,
            })
            .await,
    )
    .await;
}

#[tokio::test]
async fn wss_checks_the_certificate() {
    let world = World::new().await.listen();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let port = proxy(&world, &certificate, &key).await;
    let address: Address = format!("wss://localhost:{port}/x").parse().unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let trusting = ClientOptions {
        tls: Some(Arc::new(config)),
        ..ClientOptions::to(address.clone())
    };
    build(Client::new(trusting)).await;

    // With the system's authorities it is not trusted.
    let options = ClientOptions {
        tries: 1,
        ..ClientOptions::to(address)
    };
    let error = Client::new(options).connect().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
}

/// Ends TLS in front of the world.
async fn proxy(world: &Listening, certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server: SocketAddr = world.tcp.to_string().parse().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(stream).await else {
                    return;
                };
                let mut far = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_websocket_ends_with_its_code() {
    let world = World::new().await.listen();
    let url = websocket(&world.tcp, false).to_string();
    let cases: [(&[&str], Option<&str>, u16); 5] = [
        (&["OEHASHEQUIV 2.0"], None, 1000),
        (&["OEHASHEQUIV 1.1", "", "nonsense"], None, 1000),
        (&["OEHASHEQUIV 1.1", "", "null"], None, 1000),
        (
            &["OEHASHEQUIV 1.1", "", "{\"get-stream\": null}", "END "],
            Some("\"ok\""),
            1000,
        ),
        (
            &[
                "OEHASHEQUIV 1.1",
                "",
                "{\"report-equiv\": {\"taskhash\": \"t\", \"method\": \"m\", \"unihash\": \"bad\"}}",
            ],
            Some("{\"invoke-error\": {\"message\": \"Invalid unihash\"}}"),
            1000,
        ),
    ];
    for (sent, answer, code) in cases {
        let (answers, closed) = talk(&url, sent.iter().map(|text| (*text).to_owned())).await;
        assert_eq!(answers.first().map(String::as_str), answer, "{sent:?}");
        assert_eq!(closed, Some(code), "{sent:?}");
    }
    let big = format!("{{\"ping\": \"{}\"}}", "x".repeat(1 << 20));
    let opening = ["OEHASHEQUIV 1.1".to_owned(), String::new(), big];
    let (answers, closed) = talk(&url, opening.into_iter()).await;
    assert_eq!((answers, closed), (Vec::new(), Some(1009)));
}

/// Sends messages, and reads until the server closes: answers and close code.
async fn talk(url: &str, sent: impl Iterator<Item = String>) -> (Vec<String>, Option<u16>) {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for text in sent {
        // The server may have closed already.
        let _ = socket.send(Message::Text(text.into())).await;
    }
    let mut answers = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => answers.push(text.to_string()),
            Some(Ok(Message::Close(frame))) => {
                return (answers, frame.map(|frame| frame.code.into()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("no close frame: {error}"),
            None => return (answers, None),
        }
    }
}

#[tokio::test]
async fn a_websocket_batch_may_be_written_before_the_first_answer_is_read() {
    const LINES: usize = 20_000;
    let world = World::new().await;
    world.fill(10).await;
    let world = world.listen();
    let url = websocket(&world.tcp, false).to_string();
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    for text in [
        "OEHASHEQUIV 1.1",
        "needs-headers: true",
        "",
        "{\"get-stream\": null}",
    ] {
        socket.feed(Message::Text(text.into())).await.unwrap();
    }
    for task in 0..LINES {
        let line = format!("m {}", taskhash(task % 20));
        socket.feed(Message::Text(line.into())).await.unwrap();
    }
    socket.feed(Message::Text("END".into())).await.unwrap();
    socket.flush().await.unwrap();
    let mut next = async || match socket.next().await.unwrap().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(next().await, "");
    assert_eq!(next().await, "\"ok\"");
    for task in 0..LINES {
        let expected = if task % 20 < 10 {
            unihash(task % 20)
        } else {
            String::new()
        };
        assert_eq!(next().await, expected);
    }
    assert_eq!(next().await, "ok");
}

#[tokio::test]
async fn waits_of_the_client_are_bounded() {
    // Accepts, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let short = Duration::from_millis(100);
    let address: Address = format!("127.0.0.1:{port}").parse().unwrap();
    let options = ClientOptions {
        receive_timeout: short,
        tries: 2,
        ..ClientOptions::to(address.clone())
    };
    let start = Instant::now();
    let error = Client::new(options.clone())
        .call(&request::ping())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Timeout(_)), "{error:?}");
    let keys = [("m", taskhash(0))];
    let error = Client::new(options).unihashes(&keys).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout(_)), "{error:?}");
    let opening = ClientOptions {
        connect_timeout: short,
        tries: 1,
        ..ClientOptions::to(websocket(&address, false))
    };
    let error = Client::new(opening).connect().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
}
