//! Methods, headers and the URL space.

use axum::http::{HeaderName, Method, Request, header};
use fingerpost_hg_proto::FRAMING_MEDIA_TYPE;

use super::SAMPLE;
use crate::client::{API, Answered, ask, body, post};
use crate::world::World;

const ACCEPT: &str = "client MUST specify Accept header with value: \
                      application/mercurial-exp-framing-0006\n";
const CONTENT_TYPE: &str = "client MUST send Content-Type header with value: \
                            application/mercurial-exp-framing-0006\n";

fn heads() -> Vec<u8> {
    body(&[("heads", Vec::new())])
}

#[track_caller]
fn check(answered: &Answered, status: u16, reason: &str, text: &str) {
    let found = (answered.status, answered.reason.as_str(), answered.text());
    assert_eq!(found, (status, reason, text.to_owned()));
}

#[tokio::test]
async fn each_path_that_asks_for_nothing_has_its_answer() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let list = "APIs can be accessed at /api/<name>, where <name> can be one of the following:\n\n\
                exp-http-v2-0003";
    for (path, status, reason, text) in [
        ("/api", 200, "OK", list.to_owned()),
        ("/api/", 200, "OK", list.to_owned()),
        (
            "/api/x",
            404,
            "Not Found",
            "Unknown API: x\nKnown APIs: exp-http-v2-0003".into(),
        ),
        (
            "/api/%20",
            404,
            "Not Found",
            "Unknown API:  \nKnown APIs: exp-http-v2-0003".into(),
        ),
        (API, 200, "OK", "HTTP version 2 API handler".into()),
        (
            &format!("{API}/"),
            200,
            "OK",
            "HTTP version 2 API handler".into(),
        ),
        (
            &format!("{API}/ro"),
            404,
            "Not Found",
            "do not know how to process api/exp-http-v2-0003/ro\n".into(),
        ),
        (
            &format!("{API}/RO/heads"),
            404,
            "Not Found",
            "unknown permission: RO".into(),
        ),
        (
            &format!("{API}/r%6f/nope"),
            404,
            "Not Found",
            "unknown wire protocol command: nope\n".into(),
        ),
        (
            &format!("{API}/ro/"),
            404,
            "Not Found",
            "unknown wire protocol command: \n".into(),
        ),
        (
            &format!("{API}/ro/Heads"),
            404,
            "Not Found",
            "unknown wire protocol command: Heads\n".into(),
        ),
        (
            &format!("{API}/ro/heads%00"),
            404,
            "Not Found",
            "there is nothing here\n".into(),
        ),
        (
            &format!("{API}/ro/debugreflect"),
            404,
            "Not Found",
            "debugreflect service not available".into(),
        ),
        (
            &format!("{API}/ro/pushkey"),
            403,
            "Forbidden",
            "insufficient permissions to execute command: pushkey".into(),
        ),
    ] {
        let answered = ask(&door, post(path, heads())).await;
        check(&answered, status, reason, &text);
        assert_eq!(answered.media_type(), Some("text/plain"), "{path}");
    }
}

#[tokio::test]
async fn commands_take_post_alone() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    for method in [
        "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW",
    ] {
        for command in ["heads", "nope", "multirequest"] {
            let mut request = post(&format!("{API}/ro/{command}"), heads());
            *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
            let answered = ask(&door, request).await;
            let text = match method {
                "HEAD" => "",
                _ => "commands require POST requests",
            };
            check(&answered, 405, "Method Not Allowed", text);
            assert_eq!(answered.headers[header::ALLOW], "POST");
            assert_eq!(answered.media_type(), None);
        }
    }
}

#[tokio::test]
async fn other_methods_change_nothing_about_pages() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    for path in ["/", "/api", API, "/api/x"] {
        let of_get = ask(&door, Request::get(path).body(Vec::new()).unwrap()).await;
        for method in ["HEAD", "POST", "OPTIONS", "DELETE"] {
            let request = Request::builder().method(method).uri(path);
            let answered = ask(&door, request.body(Vec::new()).unwrap()).await;
            let text = match method {
                "HEAD" => String::new(),
                _ => of_get.text(),
            };
            check(&answered, of_get.status, &of_get.reason, &text);
        }
    }
}

/// A request for heads with these values of `name` instead of the right one.
fn with(name: &HeaderName, values: &[&str]) -> Request<Vec<u8>> {
    let mut request = post(&format!("{API}/ro/heads"), heads());
    request.headers_mut().remove(name);
    for value in values {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn both_media_types_are_exact_and_come_once() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let upper = FRAMING_MEDIA_TYPE.to_uppercase();
    let with_more = format!("{FRAMING_MEDIA_TYPE};q=1");
    let list = format!("{FRAMING_MEDIA_TYPE}, */*");
    let wrong: [&[&str]; 8] = [
        &[],
        &[""],
        &["*/*"],
        &["application/mercurial-exp-framing-0005"],
        &[&upper],
        &[&with_more],
        &[&list],
        &[FRAMING_MEDIA_TYPE, FRAMING_MEDIA_TYPE],
    ];
    for values in wrong {
        let answered = ask(&door, with(&header::ACCEPT, values)).await;
        check(&answered, 406, "Not Acceptable", ACCEPT);
        let answered = ask(&door, with(&header::CONTENT_TYPE, values)).await;
        check(&answered, 415, "Unsupported Media Type", CONTENT_TYPE);
    }
    assert!(
        ask(&door, with(&header::ACCEPT, &[FRAMING_MEDIA_TYPE]))
            .await
            .is_frames()
    );
}

#[tokio::test]
async fn the_first_thing_that_is_wrong_is_told() {
    let world = World::recorded("sample-dothg", "[web]\nallow-pull = no\n");
    let door = world.door();
    let path = |permission: &str, command: &str| format!("{API}/{permission}/{command}");
    let bare = |method: &str, path: String| {
        let request = Request::builder().method(method).uri(path);
        request.body(Vec::new()).unwrap()
    };
    for (request, status) in [
        (bare("GET", path("xx", "nope")), 404),
        (bare("GET", path("ro", "nope")), 405),
        (bare("POST", path("ro", "nope")), 401),
        (bare("POST", path("rw", "nope")), 403),
    ] {
        assert_eq!(ask(&door, request).await.status, status);
    }
    std::fs::write(world.root().join(".hg/hgrc"), "[web]\nallow-push = *\n").unwrap();
    for (request, status) in [
        (bare("POST", path("rw", "nope")), 403),
        (bare("POST", path("ro", "nope")), 404),
        (bare("POST", path("ro", "heads")), 406),
        (with(&header::CONTENT_TYPE, &[]), 415),
        (post(&path("ro", "heads"), Vec::new()), 500),
    ] {
        assert_eq!(ask(&door, request).await.status, status);
    }
    let answered = ask(&door, bare("POST", path("rw", "heads"))).await;
    check(&answered, 403, "ssl required", "permission denied");
}

#[tokio::test]
async fn a_websocket_is_not_upgraded_to() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    for path in ["/", "/?cmd=capabilities", &format!("{API}/ro/heads")] {
        let request = Request::get(path)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .body(Vec::new())
            .unwrap();
        let answered = ask(&door, request).await;
        assert_ne!(answered.status, 101);
        assert!(!answered.headers.contains_key(header::SEC_WEBSOCKET_ACCEPT));
    }
}

#[tokio::test]
async fn handshakes_of_any_form_get_the_sentence_or_the_descriptor() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let many = "exp-http-v2-0003 ".repeat(500);
    for (upgrade, proto, wants) in [
        ("exp-http-v2-0003", "cbor", true),
        ("other exp-http-v2-0003", "0.1 cbor comp=zstd", true),
        (many.as_str(), "cbor", true),
        ("exp-http-v2-0003", "CBOR", false),
        ("exp-http-v2-0003", "", false),
        ("", "cbor", false),
        ("exp-http-v2-0004", "cbor", false),
        ("\t \t", "cbor", false),
    ] {
        let request = Request::get("/?cmd=capabilities")
            .header("x-hgupgrade-1", upgrade)
            .header("x-hgproto-1", proto)
            .body(Vec::new())
            .unwrap();
        let media_type = match wants {
            true => "application/mercurial-cbor",
            false => "application/hg-error",
        };
        let answered = ask(&door, request).await;
        assert_eq!(
            (answered.status, answered.media_type()),
            (200, Some(media_type))
        );
    }
}
