//! The JSON door, asked as a router.

mod buffers;
mod client;
mod coding;
mod epoch;
mod following;
mod input;
mod many;
mod namespaces;
mod remembered;
mod rows;
mod signed;
mod snapshots;
mod watching;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use fingerpost_hashequiv_front::{JsonDoor, JsonOptions};
use fingerpost_net::PeerAddress;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::world::{World, peer};

const METHOD: &str = "a.method";

fn hash(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A door with verbs.
struct Json {
    router: Router,
    registry: Registry,
    world: World,
}

struct Told {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Value,
}

impl Json {
    async fn new() -> Self {
        Self::with(JsonOptions::default()).await
    }

    async fn with(options: JsonOptions) -> Self {
        Self::to(World::new().await, options)
    }

    fn to(world: World, options: JsonOptions) -> Self {
        let door = JsonDoor::new(world.placement.clone(), options)
            .buffering_with(&world.door)
            .stopping_with(world.shutdown.clone());
        let mut registry = Registry::with_prefix("fingerpost");
        door.register_metrics(&mut registry);
        Self {
            router: door.router(),
            registry,
            world,
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

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
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
    let bytes = to_bytes(body, 64 << 20).await.unwrap();
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
async fn a_wrong_login_is_not_taken_for_nobody() {
    let json = Json::new().await;
    for login in ["Basic YTpi", "Basic ???", "Bearer x"] {
        let request = Request::get("/v1/ping").header(header::AUTHORIZATION, login);
        let told = told(json.send(request.body(Body::empty()).unwrap()).await).await;
        told.is_problem(401, "wrong-login");
        assert!(told.headers.contains_key(header::WWW_AUTHENTICATE));
    }
}
