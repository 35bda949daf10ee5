//! Look-ups of one task that memory knows.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use fingerpost_hashequiv_front::{JsonDoor, JsonOptions};
use fingerpost_net::{Admission, AdmissionOptions, Guards, PeerAddress, Rates};
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::{Json, hash};
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
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove("x-request-id");
        (
            parts.status,
            parts.headers,
            to_bytes(body, 1 << 20).await.unwrap(),
        )
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
