//! Rows a page at a time, listings as text, and a choice of fields.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{Json, METHOD, Told, hash};

async fn get(json: &Json, path: &str) -> Told {
    json.ask("GET", path, None).await
}

/// The target of `rel=next`.
fn link(told: &Told) -> Option<String> {
    let link = told.headers.get(header::LINK)?.to_str().unwrap();
    let link = link.strip_suffix(">; rel=\"next\"").unwrap();
    Some(link.strip_prefix('<').unwrap().to_owned())
}

#[tokio::test]
async fn links_lead_through_all_rows() {
    let json = Json::new().await;
    for digit in '1'..='5' {
        json.report(digit, 'a', 'd').await;
        json.report('9', digit, 'e').await;
    }
    for path in [
        format!("/v1/outhashes/{METHOD}/{}/rows", hash('a')),
        format!("/v1/tasks/{METHOD}/{}/outputs", hash('9')),
    ] {
        let (mut ids, mut lens) = (Vec::new(), Vec::new());
        let mut next = Some(format!("{path}?limit=2&fields=id,outhash"));
        while let Some(page) = next {
            let told = get(&json, &page).await;
            assert_eq!(told.status, StatusCode::OK, "{}", told.body);
            next = link(&told);
            let cursor = next
                .as_ref()
                .map(|next| next.split("cursor=").nth(1).unwrap());
            assert_eq!(told.body["next"].as_str(), cursor);
            let rows = told.body["rows"].as_array().unwrap();
            lens.push(rows.len());
            for row in rows {
                assert_eq!(row.as_object().unwrap().len(), 2);
                ids.push(row["id"].as_i64().unwrap());
            }
        }
        assert_eq!(lens, [2, 2, 1]);
        assert!(ids.is_sorted() && ids.len() == 5);
    }
    let none = get(&json, &format!("/v1/tasks/{METHOD}/x/outputs")).await;
    assert_eq!(none.body, json!({"rows": [], "next": null}));
    let all = get(&json, &format!("/v1/tasks/{METHOD}/{}/outputs", hash('1'))).await;
    let row = &all.body["rows"][0];
    assert_eq!(
        (&row["PN"], &row["has_siginfo"]),
        (&json!("zlib"), &json!(true))
    );
    assert_eq!(row["unihash"], hash('d'));
}

#[tokio::test]
async fn a_wrong_page_is_refused() {
    let json = Json::new().await;
    let of = |digit, query: &str| format!("/v1/tasks/{METHOD}/{}/outputs?{query}", hash(digit));
    let check = async |query: &str, code: &str| {
        get(&json, &of('1', query)).await.is_problem(400, code);
    };
    for limit in ["0", "1001", "-1", "x", "", "99999999999999999999999"] {
        check(&format!("limit={limit}"), "bad-argument").await;
    }
    check("limit=1&limit=2", "unknown-field").await;
    check("cursor=", "wrong-cursor").await;
    check(&format!("cursor={}", "A".repeat(32)), "wrong-cursor").await;
    check("fields=id,nonsense", "unknown-field").await;
    check("offset=1", "unknown-field").await;
    json.report('1', 'a', 'd').await;
    json.report('1', 'b', 'd').await;
    let cursor = get(&json, &of('1', "limit=1")).await.body["next"].clone();
    let of_other = of('2', &format!("cursor={}", cursor.as_str().unwrap()));
    get(&json, &of_other).await.is_problem(404, "wrong-cursor");
}

#[tokio::test]
async fn a_listing_is_text_with_a_tag() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let path = format!("/v1/siginfos/{METHOD}/{}/{}", hash('1'), hash('a'));
    let ask = async |tag: Option<&header::HeaderValue>| {
        let mut request = Request::get(&path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        json.send(request.body(Body::empty()).unwrap()).await
    };
    let found = ask(None).await;
    assert_eq!(
        found.headers()[header::CONTENT_TYPE],
        "text/plain; charset=utf-8"
    );
    let tag = found.headers()[header::ETAG].clone();
    let text = to_bytes(found.into_body(), 1 << 20).await.unwrap();
    assert_eq!(text, "a listing");
    let again = ask(Some(&tag)).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let absent = format!("/v1/siginfos/{METHOD}/{}/{}", hash('1'), hash('b'));
    get(&json, &absent).await.is_problem(404, "unknown-siginfo");
}

#[tokio::test]
async fn a_tag_holds_until_something_is_deleted() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    json.report('2', 'b', 'e').await;
    let path = format!("/v1/unihashes/{METHOD}/{}", hash('1'));
    let before = get(&json, &path).await.headers[header::ETAG].clone();
    json.report('3', 'a', 'd').await;
    assert_eq!(get(&json, &path).await.headers[header::ETAG], before);
    let gone = json!({"where": {"taskhash": hash('2')}});
    let removed = json.ask("POST", "/v1/removals", Some(&gone)).await;
    assert_eq!(removed.body["count"], 2);
    assert_ne!(get(&json, &path).await.headers[header::ETAG], before);
}

#[tokio::test]
async fn an_answer_has_the_fields_that_are_asked_for() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let unihash = format!("/v1/unihashes/{METHOD}/{}", hash('1'));
    let check = async |path: String, wanted: Value| {
        assert_eq!(get(&json, &path).await.body, wanted, "{path}");
    };
    check(
        format!("{unihash}?fields=unihash"),
        json!({"unihash": hash('d')}),
    )
    .await;
    let output = format!("/v1/outputs/{METHOD}/{}", hash('1'));
    let wanted = json!({"PN": "zlib", "outhash": hash('a')});
    check(format!("{output}?fields=outhash,PN"), wanted).await;
    let told = get(&json, &format!("{unihash}?fields=unihash,colour,size")).await;
    told.is_problem(400, "unknown-field");
    let detail = told.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("colour, size") && detail.contains("unihash"),
        "{detail}"
    );
    // A wrong choice is refused before anything is done.
    let report = json!({"method": METHOD, "taskhash": hash('2'), "outhash": hash('b'), "unihash": hash('e')});
    let told = json
        .ask("POST", "/v1/reports?fields=x", Some(&report))
        .await;
    told.is_problem(400, "unknown-field");
    let told = json
        .ask("POST", "/v1/reports?fields=unihash", Some(&report))
        .await;
    assert_eq!(told.body, json!({"unihash": hash('e')}));
}
