//! What is answered before the router, and what is not.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::any;
use fingerpost_net::{ShortRequest, Shortcut, TrustedProxies};

use crate::world::{Plan, connect, get};

/// Knows one path, and by whom and for whom it was asked.
struct Known;

impl Shortcut for Known {
    fn takes_path(&self, path: &str) -> bool {
        path.starts_with("/k")
    }

    fn answer(&self, request: &ShortRequest<'_>) -> Option<Response> {
        assert!(request.uri.path().starts_with("/k"));
        let (host, peer) = (request.host().unwrap_or("nobody"), request.peer);
        let text = format!("known to {peer} for {host}");
        (request.uri.path() == "/known").then(|| Response::new(Body::from(text)))
    }
}

fn plan() -> Plan {
    Plan {
        router: Router::new().fallback(any(async || "routed")),
        shortcut: Some(Arc::new(Known)),
        ..Plan::with(|options| options.http.host_names = vec!["farm.example".to_owned()])
    }
}

#[tokio::test]
async fn only_what_is_known_and_is_a_plain_get_goes_by_the_shortcut() {
    let world = plan().start();
    let check = async |head: &str, wanted: &str| {
        let request = format!("{head}\r\nconnection: close\r\n\r\n");
        let answer = world.connect().await.http(&request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(body.starts_with(wanted), "{request} {head} {body}");
        head.to_owned()
    };
    check("GET /known HTTP/1.1\r\nhost: farm.example:1", "known to ").await;
    check("GET /kept HTTP/1.1\r\nhost: farm.example", "routed").await;
    check("GET /other HTTP/1.1\r\nhost: farm.example", "routed").await;
    check(
        "POST /known HTTP/1.1\r\nhost: farm.example\r\ncontent-length: 0",
        "routed",
    )
    .await;
    let head = check("HEAD /known HTTP/1.1\r\nhost: farm.example", "").await;
    assert!(head.contains("content-length: 6"), "{head}");
    let head = check("GET /known HTTP/1.1\r\nhost: evil.example", "").await;
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}");
}

#[tokio::test]
async fn a_request_with_a_body_is_routed() {
    let world = plan().start();
    let request = "GET /known HTTP/1.1\r\nhost: farm.example\r\ncontent-length: 1\r\n\
                   connection: close\r\n\r\nx";
    let answer = world.connect().await.http(request).await;
    assert!(answer.ends_with("routed"), "{answer}");
}

#[tokio::test]
async fn the_client_is_the_one_that_a_trusted_proxy_tells_of() {
    let mut plan = plan();
    plan.options.proxies = TrustedProxies::new(["127.0.0.1".parse().unwrap()]);
    let world = plan.start();
    let request = "GET /known HTTP/1.1\r\nhost: farm.example\r\nx-forwarded-for: 192.0.2.7\r\n\
                   x-forwarded-host: release.example\r\nconnection: close\r\n\r\n";
    let answer = connect(&world.address).await.http(request).await;
    assert!(answer.contains("192.0.2.7"), "{answer}");
    assert!(answer.ends_with(" for release.example"), "{answer}");
}

#[tokio::test]
async fn probes_have_no_shortcut() {
    let world = plan().start();
    let answer = get(&world.probes, "/known").await;
    assert!(
        answer.starts_with("HTTP/1.1 421 ") || answer.starts_with("HTTP/1.1 404 "),
        "{answer}"
    );
}
