//! Who may read, and who says so.

use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fingerpost_accounts::Namespaces;
use fingerpost_accounts::tokens::NewToken;
use fingerpost_core::{Permission, PermissionSet};
use fingerpost_net::{Peer, PeerAddress};

use crate::client::{API, Answered, ask, body, post};
use crate::world::{World, peer};

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

/// A token that acts for ann.
async fn token_of_ann(world: &mut World, permissions: PermissionSet) -> String {
    let new = NewToken {
        user: "ann".to_owned(),
        name: permissions.stored().join(" "),
        permissions,
        namespaces: Namespaces::All,
        expires: None,
    };
    let (token, _) = world.logins().tokens.create(new).await.unwrap();
    format!("Bearer {}", token.reveal())
}

#[tokio::test]
async fn a_token_is_its_user_and_writes_only_if_it_may_report() {
    let rules = "[web]\nallow_read = ann\nallow-push = ann\npush_ssl = no\n";
    let mut world = World::recorded("sample-dothg", rules);
    let builder = PermissionSet::of(&[Permission::Read, Permission::Report]);
    world.add_user_with("ann", builder).await;
    let reader = token_of_ann(&mut world, PermissionSet::of(&[Permission::Read])).await;
    let writer = token_of_ann(&mut world, builder).await;
    let door = world.door();
    let push = |login: &str| {
        let mut push = heads(Some(login));
        *push.uri_mut() = format!("{API}/rw/heads").parse().unwrap();
        push
    };
    assert!(ask(&door, heads(Some(&reader))).await.is_frames());
    let answered = ask(&door, push(&reader)).await;
    check_refused(&answered, "push not authorized", false);
    assert!(ask(&door, push(&writer)).await.is_frames());
    let wrong = ask(&door, heads(Some("Bearer fp_x"))).await;
    check_refused(&wrong, "read not authorized", true);
    let mut twice = heads(Some(&writer));
    let login = writer.parse().unwrap();
    twice.headers_mut().append(header::AUTHORIZATION, login);
    check_refused(&ask(&door, twice).await, "read not authorized", true);
}

#[tokio::test]
async fn how_somebody_came_says_what_they_may_show() {
    let mut world = World::recorded("sample-dothg", "[web]\nallow_read = ann\n");
    let ann = basic("ann", &world.add_user("ann").await);
    let door = world.door();
    let far = || peer(PeerAddress::Tcp("192.0.2.7:4000".parse().unwrap()));
    let from = |peer: Peer, login: Option<&str>| {
        let mut request = heads(login);
        request.extensions_mut().insert(peer);
        request
    };
    let answered = ask(&door, from(far(), Some(&ann))).await;
    assert_eq!(
        (answered.status, answered.reason.as_str()),
        (403, "ssl required")
    );
    let encrypted = Peer { tls: true, ..far() };
    assert!(ask(&door, from(encrypted, Some(&ann))).await.is_frames());
    let known = |name: &str| Peer {
        tls: true,
        certificate: Some(name.into()),
        ..far()
    };
    assert!(ask(&door, from(known("cn:ann"), None)).await.is_frames());
    let answered = ask(&door, from(known("cn:bob"), None)).await;
    check_refused(&answered, "read not authorized", true);
}
