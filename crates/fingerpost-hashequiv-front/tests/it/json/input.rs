//! What is wrong with requests.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use fingerpost_hashequiv_front::JsonOptions;
use serde_json::json;
use tokio::sync::mpsc;

use super::{Json, METHOD, hash, told};

#[tokio::test]
async fn a_path_that_is_no_text_is_a_problem_as_well() {
    let json = Json::new().await;
    for path in [
        "/v1/unihashes/%ff/1",
        "/v1/tasks/%ff/1/outputs",
        "/v1/snapshots/%ff",
    ] {
        json.ask("GET", path, None)
            .await
            .is_problem(400, "bad-path");
    }
}

#[tokio::test]
async fn bad_input_is_named_and_stores_nothing() {
    let json = Json::new().await;
    let bad = async |verb: &str, path: &str, body: serde_json::Value, status: u16, code: &str| {
        json.ask(verb, path, Some(&body))
            .await
            .is_problem(status, code);
    };
    bad("POST", "/v1/reports", json!([]), 400, "bad-argument").await;
    bad(
        "POST",
        "/v1/reports",
        json!({"method": 1}),
        400,
        "bad-argument",
    )
    .await;
    bad(
        "POST",
        "/v1/reports",
        json!({"nonsense": 1}),
        400,
        "unknown-field",
    )
    .await;
    let mut report =
        json!({"method": METHOD, "taskhash": hash('1'), "outhash": hash('a'), "unihash": "x"});
    bad(
        "POST",
        "/v1/reports",
        report.clone(),
        422,
        "invalid-unihash",
    )
    .await;
    report.as_object_mut().unwrap().remove("unihash");
    bad("POST", "/v1/reports", report, 400, "bad-argument").await;
    bad("POST", "/v1/lookups", json!({}), 400, "malformed-json").await;
    bad(
        "PUT",
        "/v1/users/eve/permissions",
        json!({"permissions": ["@all"]}),
        401,
        "login-needed",
    )
    .await;
    bad(
        "PUT",
        "/v1/users/eve/permissions",
        json!({"username": "bob", "permissions": []}),
        401,
        "login-needed",
    )
    .await;
    for (kind, body, status, code) in [
        ("text/plain", "{}", 415, "media-type"),
        ("application/json", "{\"a\": ", 400, "malformed-json"),
        ("application/json", "\u{0}", 400, "malformed-json"),
        (
            "application/json",
            &"[".repeat(100_000),
            400,
            "bad-argument",
        ),
    ] {
        let request = Request::post("/v1/reports").header(header::CONTENT_TYPE, kind);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        told(json.send(request).await)
            .await
            .is_problem(status, code);
    }
    let query = json
        .ask("GET", &format!("/v1/unihashes/{METHOD}/x?all=true"), None)
        .await;
    query.is_problem(400, "unknown-field");
    let count = json.ask("GET", "/v1/database/usage", None).await;
    assert_eq!(count.body["usage"]["outhashes_v2"]["rows"], 0);
}

/// Everything that is no report, and no question either.
#[tokio::test]
async fn whatever_comes_is_a_clear_refusal_that_is_counted() {
    let json = Json::new().await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let field = |name: &str, value: &str| {
        format!(
            "{{\"method\":\"m\",\"taskhash\":\"1\",\"outhash\":\"a\",\"unihash\":\"{}\",\"{name}\":{value}}}",
            hash('d')
        )
    };
    let mut refused = 0;
    let mut bodies: Vec<Vec<u8>> = vec![
        b"".into(),
        b"\xff\xfe".into(),
        b"{\"method\":\"\xc3\x28\"}".into(),
        b"{\"method\":\"\\ud800\"}".into(),
        b"null".into(),
        b"\"text\"".into(),
        b"{\"method\":\"m\"} {}".into(),
        b"{'method': 1}".into(),
        nested(100).into(),
        nested(1_000_000).into(),
        field("PN", &nested(100_000)).into(),
        field("x".repeat(100_000).as_str(), "1").into(),
    ];
    for value in [
        "1",
        "1e999",
        "-0",
        "true",
        "null",
        "[]",
        "{}",
        &"9".repeat(100_000),
    ] {
        bodies.push(field("PN", value).into());
    }
    for body in bodies {
        for path in [
            "/v1/reports",
            "/v1/reports/batch",
            "/v1/lookups",
            "/v1/existence",
        ] {
            // Of a batch it is one in the middle.
            let is_batch = path != "/v1/reports";
            let whole = match is_batch {
                true => [b"[", &body[..], b"]"].concat(),
                false => body.clone(),
            };
            if is_batch && body.is_empty() {
                continue;
            }
            let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
            let told = told(json.send(request.body(whole.into()).unwrap()).await).await;
            assert!(
                told.status.is_client_error(),
                "{} {}",
                told.status,
                told.body
            );
            let code = told.body["code"].as_str().unwrap();
            let known = ["malformed-json", "bad-argument", "unknown-field"];
            assert!(known.contains(&code), "{code}");
            assert!(told.body.to_string().len() < 1000);
            refused += 1;
        }
    }
    let counted: u64 = json
        .metrics()
        .lines()
        .filter(|line| line.contains("http_requests_total{") && line.contains("\"4xx\""))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum();
    assert_eq!(counted, refused);
    let count = json.ask("GET", "/v1/database/usage", None).await;
    assert_eq!(count.body["usage"]["outhashes_v2"]["rows"], 0);
}

#[tokio::test]
async fn long_and_slow_bodies_hit_limits_that_are_named() {
    let options = JsonOptions {
        body_bytes_max: 1 << 16,
        items_max: 10,
        body_stall: Duration::from_millis(200),
        ..JsonOptions::default()
    };
    let json = Json::with(options).await;
    let check = async |body: Body, status: u16, code: &str, limit: &str| {
        let request = Request::post("/v1/lookups").header(header::CONTENT_TYPE, "application/json");
        let told = told(json.send(request.body(body).unwrap()).await).await;
        told.is_problem(status, code);
        assert_eq!(told.body["limit"]["name"], limit);
        let none = format!("http_over_limit_total{{limit=\"{limit}\"}} 0\n");
        assert!(!json.metrics().contains(&none), "{none}");
    };
    let long = " ".repeat((1 << 16) + 1);
    check(long.clone().into(), 413, "body-too-long", "body_bytes").await;
    // Without saying so beforehand.
    let (pieces, coming) = mpsc::channel(1);
    let sending = tokio::spawn(async move {
        let piece = Bytes::from(vec![b' '; 8192]);
        while pieces.send(piece.clone()).await.is_ok() {}
    });
    let endless = super::many::body(coming);
    check(endless, 413, "body-too-long", "body_bytes").await;
    sending.await.unwrap();
    let many = json!(vec![json!({"method": "m", "taskhash": "1"}); 11]);
    check(many.to_string().into(), 413, "too-many-items", "items").await;
    let (_held, never) = mpsc::channel(1);
    let slow = super::many::body(never);
    check(slow, 408, "body-too-slow", "body_stall_seconds").await;
}
