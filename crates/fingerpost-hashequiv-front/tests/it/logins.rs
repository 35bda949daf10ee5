//! Who somebody is, by what they show and how they came.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fingerpost_accounts::tokens::NewToken;
use fingerpost_accounts::{LoginOptions, Namespaces};
use fingerpost_core::{Clock as _, ManualClock, Permission, PermissionSet, Timestamp};
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv_front::{DoorOptions, JsonDoor, JsonOptions};
use fingerpost_net::{Peer, PeerAddress};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::world::{HANDSHAKE, Wire, World, peer};

const SECOND: i64 = 1_000_000;
const BUILDER: PermissionSet = PermissionSet::of(&[Permission::Read, Permission::Report]);

/// A service with both doors, at a time of its own.
struct Site {
    world: World,
    json: Router,
    clock: Arc<ManualClock>,
}

fn here() -> Peer {
    peer(PeerAddress::Unnamed)
}

fn elsewhere() -> Peer {
    peer(PeerAddress::Tcp("192.0.2.7:4000".parse().unwrap()))
}

fn with_certificate(name: &str) -> Peer {
    Peer {
        tls: true,
        certificate: Some(name.into()),
        ..elsewhere()
    }
}

impl Site {
    async fn new(logins: LoginOptions) -> Self {
        Self::with(PermissionSet::of(&[Permission::Read]), logins).await
    }

    async fn with(anonymous: PermissionSet, logins: LoginOptions) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp(1_800_000_000 * SECOND)));
        let config = Config {
            anonymous,
            logins,
            ..Config::default()
        };
        let world = World::at(clock.clone(), DoorOptions::default(), config, None).await;
        let json = JsonDoor::new(Arc::clone(&world.service), JsonOptions::default());
        Self {
            json: json.router(),
            world,
            clock,
        }
    }

    async fn user(&self, name: &str, permissions: PermissionSet) -> String {
        let made = self.world.service.accounts().create(name, permissions);
        made.await.unwrap().unwrap().reveal().to_owned()
    }

    /// A token that ends after some seconds.
    async fn token(&self, permissions: PermissionSet, seconds: i64) -> String {
        let new = NewToken {
            user: "ci".to_owned(),
            name: format!("{seconds} seconds"),
            permissions,
            namespaces: Namespaces::All,
            expires: Some(Timestamp(self.clock.now().0 + seconds * SECOND)),
        };
        let made = self.world.service.logins().tokens.create(new).await;
        made.unwrap().0.reveal().to_owned()
    }

    async fn ask(&self, peer: Peer, path: &str, login: Option<&str>) -> (u16, Value, HeaderMap) {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(peer);
        if let Some(login) = login {
            let login = login.parse().unwrap();
            request.headers_mut().insert(header::AUTHORIZATION, login);
        }
        let response = self.json.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        (parts.status.as_u16(), body, parts.headers)
    }

    /// Who the JSON door takes somebody for: their own entry, or a code.
    async fn who(&self, peer: Peer, login: Option<&str>) -> Value {
        let (status, body, headers) = self.ask(peer, "/v1/users/ci", login).await;
        assert_eq!(
            headers.contains_key(header::WWW_AUTHENTICATE),
            status == 401
        );
        match status {
            200 => body["username"].clone(),
            _ => json!([status, body["code"]]),
        }
    }

    async fn open(&self, peer: Peer) -> Wire {
        let mut wire = self
            .world
            .connect_from(peer, 1 << 20, Duration::from_secs(10));
        wire.send(HANDSHAKE).await;
        wire
    }

    fn metrics(&self) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        self.world.service.logins().register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

fn auth(name: &str, secret: &str) -> String {
    json!({"auth": {"username": name, "token": secret}}).to_string()
}

fn mapped() -> LoginOptions {
    LoginOptions {
        certificates: [("dns:builder.example".to_owned(), "ci".to_owned())].into(),
        ..LoginOptions::default()
    }
}

#[tokio::test]
async fn each_kind_of_login_opens_both_doors() {
    let site = Site::new(LoginOptions::default()).await;
    let own = site.user("ci", BUILDER).await;
    let logins = site.world.service.logins();
    assert!(logins.passwords.set("ci", "a good password").await.unwrap());
    let token = site.token(BUILDER, 60).await;
    assert_eq!(site.who(here(), Some(&basic("ci", &own))).await, "ci");
    assert_eq!(
        site.who(here(), Some(&basic("ci", "a good password")))
            .await,
        "ci"
    );
    // Who acts for a user has no account of theirs.
    let denied = json!([403, "denied"]);
    assert_eq!(site.who(here(), Some(&basic("ci", &token))).await, denied);
    assert_eq!(
        site.who(here(), Some(&format!("Bearer {token}"))).await,
        denied
    );
    for secret in [&own, "a good password", &token] {
        let mut wire = site.open(here()).await;
        let told = wire.ask(&auth("ci", secret)).await;
        assert!(told.contains("\"result\": true"), "{told}");
    }
}

#[tokio::test]
async fn tokens_end_by_date_and_by_hand() {
    let site = Site::new(LoginOptions::default()).await;
    site.user("ci", BUILDER).await;
    let (short, long) = (
        site.token(BUILDER, 60).await,
        site.token(BUILDER, 600).await,
    );
    let ping = async |token: &str| {
        let login = format!("Bearer {token}");
        site.ask(here(), "/v1/ping", Some(&login)).await.0
    };
    assert_eq!((ping(&short).await, ping(&long).await), (200, 200));
    site.clock.advance_micros(60 * SECOND);
    assert_eq!((ping(&short).await, ping(&long).await), (401, 200));
    let id = &long[3..19];
    let typo = match long.strip_suffix('0') {
        Some(rest) => format!("{rest}1"),
        None => format!("{}0", &long[..75]),
    };
    let logins = site.world.service.logins();
    assert!(logins.tokens.revoke("ci", id).await.unwrap());
    assert_eq!(ping(&long).await, 401);
    assert_eq!(ping(&typo).await, 401);
    let metrics = site.metrics();
    for reason in ["expired", "revoked", "checksum"] {
        let line = format!(
            "accounts_logins_total{{door=\"json\",outcome=\"wrong\",reason=\"{reason}\"}} 1"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn a_connection_outlives_its_login_as_nobody() {
    let site = Site::new(LoginOptions::default()).await;
    let all = PermissionSet::of(&[Permission::UserAdmin, Permission::Read]);
    site.user("ci", all).await;
    let token = site.token(all, 60).await;
    let mut wire = site.open(here()).await;
    wire.ask(&auth("ci", &token)).await;
    assert!(
        wire.ask("{\"get-all-users\": null}")
            .await
            .contains("admin")
    );
    // Whoever they became rests on the same login.
    wire.ask("{\"become-user\": {\"username\": \"admin\"}}")
        .await;
    site.clock.advance_micros(59 * SECOND);
    assert!(
        wire.ask("{\"get-all-users\": null}")
            .await
            .contains("admin")
    );
    site.clock.advance_micros(SECOND);
    // What anybody may goes on.
    assert!(wire.ask("{\"get-stats\": null}").await.contains("requests"));
    let told = wire.ask("{\"get-all-users\": null}").await;
    assert!(told.contains("Anonymous user"), "{told}");
}

#[tokio::test]
async fn an_open_stream_ends_with_its_login_unless_anybody_may_read() {
    let line = format!("m {}", "1".repeat(64));
    for anonymous in [BUILDER, PermissionSet::NONE] {
        let site = Site::with(anonymous, LoginOptions::default()).await;
        site.user("ci", BUILDER).await;
        let token = site.token(BUILDER, 60).await;
        let mut wire = site.open(here()).await;
        wire.ask(&auth("ci", &token)).await;
        assert_eq!(wire.ask("{\"get-stream\": null}").await, "\"ok\"");
        assert_eq!(wire.ask(&line).await, "");
        site.clock.advance_micros(60 * SECOND);
        let told = wire.ask(&line).await;
        match anonymous.is_empty() {
            true => assert!(told.contains("Anonymous user"), "{told}"),
            false => assert_eq!(told, ""),
        }
    }
}

#[tokio::test]
async fn a_login_that_others_can_read_is_refused_unread() {
    let site = Site::new(LoginOptions::default()).await;
    let own = site.user("ci", BUILDER).await;
    let refused = json!([403, "plaintext-login"]);
    for login in [
        basic("ci", &own),
        basic("ci", "wrong"),
        "Bearer x".to_owned(),
    ] {
        assert_eq!(site.who(elsewhere(), Some(&login)).await, refused);
    }
    let loopback = || peer(PeerAddress::Tcp("127.0.0.1:4000".parse().unwrap()));
    assert_eq!(site.who(loopback(), Some(&basic("ci", &own))).await, "ci");
    let encrypted = || Peer {
        tls: true,
        ..elsewhere()
    };
    assert_eq!(site.who(encrypted(), Some(&basic("ci", &own))).await, "ci");
    assert_eq!(site.ask(elsewhere(), "/v1/ping", None).await.0, 200);
    for (peer, words) in [
        (elsewhere(), "accounts.plaintext_logins"),
        (loopback(), "\"result\": true"),
        (encrypted(), "\"result\": true"),
    ] {
        let told = site.open(peer).await.ask(&auth("ci", &own)).await;
        assert!(told.contains(words), "{told}");
    }
    let metrics = site.metrics();
    for (door, times) in [("json", 3), ("native", 1)] {
        let line = format!(
            "accounts_logins_total{{door=\"{door}\",outcome=\"plaintext\",reason=\"\"}} {times}\n"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
    let allowed = LoginOptions {
        plaintext: true,
        ..LoginOptions::default()
    };
    let site = Site::new(allowed).await;
    let own = site.user("ci", BUILDER).await;
    assert_eq!(site.who(elsewhere(), Some(&basic("ci", &own))).await, "ci");
    let told = site.open(elsewhere()).await.ask(&auth("ci", &own)).await;
    assert!(told.contains("\"result\": true"), "{told}");
}

#[tokio::test]
async fn a_certificate_is_its_user_from_the_start() {
    let site = Site::new(mapped()).await;
    let admin = PermissionSet::of(&[Permission::UserAdmin]);
    site.user("ci", admin).await;
    let builder = || with_certificate("dns:builder.example");
    assert_eq!(site.who(builder(), None).await, "ci");
    let stranger = || with_certificate("dns:stranger.example");
    assert_eq!(
        site.who(stranger(), None).await,
        json!([401, "login-needed"])
    );
    let users = "{\"get-all-users\": null}";
    let told = site.open(builder()).await.ask(users).await;
    assert!(told.contains("admin"), "{told}");
    let told = site.open(stranger()).await.ask(users).await;
    assert!(told.contains("Anonymous user"), "{told}");
    // With what the user may at that moment, and whoever shows more is that.
    let accounts = site.world.service.accounts();
    accounts
        .set_permissions("ci", PermissionSet::NONE)
        .await
        .unwrap();
    assert_eq!(site.who(builder(), None).await, json!([403, "denied"]));
    let login = basic("admin", "secret");
    assert_eq!(site.who(builder(), Some(&login)).await, "ci");
    let mut wire = site.open(builder()).await;
    wire.ask(&auth("admin", "secret")).await;
    assert!(wire.ask(users).await.contains("admin"));
}

#[tokio::test]
async fn what_is_taken_from_a_user_is_taken_from_their_tokens_at_once() {
    let site = Site::new(LoginOptions::default()).await;
    let db_admin = PermissionSet::of(&[Permission::UserAdmin]);
    site.user("ci", db_admin).await;
    let login = format!("Bearer {}", site.token(db_admin, 600).await);
    assert_eq!(site.who(here(), Some(&login)).await, "ci");
    let mut admin = site.open(here()).await;
    admin.ask(&auth("admin", "secret")).await;
    let none = "{\"set-user-perms\": {\"username\": \"ci\", \"permissions\": []}}";
    admin.ask(none).await;
    assert_eq!(site.who(here(), Some(&login)).await, json!([403, "denied"]));
    admin.ask("{\"delete-user\": {\"username\": \"ci\"}}").await;
    assert_eq!(
        site.who(here(), Some(&login)).await,
        json!([401, "wrong-login"])
    );
}

/// A request with a body, and its status and answer.
async fn send(site: &Site, verb: &str, path: &str, login: &str, body: Value) -> (u16, Value) {
    let request = Request::builder().method(verb).uri(path);
    let request = request
        .header(header::AUTHORIZATION, login)
        .header(header::CONTENT_TYPE, "application/json");
    let body = match body {
        Value::Null => Body::empty(),
        body => Body::from(body.to_string()),
    };
    let mut request = request.body(body).unwrap();
    request.extensions_mut().insert(here());
    let response = site.json.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_token_for_one_namespace_manages_no_users() {
    let site = Site::new(LoginOptions::default()).await;
    let admin = basic("admin", "secret");
    let tokens = "/v1/users/admin/tokens";
    let mut managed = Vec::new();
    for scope in [
        json!({"name": "one", "namespaces": ["default"]}),
        json!({"name": "all"}),
    ] {
        let mut wanted = scope;
        wanted["permissions"] = json!(["@all"]);
        let (status, made) = send(&site, "POST", tokens, &admin, wanted).await;
        assert_eq!(status, 200, "{made}");
        let token = made["token"].as_str().unwrap();
        let acting = format!("Bearer {token}");
        let user = json!({"username": format!("own{}", managed.len()), "permissions": ["@all"]});
        let (made, _) = send(&site, "POST", "/v1/users", &acting, user).await;
        let admins = "/v1/users/admin/token";
        let (shown, _) = send(&site, "POST", admins, &acting, json!({})).await;
        let mut wire = site.open(here()).await;
        let auth = auth("admin", token);
        assert!(wire.ask(&auth).await.contains("true"));
        let listed = wire.ask("{\"get-all-users\": null}").await;
        managed.push((made, shown, listed.contains("is not allowed")));
    }
    assert_eq!(managed, [(403, 403, true), (200, 200, false)]);
}

#[tokio::test]
async fn users_make_list_and_revoke_their_tokens() {
    let site = Site::new(LoginOptions::default()).await;
    let own = basic("ci", &site.user("ci", BUILDER).await);
    let tokens = "/v1/users/ci/tokens";
    let ends = site.clock.now().0 / SECOND + 3600;
    let wanted = json!({"name": "nightly", "permissions": ["@read"], "namespaces": ["main"],
                        "expires": ends});
    let (status, made) = send(&site, "POST", tokens, &own, wanted.clone()).await;
    assert_eq!(
        (status, &made["expires"], &made["namespaces"]),
        (200, &json!(ends), &json!(["main"]))
    );
    let acting = format!("Bearer {}", made["token"].as_str().unwrap());
    let (_, listed) = send(&site, "GET", tokens, &own, Value::Null).await;
    assert_eq!(
        (&listed["tokens"][0]["id"], &listed["tokens"][0]["token"]),
        (&made["id"], &Value::Null)
    );
    // Who acts for a user gives nothing away, nor do others.
    let admin = basic("admin", "secret");
    for (verb, path, login, body, told) in [
        (
            "POST",
            tokens,
            &own,
            wanted.clone(),
            json!([409, "token-exists"]),
        ),
        (
            "POST",
            tokens,
            &acting,
            wanted.clone(),
            json!([403, "denied"]),
        ),
        ("GET", tokens, &acting, Value::Null, json!([403, "denied"])),
        (
            "GET",
            "/v1/users/admin/tokens",
            &own,
            Value::Null,
            json!([403, "denied"]),
        ),
        (
            "GET",
            "/v1/users/nobody/tokens",
            &admin,
            Value::Null,
            json!([404, "no-such-user"]),
        ),
        (
            "POST",
            tokens,
            &own,
            json!({"name": "all", "permissions": ["@all"]}),
            json!([422, "beyond-user"]),
        ),
        (
            "POST",
            tokens,
            &own,
            json!({"name": "late", "permissions": [], "expires": 1}),
            json!([422, "expired"]),
        ),
        (
            "DELETE",
            "/v1/users/ci/tokens/x",
            &own,
            Value::Null,
            json!([404, "no-such-token"]),
        ),
        (
            "PUT",
            "/v1/users/ci/password",
            &acting,
            json!({"password": "a good one"}),
            json!([403, "denied"]),
        ),
        (
            "PUT",
            "/v1/users/ci/password",
            &own,
            json!({"password": "short"}),
            json!([422, "unfit-password"]),
        ),
        (
            "DELETE",
            "/v1/users/ci/password",
            &own,
            Value::Null,
            json!([404, "no-such-password"]),
        ),
    ] {
        let (status, answer) = send(&site, verb, path, login, body).await;
        assert_eq!(
            json!([status, answer["code"]]),
            told,
            "{verb} {path}: {answer}"
        );
    }
    assert_eq!(
        send(&site, "GET", "/v1/ping", &acting, Value::Null).await.0,
        200
    );
    let one = format!("{tokens}/{}", made["id"].as_str().unwrap());
    assert_eq!(
        send(&site, "DELETE", &one, &admin, Value::Null).await.0,
        200
    );
    assert_eq!(
        send(&site, "GET", "/v1/ping", &acting, Value::Null).await.0,
        401
    );
}

#[tokio::test]
async fn users_choose_a_password_and_drop_it() {
    let site = Site::new(LoginOptions::default()).await;
    let own = basic("ci", &site.user("ci", BUILDER).await);
    let path = "/v1/users/ci/password";
    let chosen = json!({"password": "a good one"});
    assert_eq!(send(&site, "PUT", path, &own, chosen).await.0, 200);
    let by_password = basic("ci", "a good one");
    assert_eq!(site.who(here(), Some(&by_password)).await, "ci");
    assert_eq!(
        send(&site, "DELETE", path, &by_password, Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(
        site.who(here(), Some(&by_password)).await,
        json!([401, "wrong-login"])
    );
}
