//! What is wrong with requests.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use super::{Json, METHOD, hash, told};

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
        400,
        "unknown-field",
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
            "malformed-json",
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
