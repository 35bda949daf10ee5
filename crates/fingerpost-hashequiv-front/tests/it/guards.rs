//! Limits and the audit log, through the doors.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use fingerpost_core::{Effect, Entry, Kind, PermissionSet, SystemClock};
use fingerpost_hashequiv::{Config, HashEquiv, commands};
use fingerpost_hashequiv_front::{DoorOptions, JsonDoor, JsonOptions, NativeDoor};
use fingerpost_net::audit::{Audit, AuditOptions, is_shown};
use fingerpost_net::{Admission, AdmissionOptions, Guards, Rates};
use serde_json::Value;
use tower::ServiceExt;

use crate::world::{PATIENCE, World};

/// A world behind guards, and where its audit log is.
struct Guarded {
    world: World,
    guards: Guards,
}

const FILE: &str = "audit.jsonl";
const SECRETS: [&str; 3] = ["token", "password", "outhash_siginfo"];

async fn guarded(options: AdmissionOptions) -> Guarded {
    let mut world = World::new().await;
    let audit = AuditOptions {
        file: world.directory.path().join(FILE),
        reports: true,
    };
    let guards = Guards {
        admission: Arc::new(Admission::new(options)),
        audit: Audit::start(&audit, Arc::new(SystemClock)).unwrap(),
    };
    let service = Arc::clone(&world.service);
    world.door = NativeDoor::guarded(service, DoorOptions::default(), guards.clone());
    Guarded { world, guards }
}

impl Guarded {
    /// What the door answers on a connection of its own.
    async fn say(&self, lines: &[String]) -> String {
        let mut wire = self.world.open().await;
        for line in lines {
            wire.send_line(line).await;
        }
        wire.shut().await;
        wire.rest().await
    }

    async fn audited(&self) -> Vec<Value> {
        assert!(self.guards.audit.flush(PATIENCE).await);
        let file = self.world.directory.path().join(FILE);
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// One of some requests is.
    async fn is_told_to_wait(&self, login: Option<&str>) {
        for _ in 0..50 {
            let (status, after) = self.json(PATH, login).await;
            if status == StatusCode::TOO_MANY_REQUESTS {
                assert_eq!(after.as_deref(), Some("1"));
                return;
            }
        }
        panic!("nobody is told to wait");
    }

    async fn json(&self, path: &str, login: Option<&str>) -> (StatusCode, Option<String>) {
        let service = Arc::clone(&self.world.service);
        let door = JsonDoor::guarded(service, JsonOptions::default(), self.guards.clone());
        let mut request = Request::get(path);
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, login);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = door.router().oneshot(request).await.unwrap();
        let after = response.headers().get(header::RETRY_AFTER);
        let after = after.map(|value| value.to_str().unwrap().to_owned());
        (response.status(), after)
    }
}

const PATH: &str = "/v1/statistics";

/// The request of a command's example; of a stream, that opens it.
fn request(entry: &Entry<HashEquiv>) -> String {
    let example = match entry.declaration.kind {
        Kind::Once => entry.example,
        Kind::Stream => "null",
    };
    format!("{{\"{}\": {example}}}", entry.declaration.name)
}

fn login() -> String {
    r#"{"auth": {"username": "admin", "token": "secret"}}"#.to_owned()
}

#[tokio::test]
async fn every_command_that_changes_something_is_audited_without_its_secrets() {
    let guarded = guarded(AdmissionOptions::default()).await;
    let mut told = String::new();
    let mut expected = Vec::new();
    for entry in commands().entries() {
        let name = entry.declaration.name;
        if entry.declaration.effect == Effect::None {
            continue;
        }
        expected.push(name);
        for field in entry.fields {
            let known = is_shown(field.name) || SECRETS.contains(&field.name);
            assert!(known, "{name}: is {} a secret?", field.name);
        }
        told += &guarded.say(&[login(), request(entry)]).await;
    }
    let lines = guarded.audited().await;
    let audited: Vec<_> = lines.iter().map(|line| &line["command"]).collect();
    assert_eq!(audited, expected);
    assert!(lines.iter().all(|line| line["user"] == "admin"
        && line["credential"] == "password"
        && line["door"] == "native"));
    let text = serde_json::to_string(&lines).unwrap();
    let tokens: Vec<_> = told
        .split("\"token\": \"")
        .chain(told.split("\"token\":\""))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|token| token.len() > 20)
        .collect();
    assert!(!tokens.is_empty(), "{told}");
    assert!(tokens.iter().all(|token| !text.contains(token)));
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn siginfo_is_not_in_the_audit_log() {
    let guarded = guarded(AdmissionOptions::default()).await;
    let hash = "1".repeat(64);
    let report = format!(
        r#"{{"report": {{"method": "m", "taskhash": "{hash}", "outhash": "{hash}", "unihash": "{hash}", "PN": "zlib", "outhash_siginfo": "a listing"}}}}"#
    );
    guarded.say(&[report]).await;
    let lines = guarded.audited().await;
    assert_eq!(lines[0]["argument"]["PN"], "zlib");
    assert_eq!(lines[0]["argument"]["outhash_siginfo"], "(not shown)");
    assert_eq!(lines[0]["outcome"], "done");
}

#[tokio::test]
async fn every_denial_is_audited() {
    let mut guarded = guarded(AdmissionOptions::default()).await;
    let config = Config {
        anonymous: PermissionSet::NONE,
        ..Config::default()
    };
    let world = World::with_anonymous_as_configured(config).await;
    let service = Arc::clone(&world.service);
    let guards = guarded.guards.clone();
    guarded.world.door = NativeDoor::guarded(service, DoorOptions::default(), guards);
    let mut expected = Vec::new();
    for entry in commands().entries() {
        if !entry.declaration.access.needs.is_empty() {
            expected.push(entry.declaration.name);
            guarded.say(&[request(entry)]).await;
        }
    }
    let lines = guarded.audited().await;
    let audited: Vec<_> = lines.iter().map(|line| &line["command"]).collect();
    assert_eq!(audited, expected);
    for line in &lines {
        assert_eq!(
            (&line["outcome"], &line["code"]),
            (&"denied".into(), &"permission".into())
        );
    }
}

#[tokio::test]
async fn over_http_who_asks_too_often_is_told_when_to_come_again() {
    let guarded = guarded(AdmissionOptions {
        cheap: Rates {
            per_address: 1,
            per_user: 0,
        },
        burst_seconds: 1,
        ..AdmissionOptions::default()
    })
    .await;
    assert_eq!(guarded.json(PATH, None).await.0, StatusCode::OK);
    guarded.is_told_to_wait(None).await;
}

#[tokio::test]
async fn over_the_native_protocol_who_asks_too_often_waits() {
    let guarded = guarded(AdmissionOptions {
        dear: Rates {
            per_address: 10,
            per_user: 0,
        },
        burst_seconds: 1,
        ..AdmissionOptions::default()
    })
    .await;
    let started = std::time::Instant::now();
    let request = r#"{"gc-status": null}"#.to_owned();
    let answers = guarded.say(&vec![request; 15]).await;
    assert_eq!(answers.lines().count(), 15, "{answers}");
    assert!(started.elapsed() >= Duration::from_millis(400));
}
