//! HTTP/1.1 and HTTP/2 without TLS.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{get as on_get, post};
use fingerpost_net::Peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::authority::Authority;
use crate::world::{Client, PATIENCE, Plan, connect, get};

#[tokio::test]
async fn probes_and_metrics_are_on_both_listeners() {
    let world = Plan::default().start();
    for address in [&world.address, &world.probes] {
        assert!(get(address, "/healthz").await.ends_with("\r\n\r\nok\n"));
        assert!(get(address, "/readyz").await.ends_with("\r\n\r\nready\n"));
        let version = get(address, "/version").await;
        assert!(
            version.contains("{\"name\":\"fingerpost\",\"version\":\""),
            "{version}"
        );
        let metrics = get(address, "/metrics").await;
        assert!(
            metrics.contains("content-type: text/plain; version=0.0.4"),
            "{metrics}"
        );
        assert!(metrics.contains("\n# TYPE fingerpost_connections_total counter\n"));
        for name in [
            "connections_open ",
            "ready 1",
            "process_cpu_seconds_total ",
            "process_open_fds ",
        ] {
            assert!(
                metrics.contains(&format!("\nfingerpost_{name}")),
                "{name}: {metrics}"
            );
        }
        let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                       accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\r\n";
        let metrics = connect(address).await.http(request).await;
        assert!(
            metrics.contains("content-type: application/openmetrics-text"),
            "{metrics}"
        );
        assert!(metrics.ends_with("# EOF\n"));
    }
}

#[tokio::test]
async fn metrics_can_be_kept_to_their_own_listener() {
    let world = Plan::with(|options| options.http.metrics_everywhere = false).start();
    assert!(
        get(&world.address, "/metrics")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
    assert!(
        get(&world.probes, "/metrics")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test]
async fn a_server_that_cannot_work_says_why() {
    let plan = Plan {
        ready: Err("no database".to_owned()),
        ..Plan::default()
    };
    let answer = get(&plan.start().address, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("no database\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_server_that_works_says_what_does_not() {
    let plan = Plan {
        ready: Ok(Some("database: away".to_owned())),
        ..Plan::default()
    };
    let answer = get(&plan.start().address, "/readyz").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nready\ndatabase: away\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn the_callers_router_answers_and_knows_the_peer() {
    let whoami = on_get(async |peer: axum::Extension<Peer>| peer.to_string());
    let plan = Plan {
        router: Router::new().route("/whoami", whoami),
        ..Plan::default()
    };
    let world = plan.start();
    assert!(
        get(&world.address, "/whoami")
            .await
            .contains("\r\n\r\n127.0.0.1:")
    );
    assert!(
        get(&world.probes, "/whoami")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
}

#[tokio::test]
async fn lines_are_not_spoken_on_the_listener_of_probes() {
    let world = Plan::default().start();
    let mut client = connect(&world.probes).await;
    client.send("OEHASHEQUIV 1.1\n").await;
    assert_eq!(client.rest().await, "");
    world
        .metric_becomes(r#"fingerpost_refused_total{reason="not_http"}"#, 1)
        .await;
}

#[tokio::test]
async fn pipelined_requests_are_all_answered() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    let one = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = client.http(&(one.repeat(15) + last)).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 16);
}

#[tokio::test]
async fn a_client_that_half_closes_is_answered() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    client
        .send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    client.0.shutdown().await.expect("connected");
    assert!(client.rest().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn headers_have_limits_in_time_number_and_size() {
    let world = Plan::with(|options| {
        options.http.header_timeout = Duration::from_millis(200);
        options.http.header_bytes_max = 16 << 10;
    })
    .start();
    let begin = "GET / HTTP/1.1\r\nhost: x\r\n";
    assert_eq!(world.connect().await.http(begin).await, "");
    let many = format!("{begin}{}\r\n", "a: b\r\n".repeat(101));
    let long = format!("{begin}a: {}\r\n\r\n", "x".repeat(20 << 10));
    for request in [many, long] {
        let answer = world.connect().await.http(&request).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let refused = |reason: &str| format!("fingerpost_refused_total{{reason=\"{reason}\"}}");
    world.metric_becomes(&refused("head_too_big"), 2).await;
    assert_eq!(world.metric(&refused("slow_head")), 1);
    // Who only keeps a connection is not slow.
    let idle = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    assert!(world.connect().await.http(idle).await.ends_with("ok\n"));
    assert_eq!(world.connect().await.http("").await, "");
    assert_eq!(world.metric(&refused("slow_head")), 1);
}

#[tokio::test]
async fn a_peer_that_takes_no_answer_is_dropped() {
    let endless = on_get(async || Body::from(vec![b'x'; 64 << 20]));
    let mut plan = Plan {
        router: Router::new().route("/big", endless),
        ..Plan::default()
    };
    plan.options.http.write_stall_max = Duration::from_millis(200);
    let world = plan.start();
    let mut client = world.connect().await;
    client.send("GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await;
    world.metric_becomes("fingerpost_connections_open", 1).await;
    world.metric_becomes("fingerpost_connections_open", 0).await;
    assert!(client.rest().await.len() < 64 << 20);
}

#[tokio::test]
async fn writing_for_a_web_page_needs_a_listed_origin() {
    let mut plan = Plan::with(|options| options.http.allowed_origins = vec!["https://ok".into()]);
    plan.router = Router::new().route("/x", post(async || "written").get(async || "read"));
    let world = plan.start();
    let ask = async |method: &str, origin: &str| {
        let length = "content-length: 0\r\nconnection: close";
        let request = format!("{method} /x HTTP/1.1\r\nhost: x\r\n{origin}{length}\r\n\r\n");
        world.connect().await.http(&request).await
    };
    assert!(ask("POST", "").await.ends_with("written"));
    assert!(
        ask("POST", "origin: https://ok\r\n")
            .await
            .ends_with("written")
    );
    assert!(
        ask("POST", "origin: https://evil\r\n")
            .await
            .starts_with("HTTP/1.1 403 ")
    );
    assert!(
        ask("POST", "origin: null\r\n")
            .await
            .starts_with("HTTP/1.1 403 ")
    );
    assert!(
        ask("GET", "origin: https://evil\r\n")
            .await
            .ends_with("read")
    );
    assert_eq!(
        world.metric(r#"fingerpost_refused_total{reason="origin"}"#),
        2
    );
    let request = "POST /v1/reports HTTP/1.1\r\nhost: x\r\norigin: https://evil\r\n\
                   content-length: 0\r\nconnection: close\r\n\r\n";
    let told = world.connect().await.http(request).await;
    for part in [
        "HTTP/1.1 403 ",
        "\r\ncontent-type: application/problem+json\r\n",
        "\r\nx-request-id: ",
        r#""code":"wrong-origin","#,
        r#""request_id":""#,
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[tokio::test]
async fn a_request_for_another_name_is_misdirected() {
    let names = vec!["farm.example".to_owned()];
    let mut plan = Plan::with(|options| options.http.host_names = names);
    plan.router = Router::new().route("/x", on_get(async || "here"));
    let world = plan.start();
    let ask = async |host: &str| {
        let request = format!("GET /x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        world.connect().await.http(&request).await
    };
    for host in ["farm.example:8686", "127.0.0.1", "localhost"] {
        assert!(ask(host).await.ends_with("here"), "{host}");
    }
    let refused = ask("evil.example").await;
    assert!(refused.starts_with("HTTP/1.1 421 "), "{refused}");
    assert!(refused.contains("application/problem+json"), "{refused}");
    let upgrade = "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: upgrade, close\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let refused = world.connect().await.http(upgrade).await;
    assert!(refused.starts_with("HTTP/1.1 421 "), "{refused}");
    // HTTP/2 says it as `:authority`.
    let port = world.address.host_port().unwrap().1;
    for (host, status) in [("evil.example", 421), ("farm.example", 200)] {
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .no_proxy()
            .tls_backend_preconfigured(Authority::new().client(None))
            .resolve(host, ([127, 0, 0, 1], port).into())
            .build()
            .unwrap();
        let answer = client.get(format!("http://{host}:{port}/x")).send();
        assert_eq!(answer.await.unwrap().status(), status);
    }
    assert_eq!(
        world.metric(r#"fingerpost_refused_total{reason="host"}"#),
        3
    );
}

#[tokio::test]
async fn who_is_told_to_come_again_is_told_when() {
    let later = on_get(async || StatusCode::TOO_MANY_REQUESTS);
    let plan = Plan {
        router: Router::new().route("/x", later),
        ..Plan::default()
    };
    let world = plan.start();
    let request = "GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = world.connect().await.http(request).await;
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
}

#[tokio::test]
async fn a_refusal_reaches_a_peer_that_is_still_sending() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    let length = 8 << 20;
    let head =
        format!("POST / HTTP/1.1\r\nhost: x\r\norigin: x\r\ncontent-length: {length}\r\n\r\n");
    client.send(head).await;
    client.send(vec![b'x'; length]).await;
    assert!(client.rest().await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn http2_is_spoken_with_prior_knowledge() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    send_frame(&mut client, 4, 0, 0, b"").await; // SETTINGS
    // HEADERS, the end of both headers and stream: GET http://x/healthz in HPACK.
    send_frame(&mut client, 1, 5, 1, b"\x82\x86\x04\x08/healthz\x01\x01x").await;
    let (mut status, mut body) = (None, Vec::new());
    let answered = async {
        while body.is_empty() {
            let (kind, payload) = next_frame(&mut client).await.expect("still open");
            match kind {
                0 => body = payload,
                1 => status = payload.first().copied(),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("in time");
    assert_eq!(
        (status, body.as_slice()),
        (Some(0x88), b"ok\n".as_slice()),
        "0x88 is status 200"
    );
    world.shutdown.start();
    let start = Instant::now();
    timeout(PATIENCE, answer_pings(&mut client))
        .await
        .expect("in time");
    assert_eq!(world.ended().await, 0);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

/// As every client does, until the server closes: it pings to know that its
/// first GOAWAY has arrived.
async fn answer_pings(client: &mut Client) {
    while let Some((kind, payload)) = next_frame(client).await {
        if kind == 6 {
            send_frame(client, 6, 1, 0, &payload).await;
        }
    }
}

async fn send_frame(client: &mut Client, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).expect("a short frame");
    client
        .send([&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat())
        .await;
}

/// Type and payload; `None` when the server has closed.
async fn next_frame(client: &mut Client) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    client.0.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).expect("24 bits")];
    client.0.read_exact(&mut payload).await.ok()?;
    Some((head[3], payload))
}

#[tokio::test]
async fn blanks_behind_a_request_do_not_hold_back_its_answer() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    let answer = client
        .http("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_rest_of_the_next_request() {
    let world = Plan::default().start();
    let mut client = world.connect().await;
    client
        .send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz")
        .await;
    client.expect("HTTP/1.1 200 OK\r\n").await;
}
