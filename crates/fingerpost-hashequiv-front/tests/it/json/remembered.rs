//! Look-ups of one task that memory knows.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use fingerpost_hashequiv_front::{JsonDoor, JsonOptions};
use fingerpost_net::{
    Admission, AdmissionOptions, Guards, PeerAddress, Rates, ShortRequest, Shortcut as _,
};
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::{Json, METHOD, hash};
use crate::world::{PATIENCE, peer};

/// Limits that are never reached have each request looked at, and so every command
/// called.
#[tokio::test]
async fn what_memory_answers_is_what_the_command_answers() {
    let Json { world, router, .. } = Json::new().await;
    let rates = Rates {
        per_address: 1_000_000,
        per_user: 0,
    };
    let options = AdmissionOptions {
        cheap: rates,
        ..AdmissionOptions::default()
    };
    let guards = Guards {
        admission: Arc::new(Admission::new(options)),
        ..Guards::default()
    };
    let calling = JsonDoor::guarded(Arc::clone(&world.service), JsonOptions::default(), guards);
    let calling = calling.router();
    let ask = async |router: &Router, path: &str| {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(peer(PeerAddress::Unnamed));
        let answer = router.clone().oneshot(request).await.unwrap();
        let (status, mut headers, body) = whole(answer).await;
        headers.remove("x-request-id");
        (status, headers, body)
    };
    for method in ["a.method", "quo\"ted", "back\\slash", "\u{e4}", "\u{7f}"] {
        let report = json!({
            "method": method, "taskhash": hash('1'), "outhash": hash('2'), "unihash": hash('3'),
        });
        let report = Request::post("/v1/reports")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(peer(PeerAddress::Unnamed))
            .body(Body::from(report.to_string()))
            .unwrap();
        let reported = router.clone().oneshot(report).await.unwrap();
        assert_eq!(reported.status(), StatusCode::OK, "{method}");
        let method: String = method.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/v1/unihashes/{method}/{}", hash('1'));
        let hits = || world.service.metrics().cache_hits.get();
        // Memory is not asked while it might be stale.
        let answers = async {
            loop {
                let before = hits();
                let (remembered, called) = (ask(&router, &path).await, ask(&calling, &path).await);
                assert_eq!(remembered, called, "{path}");
                if hits() == before + 2 {
                    return remembered;
                }
            }
        };
        let (status, ..) = timeout(PATIENCE, answers)
            .await
            .expect("remembered in time");
        assert_eq!(status, StatusCode::OK);
        let unknown = format!("/v1/unihashes/{method}/{}", hash('4'));
        assert_eq!(ask(&router, &unknown).await.0, StatusCode::NOT_FOUND);
    }
}

/// Nobody can tell by an answer which way it took.
#[tokio::test]
async fn the_shortcut_answers_as_the_router_does() {
    let json = Json::new().await;
    assert_eq!(json.report('1', '2', '3').await.status, StatusCode::OK);
    let door = JsonDoor::new(json.world.placement.clone(), JsonOptions::default());
    let here = peer(PeerAddress::Unnamed);
    let short = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, _) = request.body(()).unwrap().into_parts();
        assert!(door.takes_path(parts.uri.path()), "{path}");
        let answer = door.answer(&ShortRequest {
            uri: &parts.uri,
            headers: &parts.headers,
            peer: &here,
            forwarded_host: None,
        });
        match answer {
            Some(answer) => Some(whole(answer).await),
            None => None,
        }
    };
    let routed = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        whole(json.send(request.body(Body::empty()).unwrap()).await).await
    };
    let path = format!("/v1/unihashes/{METHOD}/{}", hash('1'));
    let named = ("x-request-id", "one");
    // Memory is not asked while it might be stale.
    let known = async {
        loop {
            if let Some(known) = short(&path, &[named]).await {
                return known;
            }
            routed(&path, &[named]).await;
        }
    };
    let known = timeout(PATIENCE, known).await.expect("known in time");
    assert_eq!(known, routed(&path, &[named]).await);
    assert_eq!(known.1["x-request-id"], "one");
    assert!(known.1.contains_key("fingerpost-deletion-epoch"));
    let tag = known.1[header::ETAG].to_str().unwrap();
    for tag in [tag, "\"another\""] {
        let headers = [named, ("if-none-match", tag)];
        let wanted = routed(&path, &headers).await;
        assert_eq!(short(&path, &headers).await, Some(wanted), "{tag}");
    }
    // An answer has a name, if the request has none.
    let (_, headers, _) = short(&path, &[]).await.unwrap();
    assert!(!headers["x-request-id"].is_empty());
    let unknown = format!("/v1/unihashes/{METHOD}/{}", hash('4'));
    let (query, escaped) = (format!("{path}?fields=unihash"), path.replace('.', "%2e"));
    let (longer, shorter) = (format!("{path}/signed"), &path[..path.len() - 1]);
    for other in [&*unknown, &*query, &*escaped, &*longer, shorter] {
        assert_eq!(short(other, &[]).await, None, "{other}");
    }
    assert_eq!(short(&path, &[("authorization", "Basic eDp5")]).await, None);
}

/// An answer with its body.
async fn whole(answer: Response<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let (mut parts, body) = answer.into_parts();
    // Who sends it adds the length, if it is not there yet.
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, body)
}
