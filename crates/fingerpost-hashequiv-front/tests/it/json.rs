//! The JSON door, asked as a router.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use fingerpost_hashequiv_front::{JsonDoor, JsonOptions};
use fingerpost_net::PeerAddress;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::world::{PATIENCE, World, peer};

const METHOD: &str = "a.method";

fn hash(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A door with verbs.
struct Json {
    router: Router,
    _world: World,
}

struct Told {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Value,
}

impl Json {
    async fn new() -> Self {
        let world = World::new().await;
        let service = std::sync::Arc::clone(&world.service);
        let router = JsonDoor::new(service, JsonOptions::default()).router();
        Self {
            router,
            _world: world,
        }
    }

    async fn send(&self, mut request: Request<Body>) -> Response<Body> {
        let here = peer(PeerAddress::Unnamed);
        request.extensions_mut().insert(here);
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn ask(&self, verb: &str, path: &str, body: Option<&Value>) -> Told {
        let mut request = Request::builder().method(verb).uri(path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        told(self.send(request.body(body.into()).unwrap()).await).await
    }

    async fn report(&self, taskhash: char, outhash: char, unihash: char) -> Told {
        let report = json!({
            "method": METHOD, "taskhash": hash(taskhash), "outhash": hash(outhash),
            "unihash": hash(unihash), "PN": "zlib", "outhash_siginfo": "a listing",
        });
        self.ask("POST", "/v1/reports", Some(&report)).await
    }
}

async fn told(response: Response<Body>) -> Told {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    Told {
        status: parts.status,
        headers: parts.headers,
        body: match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).unwrap(),
        },
    }
}

impl Told {
    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), &self.body["code"]),
            (status, &json!(code)),
            "{}",
            self.body
        );
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(self.body["status"], status);
        let request_id = self.headers["x-request-id"].to_str().unwrap();
        assert_eq!(self.body["request_id"], request_id);
    }
}

#[tokio::test]
async fn a_report_is_found_by_task_and_by_output() {
    let json = Json::new().await;
    let first = json.report('1', 'a', 'd').await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.body["unihash"], hash('d'));
    // An equal output has the same unihash, and a repeat changes nothing.
    for _ in 0..2 {
        assert_eq!(json.report('2', 'a', 'e').await.body["unihash"], hash('d'));
    }
    let path = format!("/v1/unihashes/{METHOD}/{}", hash('2'));
    let found = json.ask("GET", &path, None).await;
    assert_eq!(
        found.body,
        json!({"method": METHOD, "taskhash": hash('2'), "unihash": hash('d')})
    );
    let output = json
        .ask(
            "GET",
            &format!("/v1/outhashes/{METHOD}/{}", hash('a')),
            None,
        )
        .await;
    assert_eq!(output.body["taskhash"], hash('1'));
    assert_eq!(output.body["outhash_siginfo"], "a listing");
    let of_task = json
        .ask("GET", &format!("/v1/outputs/{METHOD}/{}", hash('2')), None)
        .await;
    assert_eq!(of_task.body["outhash"], hash('a'));
}

#[tokio::test]
async fn what_is_not_there_is_a_404_that_nobody_remembers() {
    let json = Json::new().await;
    for (path, code) in [
        (
            format!("/v1/unihashes/{METHOD}/{}", hash('9')),
            "unknown-task",
        ),
        (
            format!("/v1/outhashes/{METHOD}/{}", hash('9')),
            "unknown-output",
        ),
    ] {
        let told = json.ask("GET", &path, None).await;
        told.is_problem(404, code);
        assert_eq!(told.headers[header::CACHE_CONTROL], "no-store");
    }
    json.ask("GET", "/v1/nothing", None)
        .await
        .is_problem(404, "no-such-path");
    let wrong = json.ask("DELETE", "/v1/ping", None).await;
    wrong.is_problem(405, "method");
    assert_eq!(wrong.headers[header::ALLOW], "GET,HEAD");
}

#[tokio::test]
async fn a_found_unihash_may_be_remembered_for_a_minute() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let path = format!("/v1/unihashes/{METHOD}/{}", hash('1'));
    let found = json.ask("GET", &path, None).await;
    assert_eq!(found.headers[header::CACHE_CONTROL], "public, max-age=60");
    assert_eq!(found.headers[header::VARY], "authorization");
    let tag = found.headers[header::ETAG].clone();
    let again = Request::get(&path).header(header::IF_NONE_MATCH, &tag);
    let again = told(json.send(again.body(Body::empty()).unwrap()).await).await;
    assert_eq!(
        (again.status, again.body),
        (StatusCode::NOT_MODIFIED, Value::Null)
    );
    assert_eq!(again.headers[header::ETAG], tag);
    let head = Request::head(&path).body(Body::empty()).unwrap();
    let head = told(json.send(head).await).await;
    assert_eq!((head.status, head.body), (StatusCode::OK, Value::Null));
    assert_eq!(head.headers[header::ETAG], tag);
}

#[tokio::test]
async fn bad_input_is_named_and_stores_nothing() {
    let json = Json::new().await;
    let bad = async |verb: &str, path: &str, body: Value, status: u16, code: &str| {
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

#[tokio::test]
async fn a_wrong_login_is_not_taken_for_nobody() {
    let json = Json::new().await;
    for login in ["Basic YTpi", "Basic ???", "Bearer x"] {
        let request = Request::get("/v1/ping").header(header::AUTHORIZATION, login);
        let told = told(json.send(request.body(Body::empty()).unwrap()).await).await;
        told.is_problem(401, "wrong-login");
        assert!(told.headers.contains_key(header::WWW_AUTHENTICATE));
    }
}

#[tokio::test]
async fn many_look_ups_are_answered_in_order() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    json.report('2', 'b', 'e').await;
    let task = |digit| json!({"method": METHOD, "taskhash": hash(digit)});
    for _ in 0..2 {
        let asked = json!([task('2'), task('9'), task('1')]);
        let found = json.ask("POST", "/v1/lookups", Some(&asked)).await;
        let unihashes: Vec<_> = found
            .body
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["unihash"].clone())
            .collect();
        assert_eq!(unihashes, [json!(hash('e')), Value::Null, json!(hash('d'))]);
    }
    let empty = json.ask("POST", "/v1/lookups", Some(&json!([]))).await;
    assert_eq!(empty.body, json!([]));
}

/// A body that is sent as the test likes.
fn body(lines: mpsc::Receiver<Bytes>) -> Body {
    Body::from_stream(futures_util::stream::unfold(lines, async |mut lines| {
        let line = lines.recv().await?;
        Some((Ok::<_, std::io::Error>(line), lines))
    }))
}

#[tokio::test]
async fn lines_are_answered_before_the_last_is_asked() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let (lines, sent) = mpsc::channel(4);
    let request = Request::post("/v1/lookups").header(header::CONTENT_TYPE, "application/x-ndjson");
    let response = json.send(request.body(body(sent)).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut answers = response.into_body().into_data_stream();
    let line = format!(
        "{{\"method\":\"{METHOD}\",\"taskhash\":\"{}\"}}\n",
        hash('1')
    );
    for _ in 0..3 {
        // In two parts, as it may come.
        let (begin, end) = line.split_at(20);
        lines.send(begin.to_owned().into()).await.unwrap();
        lines.send(end.to_owned().into()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, answers.next())
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.unwrap().unwrap()).unwrap();
        assert_eq!(answer["unihash"], hash('d'));
    }
    lines.send("not json\n".into()).await.unwrap();
    let answer = answers.next().await.unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["error"]["code"], "malformed-json");
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
    let json = Json::new().await;
    let (lines, sent) = mpsc::channel(1);
    let request = Request::post("/v1/lookups").header(header::CONTENT_TYPE, "application/x-ndjson");
    let response = json.send(request.body(body(sent)).unwrap()).await;
    let sending = tokio::spawn(async move {
        let mut taken = 0;
        while lines.send(Bytes::from_static(&[b'x'; 4096])).await.is_ok() {
            taken += 1;
        }
        taken
    });
    let all = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let answer: Value = serde_json::from_slice(&all).unwrap();
    assert_eq!(answer["error"]["code"], "line-too-long");
    assert!(sending.await.unwrap() < 10);
}
