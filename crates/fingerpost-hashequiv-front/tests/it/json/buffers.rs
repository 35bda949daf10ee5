//! What bodies may take of the memory that all have.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use fingerpost_core::PermissionSet;
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv_front::{DoorOptions, JsonOptions};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Json, METHOD, Told, hash, told};
use crate::world::{PATIENCE, World};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// A door whose bodies may hold 1 MiB together.
async fn tight() -> Json {
    let options = DoorOptions {
        buffered_bytes_total: 1 << 20,
        ..DoorOptions::default()
    };
    let world = World::with(options, Config::default(), None).await;
    Json::to(world, JsonOptions::default())
}

fn request(verb: &str, path: &str, kind: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(verb).uri(path);
    request
        .header(header::CONTENT_TYPE, kind)
        .body(body)
        .unwrap()
}

async fn ask(json: &Json, path: &str, body: Body) -> Told {
    told(json.send(request("POST", path, JSON, body)).await).await
}

#[tokio::test]
async fn bodies_share_the_memory_that_connections_may_have_buffered() {
    let json = tight().await;
    let question = json!([{"method": METHOD, "taskhash": hash('1')}]).to_string();
    let with_blanks = |bytes: usize| " ".repeat(bytes) + &question;
    let long = with_blanks(900 << 10);
    assert_eq!(
        ask(&json, "/v1/lookups", long.clone().into()).await.status,
        200
    );
    // Somebody who does not come to an end has most of it.
    let (pieces, coming) = mpsc::channel(1);
    let held = request("POST", "/v1/lookups", JSON, super::many::body(coming));
    let holding = async {
        for _ in 0..9 {
            pieces
                .send(Bytes::from(vec![b' '; 100 << 10]))
                .await
                .unwrap();
        }
        // All of them but the last were taken.
        pieces.send(Bytes::new()).await.unwrap();
        for path in [
            "/v1/lookups",
            "/v1/existence",
            "/v1/reports",
            "/v1/reports/batch",
        ] {
            let full = ask(&json, path, long.clone().into()).await;
            full.is_problem(503, "buffers-full");
            assert_eq!(full.headers[header::RETRY_AFTER], "1");
            let limit = json!({"name": "buffered_bytes", "max": 1 << 20});
            assert_eq!(full.body["limit"], limit);
        }
        let counted = json.metrics();
        assert!(
            counted.contains("http_over_limit_total{limit=\"buffered_bytes\"} 4\n"),
            "{counted}"
        );
        // What is short goes on.
        let short = ask(&json, "/v1/lookups", with_blanks(1000).into()).await;
        assert_eq!(short.status, 200);
        drop(pieces);
    };
    let (held, ()) = timeout(PATIENCE, async { tokio::join!(json.send(held), holding) })
        .await
        .unwrap();
    told(held).await.is_problem(400, "malformed-json");
    assert_eq!(ask(&json, "/v1/lookups", long.into()).await.status, 200);
}

#[tokio::test]
async fn a_line_and_what_a_decoder_keeps_are_of_it_too() {
    let json = tight().await;
    let lines = async |path: &str, body: Vec<u8>, coding: &str| {
        let mut request = request("POST", path, NDJSON, body.into());
        let coding = coding.parse().unwrap();
        request
            .headers_mut()
            .insert(header::CONTENT_ENCODING, coding);
        told(json.send(request).await).await
    };
    let line = vec![b' '; 2 << 20];
    let full = lines("/v1/reports/batch", line, "identity").await;
    assert_eq!(full.status, StatusCode::OK);
    assert_eq!(full.body["error"]["code"], "buffers-full");
    let blanks = zstd::encode_all(&vec![b'\n'; 2 << 20][..], 3).unwrap();
    let full = lines("/v1/lookups", blanks, "zstd").await;
    assert_eq!(full.body["error"]["code"], "buffers-full");
    let blanks = zstd::encode_all(&vec![b'\n'; 512 << 10][..], 3).unwrap();
    assert_eq!(lines("/v1/lookups", blanks, "zstd").await.body, Value::Null);
}

#[tokio::test]
async fn who_may_not_ask_is_told_so_before_their_body_is_read() {
    let config = Config {
        anonymous: PermissionSet::NONE,
        ..Config::default()
    };
    let world = World::with_anonymous_as_configured(config).await;
    let options = JsonOptions {
        body_stall: Duration::from_secs(3600),
        ..JsonOptions::default()
    };
    let json = Json::to(world, options);
    for (verb, path) in [
        ("POST", "/v1/reports"),
        ("POST", "/v1/reports/batch"),
        ("POST", "/v1/removals"),
        ("POST", "/v1/gc/marks"),
        ("PUT", "/v1/users/eve/permissions"),
        // Whoever has a name may do these for themselves.
        ("POST", "/v1/users/eve/token"),
        ("PUT", "/v1/users/eve/password"),
    ] {
        let (_held, never) = mpsc::channel(1);
        let asking = json.send(request(verb, path, JSON, super::many::body(never)));
        let answer = timeout(PATIENCE, asking).await.expect(path);
        told(answer).await.is_problem(401, "login-needed");
    }
}
