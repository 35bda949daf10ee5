//! One namespace for each request: by its path, host, listener or user.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fingerpost_hashequiv_front::JsonOptions;
use serde_json::json;

use super::{Json, METHOD, hash, told};
use crate::namespaces::world;

async fn doors() -> Json {
    Json::to(world().await, JsonOptions::default())
}

impl Json {
    async fn report_in(&self, prefix: &str, task: char) {
        let body = json!({"method": METHOD, "taskhash": hash(task), "unihash": hash('a')});
        let path = format!("{prefix}/v1/equivalences");
        let told = self.ask("POST", &path, Some(&body)).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    }

    /// The tag of a task's unihash, if it is known by this way.
    async fn tag(&self, prefix: &str, task: char, headers: &[(&str, &str)]) -> Option<String> {
        let path = format!("{prefix}/v1/unihashes/{METHOD}/{}", hash(task));
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let told = told(self.send(request.body(Body::empty()).unwrap()).await).await;
        let tag = told.headers.get(header::ETAG);
        tag.map(|tag| tag.to_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn the_path_goes_before_the_host() {
    let json = doors().await;
    json.report_in("", '1').await;
    json.report_in("/ns/release", '2').await;
    let host = [("host", "release.EXAMPLE:8686")];
    let knows = async |prefix: &str, task, headers: &[(&str, &str)]| {
        json.tag(prefix, task, headers).await.is_some()
    };
    assert!(!knows("", '2', &[]).await && !knows("/ns/lab", '2', &[]).await);
    assert!(knows("/ns/release", '1', &[]).await && knows("/ns/release", '2', &[]).await);
    assert!(knows("", '2', &host).await && !knows("/ns/default", '2', &host).await);
    assert!(knows("", '2', &[("host", "release.example.")]).await);
    assert!(!knows("", '2', &[("host", "other.example")]).await);
}

#[tokio::test]
async fn a_user_works_where_they_are_placed() {
    let json = doors().await;
    json.report_in("", '1').await;
    let login = format!("Basic {}", STANDARD.encode("bot:botsecret"));
    let login = [("authorization", login.as_str())];
    assert!(json.tag("", '1', &login).await.is_none());
    assert!(json.tag("/ns/default", '1', &login).await.is_some());
}

#[tokio::test]
async fn a_tag_is_of_one_namespace_and_one_epoch() {
    let json = doors().await;
    json.report_in("", '1').await;
    json.report_in("", '2').await;
    let before = json.tag("", '1', &[]).await;
    assert_ne!(before, json.tag("/ns/release", '1', &[]).await);
    let other = json!({"where": {"taskhash": hash('2')}});
    json.ask("POST", "/v1/removals", Some(&other)).await;
    assert_ne!(before, json.tag("", '1', &[]).await);
}

#[tokio::test]
async fn the_list_of_snapshots_names_the_fallbacks() {
    let json = doors().await;
    for (prefix, fallbacks) in [
        ("", json!([])),
        ("/ns/release", json!(["default"])),
        ("/ns/lab", json!([])),
    ] {
        let list = json
            .ask("GET", &format!("{prefix}/v1/snapshots"), None)
            .await;
        let wanted = json!({"fallbacks": fallbacks, "snapshots": []});
        assert_eq!(list.body, wanted, "{prefix}");
    }
}

#[tokio::test]
async fn requests_are_counted_where_their_caller_works() {
    let json = doors().await;
    json.report_in("/ns/release", '1').await;
    json.tag("/ns/release", '1', &[]).await;
    let login = |secret: &str| format!("Basic {}", STANDARD.encode(format!("bot:{secret}")));
    // One works where users are placed, the other came no further than the door.
    json.tag("", '1', &[("authorization", &login("botsecret"))])
        .await;
    json.tag("", '1', &[("authorization", &login("wrong"))])
        .await;
    json.ask("GET", "/ns/nowhere/v1/ping", None).await;
    let text = json.metrics();
    for labels in [
        r#"command="report-equiv",method="POST",status="2xx",outcome="ok",namespace="release""#,
        r#"command="get",method="GET",status="2xx",outcome="ok",namespace="release""#,
        r#"command="get",method="GET",status="4xx",outcome="absent",namespace="lab""#,
        r#"command="get",method="GET",status="4xx",outcome="denied",namespace="default""#,
        r#"command="ping",method="GET",status="4xx",outcome="absent",namespace="""#,
    ] {
        let line = format!("http_requests_total{{{labels}}} 1\n");
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn an_unknown_namespace_is_a_problem() {
    let json = doors().await;
    for path in ["/ns/nowhere/v1/ping", "/ns/rel%65ase/v1/ping"] {
        let told = json.ask("GET", path, None).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND);
        assert_eq!(told.body["code"], "no-such-namespace", "{path}");
    }
}

#[tokio::test]
async fn many_are_asked_in_one_namespace() {
    let json = doors().await;
    json.report_in("/ns/release", '3').await;
    let body = json!([{"method": METHOD, "taskhash": hash('3')}]);
    let here = json
        .ask("POST", "/ns/release/v1/lookups", Some(&body))
        .await;
    assert_eq!(here.body[0]["unihash"], hash('a'));
    let there = json.ask("POST", "/v1/lookups", Some(&body)).await;
    assert!(there.body[0]["unihash"].is_null());
}

#[tokio::test]
async fn the_outputs_of_a_task_are_read_through_the_chain() {
    let json = doors().await;
    let report = async |prefix: &str, output: char| {
        let report = json!({
            "method": METHOD, "taskhash": hash('1'), "outhash": hash(output), "unihash": hash('d'),
        });
        let path = format!("{prefix}/v1/reports");
        let told = json.ask("POST", &path, Some(&report)).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    };
    report("", 'a').await;
    report("/ns/release", 'b').await;
    let read = async |prefix: &str| {
        let path = format!(
            "{prefix}/v1/tasks/{METHOD}/{}/outputs?fields=namespace,outhash",
            hash('1')
        );
        json.ask("GET", &path, None).await.body["rows"].clone()
    };
    let row = |namespace: &str, output| json!({"namespace": namespace, "outhash": hash(output)});
    assert_eq!(read("").await, json!([row("default", 'a')]));
    let both = json!([row("release", 'b'), row("default", 'a')]);
    assert_eq!(read("/ns/release").await, both);
    assert_eq!(read("/ns/lab").await, json!([]));
}
