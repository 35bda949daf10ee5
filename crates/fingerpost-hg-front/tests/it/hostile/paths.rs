//! Paths: in URLs, of files, and in filters.

use axum::http::Request;
use fingerpost_hg_proto::cbor::Value;

use super::SAMPLE;
use super::arguments::{list, node};
use crate::client::{API, Told, ask, body, call, post};
use crate::world::World;

const TIP: &str = "f01eb1639989329c659f6fae6edb3fdcc799ae06";
const OF_A_TXT: &str = "277b75139d8e5cd5b822c1c99ae1e737500a1d59";

#[tokio::test]
async fn no_path_of_a_url_leads_to_a_file() {
    let world = World::recorded("sample-dothg", SAMPLE);
    std::fs::write(world.root().join("secret"), "inside").unwrap();
    std::fs::write(world.root().join("../secret"), "outside").unwrap();
    let door = world.door();
    for path in [
        "/secret",
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/..%5csecret",
        "//secret",
        "/./secret",
        "/.hg/store/00changelog.i",
        "/.hg%2fhgrc",
        "/%2ehg/hgrc",
        "/api/../secret",
        "/api/exp-http-v2-0003/../../secret",
        "/file/tip/secret",
        "/raw-file/tip/README",
        "/static/../secret",
        "/%00",
        "/secret%00",
        "/%",
        "/%2",
        "/%zz",
        "/%ff",
        "/%c0%af",
        "/%c0%ae%c0%ae/secret",
        "/%252e%252e/secret",
        "/\u{e9}",
    ] {
        let Ok(request) = Request::get(path).body(Vec::new()) else {
            continue;
        };
        let answered = ask(&door, request).await;
        assert_eq!(answered.status, 404, "{path}");
        assert!(!answered.text().contains("side"), "{path}");
    }
}

#[tokio::test]
async fn a_command_is_not_found_by_another_spelling_of_its_path() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let heads = body(&[("heads", Vec::new())]);
    for path in [
        "/api/./exp-http-v2-0003/ro/heads",
        "/x/../api/exp-http-v2-0003/ro/heads",
    ] {
        assert_eq!(
            ask(&door, post(path, heads.clone())).await.status,
            404,
            "{path}"
        );
    }
    let escaped = "/api/exp-http-v2-0003/ro/he%61ds";
    assert!(ask(&door, post(escaped, heads.clone())).await.is_frames());
    let long = format!("{API}/ro/{}", "a".repeat(60_000));
    assert_eq!(ask(&door, post(&long, heads)).await.status, 404);
}

#[tokio::test]
async fn a_file_that_no_repository_can_have_is_unknown() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let long = "a".repeat(100_000);
    let deep = "a/".repeat(50_000);
    for path in [
        "",
        "/",
        ".",
        "..",
        "../00changelog",
        "../../hgrc",
        "src/../README",
        "./README",
        "src//a.txt",
        "/etc/passwd",
        "src/a.txt/",
        "src",
        "README\0",
        "a\nb",
        "readme",
        &long,
        &deep,
    ] {
        let args = [
            ("path", Value::bytes(path)),
            ("nodes", list([node(OF_A_TXT)])),
        ];
        let told = call(&door, "filedata", &args).await;
        assert_eq!(told.refused, Some(format!("unknown file: {path}")));
    }
    let args = [
        ("path", Value::bytes([0xff, 0xfe])),
        ("nodes", list([node(OF_A_TXT)])),
    ];
    assert!(call(&door, "filedata", &args).await.refused.is_some());
}

async fn filtered(door: &axum::Router, key: &[u8], patterns: Value) -> Told {
    let specifier = [
        (&b"type"[..], Value::bytes("changesetexplicit")),
        (b"nodes", list([node(TIP)])),
    ];
    let args = [
        ("revisions", list([Value::record(specifier)])),
        ("pathfilter", Value::record([(key, patterns)])),
    ];
    call(door, "filesdata", &args).await
}

fn paths(told: &Told) -> u64 {
    told.objects[0]
        .get(b"totalpaths")
        .unwrap()
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn patterns_that_name_nothing_find_nothing() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    for pattern in [
        "path:..",
        "path:../..",
        "path:/",
        "path:/src",
        "path:./src",
        "path:src/../src",
        "path:a\0b",
        "path:*",
        "rootfilesin:..",
        "rootfilesin:/",
    ] {
        let told = filtered(&door, b"include", list([Value::bytes(pattern)])).await;
        assert_eq!(told.complaint(), None, "{pattern}");
        // A slash at the end is none, so `/` is the root.
        assert!(paths(&told) == 0 || pattern.ends_with('/'), "{pattern}");
    }
    let all = paths(&filtered(&door, b"exclude", list::<Value>([])).await);
    assert!(all > 3);
    let many = list((0..20_000).map(|at| Value::bytes(format!("path:no/{at}"))));
    assert_eq!(paths(&filtered(&door, b"exclude", many).await), all);
}

#[tokio::test]
async fn other_patterns_are_refused_with_what_is_allowed() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    for pattern in [
        "",
        "src",
        "glob:*",
        "re:.*",
        "set:all()",
        "PATH:src",
        " path:src",
        "include:/etc/passwd",
        "listfile:/etc/passwd",
    ] {
        for key in [&b"include"[..], b"exclude"] {
            let told = filtered(&door, key, list([Value::bytes(pattern)])).await;
            let key = String::from_utf8_lossy(key);
            let text =
                format!("{key} pattern must begin with `path:` or `rootfilesin:`; got {pattern}");
            assert_eq!(told.refused, Some(text));
        }
    }
    for wrong in [
        Value::Null,
        Value::bytes("path:src"),
        Value::from(1_u64),
        list([Value::Null]),
    ] {
        assert!(filtered(&door, b"include", wrong).await.refused.is_some());
    }
}
