//! Many questions and reports in one request.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode, header};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Json, METHOD, hash};
use crate::world::PATIENCE;

fn lines_to(path: &str, body: Body) -> Request<Body> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-ndjson");
    request.body(body).unwrap()
}

/// Sends these lines; what came back, line by line.
pub(super) async fn lines(json: &Json, path: &str, lines: &[Value]) -> Vec<Value> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let response = json.send(lines_to(path, text.into())).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = to_bytes(response.into_body(), 64 << 20).await.unwrap();
    let answers = bytes.split(|byte| *byte == b'\n');
    answers
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn report(task: usize, outhash: char, unihash: char) -> Value {
    json!({
        "method": METHOD, "taskhash": format!("{task:064x}"), "outhash": hash(outhash),
        "unihash": hash(unihash), "PN": "zlib", "outhash_siginfo": "a listing",
    })
}

#[tokio::test]
async fn existence_is_told_as_an_array_and_line_by_line() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let asked: Vec<_> = ['d', 'e']
        .into_iter()
        .cycle()
        .take(20_000)
        .map(|digit| json!({"unihash": hash(digit)}))
        .collect();
    let check = |answers: &[Value]| {
        assert_eq!(answers.len(), asked.len());
        for (answer, digit) in answers.iter().zip(['d', 'e'].into_iter().cycle()) {
            let wanted = json!({"unihash": hash(digit), "exists": digit == 'd'});
            assert_eq!(*answer, wanted);
        }
    };
    check(&lines(&json, "/v1/existence", &asked).await);
    let told = json.ask("POST", "/v1/existence", Some(&json!(asked))).await;
    check(told.body.as_array().unwrap());
}

#[tokio::test]
async fn many_reports_are_answered_in_order_and_a_repeat_changes_nothing() {
    let json = Json::new().await;
    json.report('f', 'a', 'd').await;
    let reports: Vec<_> = (1..=300).map(|task| report(task, 'a', 'e')).collect();
    for key in ["a", "a", "b"] {
        let request = Request::post("/v1/reports/batch")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(json!(reports).to_string().into())
            .unwrap();
        let told = super::told(json.send(request).await).await;
        let by_lines = lines(&json, "/v1/reports/batch", &reports).await;
        assert_eq!(told.body, json!(by_lines));
        assert_eq!(by_lines.len(), reports.len());
        for (answer, report) in by_lines.iter().zip(&reports) {
            assert_eq!(answer["taskhash"], report["taskhash"]);
            assert_eq!(answer["unihash"], hash('d'));
        }
        let usage = json.ask("GET", "/v1/database/usage", None).await.body;
        assert_eq!(usage["usage"]["outhashes_v2"]["rows"], 301);
        assert_eq!(usage["usage"]["unihashes_v3"]["rows"], 301);
    }
}

#[tokio::test]
async fn of_an_array_with_a_bad_report_nothing_is_stored() {
    let json = Json::new().await;
    let check = async |bad: Value, status: u16, code: &str| {
        let reports = json!([report(1, 'a', 'd'), bad]);
        let told = json.ask("POST", "/v1/reports/batch", Some(&reports)).await;
        told.is_problem(status, code);
        let detail = told.body["detail"].as_str().unwrap();
        assert!(detail.starts_with("item 2: "), "{detail}");
        let usage = json.ask("GET", "/v1/database/usage", None).await.body;
        assert_eq!(usage["usage"]["outhashes_v2"]["rows"], 0);
    };
    check(json!({"method": METHOD}), 400, "bad-argument").await;
    check(json!(1), 400, "bad-argument").await;
    check(json!({"nonsense": ""}), 400, "unknown-field").await;
    let mut invalid = report(2, 'a', 'd');
    invalid["unihash"] = json!("x");
    check(invalid, 422, "invalid-unihash").await;
}

#[tokio::test]
async fn lines_before_a_bad_one_are_answered() {
    let json = Json::new().await;
    let asked = [report(1, 'a', 'd'), json!({}), report(2, 'a', 'd')];
    let answers = lines(&json, "/v1/reports/batch", &asked).await;
    assert_eq!(answers[0]["unihash"], hash('d'));
    assert_eq!(answers[1]["error"]["code"], "bad-argument");
    assert_eq!(answers[1]["error"]["detail"], "line 2: method is missing");
    assert_eq!(answers.len(), 2);
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
pub(super) fn body(lines: mpsc::Receiver<Bytes>) -> Body {
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
    let response = json.send(lines_to("/v1/lookups", body(sent))).await;
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
    let response = json.send(lines_to("/v1/lookups", body(sent))).await;
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
