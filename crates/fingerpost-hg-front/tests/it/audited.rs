//! Who changed or was denied what, as the audit log tells it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, header};
use fingerpost_accounts::Namespaces;
use fingerpost_accounts::tokens::NewToken;
use fingerpost_core::{Permission, PermissionSet, SystemClock};
use fingerpost_hg::pushkey::PushkeyProgram;
use fingerpost_hg_proto::cbor::Value as Cbor;
use fingerpost_net::audit::{Audit, AuditOptions};
use fingerpost_net::{Guards, Peer, PeerAddress};
use serde_json::Value;

use crate::client::{API, ask, body, post};
use crate::hostile::basic;
use crate::world::{World, peer};

const PATIENCE: Duration = Duration::from_secs(20);
const BUILDER: PermissionSet = PermissionSet::of(&[Permission::Read, Permission::Report]);
const RULES: &str = "[web]\nallow_read = ann\nallow-push = ann\npush_ssl = no\n";

/// A door with an audit log, whose repository is ann's.
struct Site {
    world: World,
    file: PathBuf,
}

impl Site {
    fn new() -> Self {
        let mut world = World::recorded("sample-dothg", RULES);
        world.mercurial.pushkey = Some(PushkeyProgram {
            hg: world.root().join("none"),
            timeout: Duration::from_secs(1),
        });
        let file = world.root().join("audit.jsonl");
        let options = AuditOptions {
            file: file.clone(),
            reports: false,
        };
        world.guards.audit = Audit::start(&options, Arc::new(SystemClock)).unwrap();
        Self { world, file }
    }

    async fn token(&mut self, permissions: PermissionSet) -> String {
        let new = NewToken {
            user: "ann".to_owned(),
            name: permissions.stored().join(" "),
            permissions,
            namespaces: Namespaces::All,
            expires: None,
        };
        let (token, _) = self.world.logins().tokens.create(new).await.unwrap();
        token.reveal().to_owned()
    }

    /// The last line of the log after a push: its command, user and credential.
    async fn push(&self, peer: Peer, login: Option<&str>) -> [Option<String>; 3] {
        let mut request = pushkey();
        request.extensions_mut().insert(peer);
        if let Some(login) = login {
            let login = login.parse().unwrap();
            request.headers_mut().insert(header::AUTHORIZATION, login);
        }
        ask(&self.world.door(), request).await;
        let Guards { audit, .. } = &self.world.guards;
        assert!(audit.flush(PATIENCE).await);
        let text = std::fs::read_to_string(&self.file).unwrap();
        let last = text.lines().next_back().unwrap_or_default();
        let last: Value = serde_json::from_str(last).unwrap();
        ["command", "user", "credential"].map(|key| last[key].as_str().map(str::to_owned))
    }
}

fn pushkey() -> Request<Vec<u8>> {
    let arguments = [
        ("namespace", "bookmarks"),
        ("key", "b"),
        ("old", ""),
        ("new", ""),
    ];
    let arguments = arguments.map(|(name, value)| (name, Cbor::bytes(value)));
    let body = body(&[("pushkey", arguments.to_vec())]);
    post(&format!("{API}/rw/pushkey"), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_denials_are_told_with_what_was_shown() {
    let mut site = Site::new();
    let ann = site.world.add_user_with("ann", BUILDER).await;
    let bob = site.world.add_user_with("bob", BUILDER).await;
    let reader = site.token(PermissionSet::of(&[Permission::Read])).await;
    let writer = site.token(BUILDER).await;
    let id = |token: &str| format!("token:{}", &token[3..19]);
    let here = || peer(PeerAddress::Unnamed);
    let certified = Peer {
        tls: true,
        certificate: Some("cn:ann".into()),
        ..here()
    };
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    for (peer, login, expected) in [
        (
            here(),
            Some(basic("ann", &ann)),
            ["pushkey", "ann", "password"],
        ),
        (
            here(),
            Some(basic("ann", &writer)),
            ["pushkey", "ann", &id(&writer)],
        ),
        (here(), bearer(&writer), ["pushkey", "ann", &id(&writer)]),
        (certified, None, ["pushkey", "ann", "certificate"]),
        (here(), bearer(&reader), ["request", "ann", &id(&reader)]),
        (
            here(),
            Some(basic("bob", &bob)),
            ["request", "bob", "password"],
        ),
    ] {
        let told = site.push(peer, login.as_deref()).await;
        assert_eq!(told, expected.map(|word| Some(word.to_owned())));
    }
    let wrong = site.push(here(), Some(&basic("ann", "wr0ng"))).await;
    assert_eq!(wrong, [Some("request".to_owned()), None, None]);
    let text = std::fs::read_to_string(&site.file).unwrap();
    for secret in [&ann, &bob, &reader[20..], &writer[20..]] {
        assert!(!text.contains(secret), "{text}");
    }
}
