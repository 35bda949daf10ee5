//! What operators see: counters, progress, the page.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{Json, METHOD, hash, told};

#[tokio::test]
async fn requests_are_counted_by_command_method_outcome_and_namespace() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    json.ask("GET", &format!("/v1/unihashes/{METHOD}/x"), None)
        .await;
    json.ask("POST", "/v1/existence", Some(&json!([]))).await;
    json.ask("GET", "/v1/nothing", None).await;
    let lines = Request::post("/v1/lookups").header(header::CONTENT_TYPE, "application/x-ndjson");
    let lines = lines.body("x".repeat(1 << 20).into()).unwrap();
    told(json.send(lines).await).await;
    let text = json.metrics();
    for line in [
        r#"http_requests_total{command="report",method="POST",status="2xx",outcome="ok",namespace="default"} 1"#,
        r#"http_requests_total{command="get",method="GET",status="4xx",outcome="absent",namespace="default"} 1"#,
        r#"http_requests_total{command="exists-stream",method="POST",status="2xx",outcome="ok",namespace="default"} 1"#,
        r#"http_requests_total{command="none",method="GET",status="4xx",outcome="absent",namespace=""} 1"#,
        // It went wrong after the status was sent.
        r#"http_requests_total{command="get-stream",method="POST",status="4xx",outcome="limited",namespace="default"} 1"#,
        r#"http_over_limit_total{limit="line_bytes"} 1"#,
        r#"http_request_duration_seconds_count{command="report"} 1"#,
        "http_in_flight 0",
    ] {
        assert!(
            text.contains(&format!("fingerpost_hashequiv_{line}\n")),
            "{line} in {text}"
        );
    }
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_stream_ends() {
    let json = Json::new().await;
    let (lines, coming) = tokio::sync::mpsc::channel(1);
    let request = Request::post("/v1/lookups").header(header::CONTENT_TYPE, "application/x-ndjson");
    let response = json
        .send(request.body(super::many::body(coming)).unwrap())
        .await;
    assert!(json.metrics().contains("http_in_flight 1\n"));
    drop(lines);
    to_bytes(response.into_body(), 1 << 10).await.unwrap();
    assert!(json.metrics().contains("http_in_flight 0\n"));
}

#[tokio::test]
async fn a_sweep_says_how_far_it_is() {
    let json = Json::new().await;
    let reports: Vec<_> = (0..3000)
        .map(|task| {
            json!({
                "method": METHOD, "taskhash": format!("{task:064x}"), "outhash": hash('a'),
                "unihash": hash('d'),
            })
        })
        .collect();
    json.ask("POST", "/v1/reports/batch", Some(&json!(reports)))
        .await;
    let mark = json!({"mark": "m", "where": {"unihash": hash('f')}});
    json.ask("POST", "/v1/gc/marks", Some(&mark)).await;
    let idle = json.ask("GET", "/v1/gc", None).await.body;
    assert_eq!(
        idle,
        json!({"keep": 0, "mark": "m", "remove": 3000, "running": []})
    );
    let mark = json!({"mark": "m"});
    let mut sweeping = std::pin::pin!(json.ask("POST", "/v1/gc/sweeps", Some(&mark)));
    let mut seen = Vec::new();
    let swept = loop {
        let status = json.ask("GET", "/v1/gc?fields=running", None);
        tokio::select! {
            swept = &mut sweeping => break swept,
            status = status => seen.extend(status.body["running"].as_array().cloned().unwrap()),
        }
    };
    assert_eq!(swept.body["count"], 3000);
    let rows: Vec<_> = seen
        .iter()
        .map(|one: &Value| one["rows"].as_u64().unwrap())
        .collect();
    assert!(!rows.is_empty() && rows.is_sorted(), "{rows:?}");
    assert_eq!(
        (&seen[0]["job"], &seen[0]["count"]),
        (&json!("gc-sweep"), &json!(1))
    );
    // A batch may end between counting what is left and what went, or before it is told.
    for one in &seen {
        let total = one["total"].as_u64().unwrap();
        assert!((2800..=3200).contains(&total), "{one}");
    }
}

#[tokio::test]
async fn the_page_is_served_with_a_policy_that_allows_nothing_from_elsewhere() {
    let json = Json::new().await;
    for (path, kind) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/", "text/html; charset=utf-8"),
        ("/docs/style.css", "text/css"),
    ] {
        for verb in ["GET", "HEAD"] {
            let request = Request::builder().method(verb).uri(path);
            let response = json.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind);
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap();
            assert!(policy.starts_with("default-src 'self';"), "{policy}");
        }
    }
}
