//! Who may read, and who says so.

use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::client::{API, Answered, ask, body, post};
use crate::world::World;

pub(crate) fn basic(user: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{token}")))
}

/// A request for heads, with a login or without.
fn heads(login: Option<&str>) -> Request<Vec<u8>> {
    let mut request = post(&format!("{API}/ro/heads"), body(&[("heads", Vec::new())]));
    if let Some(login) = login {
        let login = login.parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, login);
    }
    request
}

#[track_caller]
fn check_refused(answered: &Answered, reason: &str, may_log_in: bool) {
    let found = (answered.status, answered.reason.as_str(), answered.text());
    assert_eq!(found, (401, reason, "permission denied".to_owned()));
    assert_eq!(answered.media_type(), None);
    let challenged = answered.headers.contains_key(header::WWW_AUTHENTICATE);
    assert_eq!(challenged, may_log_in);
}

#[tokio::test]
async fn a_rule_lets_those_in_whom_it_names() {
    let mut world = World::recorded("sample-dothg", "[web]\nallow_read = ann\n");
    let ann = basic("ann", &world.add_user("ann").await);
    let bob = basic("bob", &world.add_user("bob").await);
    let door = world.door();
    check_refused(&ask(&door, heads(None)).await, "read not authorized", true);
    check_refused(
        &ask(&door, heads(Some(&bob))).await,
        "read not authorized",
        false,
    );
    assert!(ask(&door, heads(Some(&ann))).await.is_frames());
    for path in ["/", "/?cmd=capabilities", "/api", API, "/api/x", "/nothing"] {
        let answered = ask(&door, Request::get(path).body(Vec::new()).unwrap()).await;
        check_refused(&answered, "read not authorized", true);
    }
}

#[tokio::test]
async fn a_wrong_login_is_refused_where_none_is_needed() {
    let mut world = World::recorded("sample-dothg", "");
    let token = world.add_user("ann").await;
    let door = world.door();
    assert!(ask(&door, heads(None)).await.is_frames());
    assert!(
        ask(&door, heads(Some(&basic("ann", &token))))
            .await
            .is_frames()
    );
    let long = "x".repeat(100_000);
    for login in [
        basic("ann", "wrong"),
        basic("ann", ""),
        basic("ann", &format!("{token} ")),
        basic("ann", &long),
        basic("Ann", &token),
        basic("nobody", &token),
        basic("", &token),
        basic("ann\0", &token),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic ???".to_owned(),
        format!("Bearer {token}"),
    ] {
        check_refused(
            &ask(&door, heads(Some(&login))).await,
            "read not authorized",
            true,
        );
    }
}

#[tokio::test]
async fn without_accounts_every_login_is_wrong() {
    let world = World::recorded("sample-dothg", "");
    let door = world.door();
    let answered = ask(&door, heads(Some(&basic("ann", "x")))).await;
    check_refused(&answered, "read not authorized", true);
}

#[tokio::test]
async fn pulling_and_pushing_have_rules_of_their_own() {
    let rules = "[web]\nallow-pull = no\nallow-push = ann\n";
    let mut world = World::recorded("sample-dothg", rules);
    let ann = basic("ann", &world.add_user("ann").await);
    let door = world.door();
    check_refused(
        &ask(&door, heads(Some(&ann))).await,
        "pull not authorized",
        false,
    );
    let page = ask(&door, Request::get("/").body(Vec::new()).unwrap()).await;
    assert_eq!(page.status, 200);
    let mut push = heads(None);
    *push.uri_mut() = format!("{API}/rw/heads").parse().unwrap();
    // A password would come in clear text: it is not asked for.
    let again = post(push.uri().path(), push.body().clone());
    let answered = ask(&door, again).await;
    assert_eq!(answered.status, 403);
    assert!(!answered.headers.contains_key(header::WWW_AUTHENTICATE));
    let hgrc = world.root().join(".hg/hgrc");
    std::fs::write(hgrc, format!("{rules}push_ssl = no\n")).unwrap();
    check_refused(&ask(&door, push).await, "push not authorized", true);
}
