//! Compression, both ways.

use std::io::{Read as _, Write as _};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode, header};
use fingerpost_hashequiv_front::JsonOptions;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::many::body;
use super::{Json, METHOD, hash, told};
use crate::world::PATIENCE;

const CODINGS: [&str; 2] = ["zstd", "gzip"];

fn compressed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        _ => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

fn decompressed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "zstd" => return zstd::decode_all(bytes).unwrap(),
        _ => flate2::read::GzDecoder::new(bytes)
            .read_to_end(&mut out)
            .unwrap(),
    };
    out
}

/// A request with a body that says it is compressed so.
fn sent(path: &str, kind: &str, coding: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CONTENT_ENCODING, coding);
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn bodies_come_compressed_and_answers_go_so_if_asked() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let asked = vec![json!({"method": METHOD, "taskhash": hash('1')}); 5000];
    let plain = json
        .ask("POST", "/v1/lookups", Some(&json!(asked)))
        .await
        .body;
    for coding in CODINGS {
        let body = compressed(coding, json!(asked).to_string().as_bytes());
        let mut request = sent("/v1/lookups", "application/json", coding, body);
        let wish = coding.parse().unwrap();
        request.headers_mut().insert(header::ACCEPT_ENCODING, wish);
        let response = json.send(request).await;
        assert_eq!(response.headers()[header::CONTENT_ENCODING], coding);
        assert_eq!(response.headers()[header::VARY], "accept-encoding");
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert!(bytes.len() < 50_000, "{}", bytes.len());
        let answer: Value = serde_json::from_slice(&decompressed(coding, &bytes)).unwrap();
        assert_eq!(answer, plain);
    }
    let ping = Request::get("/v1/ping").header(header::ACCEPT_ENCODING, "zstd");
    let short = json.send(ping.body(Body::empty()).unwrap()).await;
    assert!(!short.headers().contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn the_tag_of_a_compressed_answer_is_weak_and_still_known() {
    let json = Json::new().await;
    let report = json!({
        "method": METHOD, "taskhash": hash('1'), "outhash": hash('a'), "unihash": hash('d'),
        "outhash_siginfo": "a line\n".repeat(1000),
    });
    json.ask("POST", "/v1/reports", Some(&report)).await;
    let path = format!("/v1/siginfos/{METHOD}/{}/{}", hash('1'), hash('a'));
    for verb in ["GET", "HEAD"] {
        let request = Request::builder().method(verb).uri(&path);
        let request = request.header(header::ACCEPT_ENCODING, "gzip");
        let response = json.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let tag = response.headers()[header::ETAG].clone();
        assert!(tag.to_str().unwrap().starts_with("W/\""));
        let again = Request::get(&path).header(header::IF_NONE_MATCH, tag);
        let again = json.send(again.body(Body::empty()).unwrap()).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn compressed_lines_are_answered_before_the_last_is_asked() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let (lines, coming) = mpsc::channel(4);
    let mut request = sent("/v1/lookups", "application/x-ndjson", "zstd", body(coming));
    let wish = header::HeaderValue::from_static("zstd");
    request.headers_mut().insert(header::ACCEPT_ENCODING, wish);
    let response = json.send(request).await;
    let mut answers = response.into_body().into_data_stream();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).unwrap();
    for _ in 0..3 {
        writeln!(
            encoder,
            "{}",
            json!({"method": METHOD, "taskhash": hash('1')})
        )
        .unwrap();
        encoder.flush().unwrap();
        let line = std::mem::take(encoder.get_mut());
        lines.send(line.into()).await.unwrap();
        while decoder.get_ref().last() != Some(&b'\n') {
            let answer = tokio::time::timeout(PATIENCE, answers.next())
                .await
                .unwrap();
            decoder.write_all(&answer.unwrap().unwrap()).unwrap();
            decoder.flush().unwrap();
        }
        let answer: Value = serde_json::from_slice(&std::mem::take(decoder.get_mut())).unwrap();
        assert_eq!(answer["unihash"], hash('d'));
    }
    let end = encoder.finish().unwrap();
    lines.send(end.into()).await.unwrap();
    drop(lines);
    while let Some(rest) = answers.next().await {
        decoder.write_all(&rest.unwrap()).unwrap();
    }
    assert!(decoder.get_ref().is_empty());
}

#[tokio::test]
async fn what_a_body_becomes_is_bounded() {
    let options = JsonOptions {
        body_bytes_max: 1 << 20,
        ..JsonOptions::default()
    };
    let json = Json::with(options).await;
    for coding in CODINGS {
        // 64 MiB, which are some KiB.
        let bomb = compressed(coding, &vec![b' '; 64 << 20]);
        assert!(bomb.len() < 1 << 17);
        let request = sent("/v1/reports", "application/json", coding, bomb.clone());
        let answer = told(json.send(request).await).await;
        answer.is_problem(413, "body-too-long");
        assert_eq!(
            answer.body["limit"],
            json!({"name": "body_bytes", "max": 1 << 20})
        );
        let request = sent("/v1/lookups", "application/x-ndjson", coding, bomb);
        let answer = told(json.send(request).await).await;
        assert_eq!(answer.body["error"]["code"], "line-too-long");
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_it_says_is_refused() {
    let json = Json::new().await;
    for coding in ["br", "deflate", "gzip, zstd", "nonsense", ""] {
        let request = sent("/v1/reports", "application/json", coding, "{}");
        let told = told(json.send(request).await).await;
        told.is_problem(415, "content-encoding");
        assert_eq!(told.headers[header::ACCEPT_ENCODING], "zstd, gzip");
    }
    for coding in CODINGS {
        let whole = compressed(coding, b"{\"method\": 1}");
        let wrong = [&b"{}"[..], &whole[..whole.len() - 3], &whole[1..]];
        for body in wrong {
            let body = Bytes::copy_from_slice(body);
            let request = sent("/v1/reports", "application/json", coding, body);
            told(json.send(request).await)
                .await
                .is_problem(400, "body-encoding");
        }
        // Several in a row are one.
        let two = [
            compressed(coding, b"{\"method\""),
            compressed(coding, b": 1}"),
        ]
        .concat();
        let request = sent("/v1/reports", "application/json", coding, two);
        told(json.send(request).await)
            .await
            .is_problem(400, "bad-argument");
    }
}
