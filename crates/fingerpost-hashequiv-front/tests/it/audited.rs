//! What callers showed, as the audit log tells it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fingerpost_accounts::tokens::NewToken;
use fingerpost_accounts::{LoginOptions, Namespaces};
use fingerpost_core::{Permission, PermissionSet, SystemClock};
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv_client::{Client, ClientOptions, Credentials, request};
use fingerpost_hashequiv_front::{DoorOptions, JsonDoor, JsonOptions, NativeDoor};
use fingerpost_net::audit::{Audit, AuditOptions};
use fingerpost_net::{Guards, Peer, PeerAddress};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::transports::websocket;
use crate::world::{HANDSHAKE, PATIENCE, World, peer};

const ALL: PermissionSet =
    PermissionSet::of(&[Permission::Read, Permission::DbAdmin, Permission::UserAdmin]);

/// Both doors with an audit log, and the user `ci`.
struct Site {
    world: World,
    json: Router,
    guards: Guards,
    file: PathBuf,
    own: String,
    token: String,
}

impl Site {
    async fn new() -> Self {
        let certificates = [("dns:builder".to_owned(), "ci".to_owned())].into();
        let config = Config {
            anonymous: PermissionSet::NONE,
            logins: LoginOptions {
                certificates,
                ..LoginOptions::default()
            },
            ..Config::default()
        };
        let mut world = World::with_anonymous_as_configured(config).await;
        let file = world.directory.path().join("audit.jsonl");
        let options = AuditOptions {
            file: file.clone(),
            reports: false,
        };
        let guards = Guards {
            audit: Audit::start(&options, Arc::new(SystemClock)).unwrap(),
            ..Guards::default()
        };
        let service = &world.service;
        let own = service.accounts().create("ci", ALL).await.unwrap().unwrap();
        let new = NewToken {
            user: "ci".to_owned(),
            name: "nightly".to_owned(),
            permissions: ALL,
            namespaces: Namespaces::All,
            expires: None,
        };
        let (token, _) = service.logins().tokens.create(new).await.unwrap();
        let json = JsonDoor::guarded(Arc::clone(service), JsonOptions::default(), guards.clone());
        let native = Arc::clone(service);
        world.door = NativeDoor::guarded(native, DoorOptions::default(), guards.clone());
        Self {
            world,
            json: json.router(),
            guards,
            file,
            own: own.reveal().to_owned(),
            token: token.reveal().to_owned(),
        }
    }

    /// How the log names the token.
    fn token_id(&self) -> String {
        format!("token:{}", &self.token[3..19])
    }

    async fn native(&self, peer: Peer, lines: &[Value]) {
        let mut wire = self.world.connect_from(peer, 1 << 20, PATIENCE);
        wire.send(HANDSHAKE).await;
        for line in lines {
            wire.send_line(&line.to_string()).await;
        }
        wire.shut().await;
        wire.rest().await;
    }

    async fn json(&self, peer: Peer, login: Option<&str>) -> StatusCode {
        let mut request = Request::delete("/v1/statistics");
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, login);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(peer);
        let response = self.json.clone().oneshot(request).await.unwrap();
        response.status()
    }

    /// The last line of the log: whose it is, and what they showed.
    async fn check_last(&self, user: Option<&str>, credential: Option<&str>) {
        assert!(self.guards.audit.flush(PATIENCE).await);
        let text = std::fs::read_to_string(&self.file).unwrap();
        let last = text.lines().next_back().unwrap_or_default();
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(
            (last["user"].as_str(), last["credential"].as_str()),
            (user, credential),
            "{last}"
        );
        for secret in [&self.own, &self.token[20..]] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

fn here() -> Peer {
    peer(PeerAddress::Unnamed)
}

fn certified() -> Peer {
    Peer {
        tls: true,
        certificate: Some("dns:builder".into()),
        ..here()
    }
}

fn auth(secret: &str) -> Value {
    json!({"auth": {"username": "ci", "token": secret}})
}

fn basic(secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("ci:{secret}")))
}

#[tokio::test]
async fn over_lines_the_last_login_is_told_with_what_was_shown_for_it() {
    let site = Site::new().await;
    let (id, change) = (site.token_id(), json!({"reset-stats": null}));
    site.native(here(), std::slice::from_ref(&change)).await;
    site.check_last(None, None).await;
    for (secret, expected) in [(&site.own, "password"), (&site.token, &id)] {
        site.native(here(), &[auth(secret), change.clone()]).await;
        site.check_last(Some("ci"), Some(expected)).await;
    }
    site.native(certified(), std::slice::from_ref(&change))
        .await;
    site.check_last(Some("ci"), Some("certificate")).await;
    let again = [auth(&site.own), auth(&site.token), change.clone()];
    site.native(certified(), &again).await;
    site.check_last(Some("ci"), Some(&id)).await;
    // Nothing was shown for the other user.
    let becoming = json!({"become-user": {"username": "admin"}});
    site.native(here(), &[auth(&site.token), becoming, change])
        .await;
    site.check_last(Some("admin"), Some(&id)).await;
    site.native(here(), &[auth("wr0ng")]).await;
    site.check_last(None, None).await;
}

#[tokio::test]
async fn over_a_websocket_it_is_told_as_well() {
    let mut site = Site::new().await;
    let other = World::new().await;
    let listening = std::mem::replace(&mut site.world, other).listen();
    for (secret, expected) in [(&site.own, "password"), (&site.token, &site.token_id())] {
        let credentials = Credentials {
            username: "ci".to_owned(),
            token: secret.clone(),
        };
        let mut client = Client::new(ClientOptions {
            credentials: Some(credentials),
            receive_timeout: Duration::from_secs(10),
            ..ClientOptions::to(websocket(&listening.tcp, false))
        });
        client.call(&request::reset_stats()).await.unwrap();
        site.check_last(Some("ci"), Some(expected)).await;
    }
}

#[tokio::test]
async fn over_http_each_request_is_told_with_what_it_shows() {
    let site = Site::new().await;
    let (id, bearer) = (site.token_id(), format!("Bearer {}", site.token));
    for (peer, login, expected) in [
        (here(), Some(basic(&site.own)), "password"),
        (here(), Some(basic(&site.token)), &id),
        (here(), Some(bearer.clone()), &id),
        (certified(), None, "certificate"),
        (certified(), Some(bearer), &id),
    ] {
        assert_eq!(site.json(peer, login.as_deref()).await, StatusCode::OK);
        site.check_last(Some("ci"), Some(expected)).await;
    }
    for login in [None, Some(basic("wr0ng"))] {
        let status = site.json(here(), login.as_deref()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        site.check_last(None, None).await;
    }
}

#[tokio::test]
async fn a_denial_before_the_body_was_read_is_told_with_what_the_path_says() {
    let site = Site::new().await;
    let never = Body::from_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>());
    let request = Request::put("/v1/users/eve/permissions");
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let asked = site.json.clone().oneshot(request.body(never).unwrap());
    let response = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);
    site.check_last(None, None).await;
    let text = std::fs::read_to_string(&site.file).unwrap();
    let told: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(told["command"], "set-user-perms");
    assert_eq!(told["outcome"], "denied");
    assert_eq!(told["argument"], json!({"username": "eve"}));
}
