//! The header by which clients notice that something was deleted.

use axum::body::Body;
use axum::http::{Request, header};
use fingerpost_core::{Permission, PermissionSet};
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv_front::JsonOptions;
use serde_json::json;

use super::{Json, METHOD, hash, told};
use crate::namespaces::world;
use crate::world::World;

const HEADER: &str = "fingerpost-deletion-epoch";

impl Json {
    /// What the answer to a request says of deletions: history and number.
    async fn epoch_of(&self, request: Request<Body>) -> Option<(String, u64)> {
        let answer = self.send(request).await;
        let text = answer.headers().get(HEADER)?.to_str().unwrap();
        let (history, number) = text.split_once('/').unwrap();
        assert_eq!(history.len(), 32, "{text}");
        assert!(
            history
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        );
        Some((history.to_owned(), number.parse().unwrap()))
    }

    /// As a look-up in a namespace says it.
    async fn epoch(&self, prefix: &str) -> (String, u64) {
        let path = format!("{prefix}/v1/unihashes/{METHOD}/{}", hash('1'));
        let epoch = self.epoch_of(Request::get(path).body(Body::empty()).unwrap());
        epoch.await.unwrap()
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post(path: &str, kind: &str, body: String) -> Request<Body> {
    let request = Request::post(path).header(header::CONTENT_TYPE, kind);
    request.body(body.into()).unwrap()
}

/// Known and unknown, one and many, read and written.
#[tokio::test]
async fn whatever_depends_on_deletions_tells_the_epoch() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let epoch = json.epoch("").await;
    assert_eq!(epoch.1, 0);
    let (known, unknown) = (hash('1'), hash('9'));
    for path in [
        format!("/v1/unihashes/{METHOD}/{known}"),
        format!("/v1/unihashes/{METHOD}/{known}?fields=unihash"),
        format!("/v1/unihashes/{METHOD}/{unknown}"),
        format!("/v1/unihashes/{METHOD}/{known}/signed"),
        format!("/v1/outputs/{METHOD}/{known}"),
        format!("/v1/outhashes/{METHOD}/{}", hash('a')),
        format!("/v1/outhashes/{METHOD}/{}/rows", hash('a')),
        format!("/v1/tasks/{METHOD}/{known}/outputs"),
        format!("/v1/siginfos/{METHOD}/{known}/{}", hash('a')),
        "/v1/changes?since=0".to_owned(),
        "/v1/changes?since=99".to_owned(),
        "/v1/snapshots".to_owned(),
        "/v1/snapshots/latest".to_owned(),
    ] {
        assert_eq!(
            json.epoch_of(get(&path)).await.as_ref(),
            Some(&epoch),
            "{path}"
        );
    }
    let task = json!({"method": METHOD, "taskhash": known});
    let output = json!({"outhash": hash('a'), "unihash": hash('d')});
    let report = json!({
        "method": METHOD, "taskhash": known, "outhash": output["outhash"],
        "unihash": output["unihash"],
    });
    let equivalence = json!({"method": METHOD, "taskhash": known, "unihash": hash('d')});
    let unihash = json!({"unihash": hash('d')});
    for (path, body) in [
        ("/v1/reports", report.clone()),
        ("/v1/reports/signed", report.clone()),
        ("/v1/equivalences", equivalence),
        ("/v1/lookups", json!([task])),
        ("/v1/lookups/signed", json!([task])),
        ("/v1/existence", json!([unihash])),
        ("/v1/reports/batch", json!([report])),
        ("/v1/reports/signed/batch", json!([report])),
    ] {
        let request = post(path, "application/json", body.to_string());
        assert_eq!(
            json.epoch_of(request).await.as_ref(),
            Some(&epoch),
            "{path}"
        );
    }
    for (path, line) in [("/v1/lookups", task), ("/v1/existence", unihash)] {
        let request = post(path, "application/x-ndjson", format!("{line}\n"));
        assert_eq!(
            json.epoch_of(request).await.as_ref(),
            Some(&epoch),
            "{path}"
        );
    }
    for path in ["/v1/ping", "/v1/users", "/v1/nothing", "/openapi.json"] {
        assert_eq!(json.epoch_of(get(path)).await, None, "{path}");
    }
}

#[tokio::test]
async fn a_removal_moves_the_epoch_of_all_who_could_have_found_it() {
    let json = Json::to(world().await, JsonOptions::default());
    json.report('1', 'a', 'd').await;
    let before = json.epoch("").await;
    let (release, lab) = (json.epoch("/ns/release").await, json.epoch("/ns/lab").await);
    // A report, and a removal that finds nothing, move nothing.
    json.report('2', 'a', 'd').await;
    json.remove('7').await;
    assert_eq!(json.epoch("").await, before);
    json.remove('1').await;
    let now = json.epoch("").await;
    assert!(now.1 > before.1 && now.0 == before.0, "{before:?} {now:?}");
    assert!(
        json.epoch("/ns/release").await.1 > release.1,
        "it falls back"
    );
    assert_eq!(json.epoch("/ns/lab").await, lab);
    let header = |epoch: &(String, u64)| format!("{}/{}", epoch.0, epoch.1);
    assert_ne!(header(&before), header(&now));
}

#[tokio::test]
async fn who_may_not_read_is_not_told() {
    let config = Config {
        anonymous: PermissionSet::of(&[Permission::Report]),
        ..Config::default()
    };
    let world = World::with_anonymous_as_configured(config).await;
    let json = Json::to(world, JsonOptions::default());
    for path in [
        &*format!("/v1/unihashes/{METHOD}/{}", hash('1')),
        "/v1/changes?since=0",
    ] {
        let told = told(json.send(get(path)).await).await;
        assert_eq!(told.status, 401);
        assert!(!told.headers.contains_key(HEADER));
    }
    let lookups = post("/v1/lookups", "application/json", "[]".to_owned());
    assert_eq!(json.epoch_of(lookups).await, None);
}
