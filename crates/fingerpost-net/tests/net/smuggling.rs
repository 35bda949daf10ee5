//! Requests whose end two servers may see at two places, and others that are no HTTP.
//! A second request that may hide in them is never answered.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

use crate::world::{Plan, World};

/// What may hide behind, or within, a bad request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";

const CHUNKED: &str = "transfer-encoding: chunked\r\n";

/// A server that repeats what it was sent.
fn world() -> World {
    let echo = post(async |body: Bytes| body).get(async || "seen");
    let mut plan = Plan::with(|options| {
        options.http.header_timeout = Duration::from_millis(500);
    });
    plan.router = Router::new()
        .route("/", echo.clone())
        .route("/hidden", echo);
    plan.start()
}

fn refused(reason: &str) -> String {
    format!("fingerpost_refused_total{{reason=\"{reason}\"}}")
}

/// A request with these header lines and this behind them.
fn request(headers: &str, rest: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: x\r\n{headers}\r\n{rest}{HIDDEN}")
}

/// Everything that is answered, in one piece and cut at each of some places.
async fn is_refused(request: &str, reason: &str) {
    let world = world();
    let mut count = 0;
    for cut in [0, 20, 45, request.len() - HIDDEN.len()] {
        let mut client = world.connect().await;
        let (first, second) = request.split_at(cut);
        client.send(first).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        // It may have closed already.
        let _ = client.try_send(second).await;
        let answer = client.rest().await;
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{request:?} {cut}: {answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{request:?}: {answer}"
        );
        assert!(!answer.contains("seen"), "{request:?}: {answer}");
        count += 1;
        world.metric_becomes(&refused(reason), count).await;
    }
}

#[tokio::test]
async fn a_request_with_two_lengths_is_refused() {
    let two = "content-length: 4\r\n";
    let body = "0\r\n\r\n";
    for headers in [
        two.to_owned() + CHUNKED,
        CHUNKED.to_owned() + two,
        "Content-LENGTH: 4\r\na: b\r\nTransfer-Encoding:chunked\r\n".to_owned(),
    ] {
        is_refused(&request(&headers, body), "two_lengths").await;
    }
    for headers in [
        "content-length: 4\r\ncontent-length: 5\r\n",
        "content-length: 4, 5\r\n",
        "content-length: +4\r\n",
        "content-length: 0x4\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999999\r\n",
    ] {
        is_refused(&request(headers, "four"), "bad_http").await;
    }
}

#[tokio::test]
async fn a_coding_that_does_not_end_is_refused() {
    for coding in [
        "gzip",
        "chunked, gzip",
        "identity",
        "xchunked",
        "chunked\r\ntransfer-encoding: x",
    ] {
        let headers = format!("transfer-encoding: {coding}\r\n");
        is_refused(&request(&headers, "0\r\n\r\n"), "bad_http").await;
    }
    let old = request(CHUNKED, "0\r\n\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1);
    let world = world();
    let answer = world.connect().await.http(&old).await;
    assert!(
        answer.starts_with("HTTP/1.") && answer[8..].starts_with(" 400 "),
        "{answer}"
    );
    assert!(!answer.contains("seen"), "{answer}");
    world.metric_becomes(&refused("bad_http"), 1).await;
}

#[tokio::test]
async fn header_lines_that_servers_read_differently_are_refused() {
    for headers in [
        "content-length : 4\r\n",
        "content-length\t: 4\r\n",
        "transfer-encoding : chunked\r\n",
        "a: b\r\n content-length: 4\r\n",
        " content-length: 4\r\n",
        "a: b\r\n\tfolded\r\n",
        "a: b\0c\r\n",
        "a\0: b\r\n",
        "a: b\rcontent-length: 4\r\n",
        "a\r\n",
        ": a\r\n",
    ] {
        is_refused(&request(headers, "four"), "bad_http").await;
    }
}

#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    for chunks in [
        "ffffffffffffffffff\r\n",
        "10000000000000004\r\nfour\r\n0\r\n\r\n",
        "-4\r\nfour\r\n0\r\n\r\n",
        "x4\r\nfour\r\n0\r\n\r\n",
        "0x4\r\nfour\r\n0\r\n\r\n",
        "\r\nfour\r\n0\r\n\r\n",
        "4\nfour\r\n0\r\n\r\n",
        "4\r\nfour0\r\n\r\n",
        "4;a\nb\r\nfour\r\n0\r\n\r\n",
    ] {
        is_refused(&request(CHUNKED, chunks), "bad_http").await;
    }
}

/// Lines that end with a bare LF are read as those of the other kind, by which no
/// request ends somewhere else: RFC 9112 (2.2) lets a recipient.
#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_hides_nothing() {
    let world = world();
    let lines = "POST / HTTP/1.1\nhost: x\ncontent-length: 4\nconnection: close\n\nfour";
    let answer = world
        .connect()
        .await
        .http(&format!("{lines}{HIDDEN}"))
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nfour"),
        "{answer}"
    );
    let both = format!("POST / HTTP/1.1\nhost: x\ncontent-length: 4\n{CHUNKED}\n0\r\n\r\n{HIDDEN}");
    is_refused(&both, "two_lengths").await;
}

#[tokio::test]
async fn requests_with_one_length_are_answered_one_after_the_other() {
    let world = world();
    let sized = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfour";
    let chunked = format!("POST / HTTP/1.1\r\nhost: x\r\n{CHUNKED}\r\n4\r\nfour\r\n0\r\n\r\n");
    let last = "GET /hidden HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let all = [sized, &chunked, sized, &chunked, last].concat();
    let answer = world.connect().await.http(&all).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 5, "{answer}");
    for reason in ["two_lengths", "bad_http", "head_too_big", "slow_head"] {
        assert_eq!(world.metric(&refused(reason)), 0, "{reason}");
    }
}
