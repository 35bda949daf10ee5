//! Signed rows over HTTP.

use fingerpost_signatures::{KeyId, Row, SigningKey, UnixTime};
use serde_json::{Value, json};

use super::many::lines;
use super::{Json, METHOD, hash};

/// What somebody signed: (taskhash, outhash, unihash), by their first digits.
fn offered([taskhash, outhash, unihash]: [char; 3]) -> Value {
    let row = Row {
        namespace: "default".to_owned(),
        method: METHOD.into(),
        taskhash: hash(taskhash).as_str().into(),
        outhash: hash(outhash).as_str().into(),
        unihash: hash(unihash).as_str().into(),
    };
    let key = SigningKey::hmac_sha256(KeyId::from_bytes([1; 8]), &[1; 32]);
    json!({
        "namespace": row.namespace, "method": METHOD, "taskhash": hash(taskhash),
        "outhash": hash(outhash), "unihash": hash(unihash),
        "signature": key.sign(&row, UnixTime::MAX).to_string(),
    })
}

/// Uploads a signature where its task is.
async fn put(json: &Json, offered: &Value) -> super::Told {
    let mut body = offered.clone();
    let fields = body.as_object_mut().unwrap();
    fields.remove("method");
    let taskhash = fields.remove("taskhash").unwrap();
    let path = format!(
        "/v1/unihashes/{METHOD}/{}/signatures",
        taskhash.as_str().unwrap()
    );
    json.ask("POST", &path, Some(&body)).await
}

#[tokio::test]
async fn a_signature_is_told_with_its_row_and_another_unihash_is_refused() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let path = format!("/v1/unihashes/{METHOD}/{}/signed", hash('1'));
    let told = json.ask("GET", &path, None).await.body;
    assert_eq!(
        (&told["signatures"], &told["outhash"]),
        (&json!([]), &json!(hash('a')))
    );
    let right = offered(['1', 'a', 'd']);
    assert_eq!(put(&json, &right).await.body, json!({"stored": true}));
    let told = json.ask("GET", &path, None).await.body;
    assert_eq!(told["signatures"], json!([right["signature"]]));
    assert_eq!(
        (&told["namespace"], &told["unihash"]),
        (&json!("default"), &json!(hash('d')))
    );

    put(&json, &offered(['1', 'a', 'e']))
        .await
        .is_problem(422, "signature-mismatch");
    put(&json, &offered(['2', 'a', 'd']))
        .await
        .is_problem(404, "no-such-row");
    let mut wrong = right.clone();
    wrong["namespace"] = "elsewhere".into();
    put(&json, &wrong)
        .await
        .is_problem(422, "signature-mismatch");
    wrong["signature"] = "ed25519:x".into();
    put(&json, &wrong)
        .await
        .is_problem(422, "malformed-signature");
    let unknown = format!("/v1/unihashes/{METHOD}/{}/signed", hash('9'));
    json.ask("GET", &unknown, None)
        .await
        .is_problem(404, "unknown-task");
}

#[tokio::test]
async fn many_signatures_are_taken_and_many_signed_rows_told() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    json.report('2', 'b', 'e').await;
    let all = [
        offered(['1', 'a', 'd']),
        offered(['2', 'b', 'd']),
        offered(['3', 'a', 'd']),
    ];
    let stored = |status, code| json!({"status": status, "code": code});
    let expected = [
        stored(200, "stored"),
        stored(422, "signature-mismatch"),
        stored(404, "no-such-row"),
    ];
    assert_eq!(lines(&json, "/v1/signatures", &all).await, expected);
    let told = json.ask("POST", "/v1/signatures", Some(&json!(all))).await;
    assert_eq!(told.body, json!(expected));
    let malformed = json!([all[0], {"signature": "x"}]);
    let told = json.ask("POST", "/v1/signatures", Some(&malformed)).await;
    told.is_problem(400, "malformed-json");

    let asked: Vec<_> = ['1', '2', '3']
        .map(|digit| json!({"method": METHOD, "taskhash": hash(digit)}))
        .into();
    let by_lines = lines(&json, "/v1/lookups/signed", &asked).await;
    let told = json
        .ask("POST", "/v1/lookups/signed", Some(&json!(asked)))
        .await;
    assert_eq!(told.body, json!(by_lines));
    assert_eq!(by_lines[0]["signatures"], json!([all[0]["signature"]]));
    assert_eq!(
        (&by_lines[1]["unihash"], &by_lines[1]["signatures"]),
        (&json!(hash('e')), &json!([]))
    );
    assert_eq!(
        (&by_lines[2]["unihash"], &by_lines[2]["namespace"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_report_is_answered_with_the_row_that_it_came_from() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    put(&json, &offered(['1', 'a', 'd'])).await;
    let report = json!({
        "method": METHOD, "taskhash": hash('2'), "outhash": hash('a'), "unihash": hash('e'),
    });
    let told = json
        .ask("POST", "/v1/reports/signed", Some(&report))
        .await
        .body;
    assert_eq!(
        (&told["unihash"], &told["evidence"]["taskhash"]),
        (&json!(hash('d')), &json!(hash('1')))
    );
    assert_eq!(
        told["evidence"]["signatures"].as_array().map(Vec::len),
        Some(1)
    );
    let again = lines(&json, "/v1/reports/signed/batch", &[report]).await;
    assert_eq!(again, [told]);
}
