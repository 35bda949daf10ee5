//! What a browser is shown at the root of a site.

use axum::http::{Request, header};
use fingerpost_hg::site::{SiteConfig, TrustPolicy};
use http_body_util::BodyExt as _;

use crate::world::{World, send};

/// A site of a collection with these repositories: name and `hgrc`.
fn collection(world: &World, repositories: &[(&str, &str)]) -> SiteConfig {
    for (name, hgrc) in repositories {
        let dot_hg = world.root().join(name).join(".hg");
        std::fs::create_dir_all(dot_hg.join("store")).unwrap();
        std::fs::write(dot_hg.join("hgrc"), hgrc).unwrap();
    }
    let mut site = SiteConfig::new(TrustPolicy::of_this_process());
    site.collections.insert(String::new(), world.root());
    site
}

/// Status, media type and text of an answer.
async fn answer(door: &axum::Router, method: &str, uri: &str) -> (u16, String, String) {
    let request = Request::builder().method(method).uri(uri);
    let response = send(door, request.body(Vec::new()).unwrap()).await;
    let (parts, body) = response.into_parts();
    let media_type = parts.headers.get(header::CONTENT_TYPE).unwrap();
    let media_type = media_type.to_str().unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (parts.status.as_u16(), media_type, text)
}

const REPOSITORIES: &[(&str, &str)] = &[
    ("b/deep", "[web]\ndescription = two\n  lines\n"),
    ("a", ""),
    ("hidden", "[web]\nhidden = yes\n"),
    ("private", "[web]\nallow_read = alice\n"),
    ("refused", "[narrowacl]\ndefault.includes = *\n"),
    ("gr\u{fc}n", "[web]\ndescription = gr\u{fc}n\n"),
];

#[tokio::test]
async fn the_root_lists_what_the_caller_may_read() {
    let world = World::empty();
    let mut site = collection(&world, REPOSITORIES);
    let list = "/a\n/b/deep  two lines\n/gr\u{fc}n  gr\u{fc}n\n";
    let expected = (200, "text/plain; charset=utf-8".to_owned(), list.to_owned());
    let door = world.door_to(site.clone());
    assert_eq!(answer(&door, "GET", "/").await, expected);
    site.prefix = "/hg".to_owned();
    let door = world.door_to(site);
    for uri in ["/hg", "/hg/"] {
        let (status, _, text) = answer(&door, "GET", uri).await;
        assert_eq!(
            (status, text),
            (200, list.replace('/', "/hg/").replace("/hg/deep", "/deep"))
        );
    }
    assert_eq!(answer(&door, "GET", "/").await.0, 404);
}

#[tokio::test]
async fn nothing_else_is_answered_with_an_index() {
    let world = World::empty();
    let door = world.door_to(collection(&world, REPOSITORIES));
    for (method, uri) in [
        ("POST", "/"),
        ("GET", "/?cmd=capabilities"),
        ("GET", "/b"),
        ("GET", "/none"),
    ] {
        let (status, _, text) = answer(&door, method, uri).await;
        let nothing = (404, "there is nothing here\n");
        assert_eq!((status, text.as_str()), nothing, "{method} {uri}");
    }
}
