//! Limits and the audit log, through the doors.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fingerpost_core::{Effect, Entry, Kind, Permission, PermissionSet, SystemClock};
use fingerpost_hashequiv::{Config, HashEquiv, commands};
use fingerpost_hashequiv_front::{DoorOptions, JsonDoor, JsonOptions, NativeDoor, openapi};
use fingerpost_net::audit::{Audit, AuditOptions, is_shown};
use fingerpost_net::{Admission, AdmissionOptions, Guards, Peer, PeerAddress, Rates};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{HANDSHAKE, PATIENCE, World, peer};

/// A world behind guards, and where its audit log is.
struct Guarded {
    world: World,
    guards: Guards,
}

const FILE: &str = "audit.jsonl";
const SECRETS: [&str; 3] = ["token", "password", "outhash_siginfo"];

async fn guarded(options: AdmissionOptions) -> Guarded {
    guarded_world(World::new().await, options)
}

/// Anonymous callers have these permissions.
async fn guarded_for(anonymous: PermissionSet, config: Config) -> Guarded {
    let config = Config {
        anonymous,
        ..config
    };
    let world = World::with_anonymous_as_configured(config).await;
    guarded_world(world, AdmissionOptions::default())
}

fn guarded_world(mut world: World, options: AdmissionOptions) -> Guarded {
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

    /// One of some requests is; says how many there were.
    async fn is_told_to_wait(&self, login: Option<&str>) -> usize {
        for asked in 1..=50 {
            let (status, after) = self.json(PATH, login).await;
            if status == StatusCode::TOO_MANY_REQUESTS {
                let after: u64 = after.unwrap().parse().unwrap();
                assert!((1..=60).contains(&after), "{after}");
                return asked;
            }
        }
        panic!("nobody is told to wait");
    }

    async fn ask(&self, mut request: Request<Body>, from: Peer) -> Response {
        let service = Arc::clone(&self.world.service);
        let door = JsonDoor::guarded(service, JsonOptions::default(), self.guards.clone());
        request.extensions_mut().insert(from);
        door.router().oneshot(request).await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> StatusCode {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(body.to_string().into()).unwrap();
        self.ask(request, here()).await.status()
    }

    async fn json(&self, path: &str, login: Option<&str>) -> (StatusCode, Option<String>) {
        let mut request = Request::get(path);
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, login);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.ask(request, here()).await;
        let after = response.headers().get(header::RETRY_AFTER);
        let after = after.map(|value| value.to_str().unwrap().to_owned());
        (response.status(), after)
    }
}

const PATH: &str = "/v1/statistics";
/// `admin:secret`.
const ADMIN: &str = "Basic YWRtaW46c2VjcmV0";
/// `admin:wrong`.
const WRONG_ADMIN: &str = "Basic YWRtaW46d3Jvbmc=";

fn here() -> Peer {
    peer(PeerAddress::Unnamed)
}

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
    let guarded = guarded_for(PermissionSet::NONE, Config::default()).await;
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
async fn every_denial_over_http_is_audited() {
    let guarded = guarded_for(PermissionSet::NONE, Config::default()).await;
    let document = openapi();
    let mut denied = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (verb, operation) in operations.as_object().unwrap() {
            let about = operation["description"].as_str().unwrap_or_default();
            if about.starts_with("Needs no permission") || !path.starts_with("/v1") {
                continue;
            }
            let response = guarded.ask(request_of(verb, path, operation), here()).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{verb} {path}");
            denied.push(format!("{verb} {path}"));
            let lines = guarded.audited().await;
            assert_eq!(lines.len(), denied.len(), "{verb} {path}");
            let line = &lines[lines.len() - 1];
            let told = (&line["outcome"], &line["code"], &line["door"]);
            let expected = ("denied".into(), "permission".into(), "json".into());
            assert_eq!(told, (&expected.0, &expected.1, &expected.2));
            let id = response.headers()["x-request-id"].to_str().unwrap();
            assert_eq!(line["request_id"], id);
        }
    }
    assert!(denied.len() > 35, "{denied:?}");
}

/// A request of an operation in the description that lacks nothing.
fn request_of(verb: &str, path: &str, operation: &Value) -> Request<Body> {
    let part = |part: &str| match part.strip_prefix('{') {
        Some(_) => "1".repeat(64),
        None => part.to_owned(),
    };
    let path: Vec<_> = path.split('/').map(part).collect();
    let request = Request::builder()
        .method(&*verb.to_uppercase())
        .uri(path.join("/"))
        .header(header::CONTENT_TYPE, "application/json");
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    request.body(filled(schema).to_string().into()).unwrap()
}

/// Something of this form.
fn filled(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("object") => {
            let names = schema["required"].as_array().into_iter().flatten();
            let names = names.filter_map(Value::as_str);
            let fields = names.map(|name| (name.to_owned(), filled(&schema["properties"][name])));
            fields.collect()
        }
        Some("array") => json!([]),
        Some("boolean") => json!(true),
        Some("number") => json!(1),
        _ => json!("1".repeat(64)),
    }
}

#[tokio::test]
async fn a_report_that_is_not_stored_is_audited_as_such() {
    let reader = PermissionSet::of(&[Permission::Read]);
    let guarded = guarded_for(reader, Config::default()).await;
    let hash = "1".repeat(64);
    let report = json!({"method": "m", "taskhash": hash, "outhash": hash, "unihash": hash});
    for command in ["report", "report-signed"] {
        guarded.say(&[json!({command: report}).to_string()]).await;
    }
    let many = json!([report]);
    for (path, body) in [
        ("/v1/reports", &report),
        ("/v1/reports/signed", &report),
        ("/v1/reports/batch", &many),
        ("/v1/reports/signed/batch", &many),
    ] {
        assert_eq!(guarded.post(path, body).await, StatusCode::OK, "{path}");
    }
    let lines = guarded.audited().await;
    let outcomes: Vec<_> = lines.iter().map(|line| &line["outcome"]).collect();
    assert_eq!(outcomes, ["unstored"; 6]);
}

#[tokio::test]
async fn what_a_read_only_server_does_not_have_is_audited_over_http() {
    let config = Config {
        read_only: true,
        ..Config::default()
    };
    let guarded = guarded_for(PermissionSet::of(&[Permission::All]), config).await;
    let hash = "1".repeat(64);
    let equivalence = json!({"method": "m", "taskhash": hash, "unihash": hash});
    let row = json!({
        "namespace": "default", "method": "m", "taskhash": hash, "outhash": hash,
        "unihash": hash,
        "signature": format!("hmac-sha256:01532beb1c02694f:1795000000:{}", "A".repeat(43)),
    });
    for (path, body, command) in [
        ("/v1/equivalences", &equivalence, "report-equiv"),
        ("/v1/signatures", &json!([row]), "put-signatures"),
    ] {
        assert_eq!(guarded.post(path, body).await, StatusCode::FORBIDDEN);
        let lines = guarded.audited().await;
        let line = &lines[lines.len() - 1];
        let told = ["outcome", "code", "command"].map(|name| line[name].as_str());
        assert_eq!(told, [Some("denied"), Some("read-only"), Some(command)]);
    }
}

#[tokio::test]
async fn logins_that_others_could_read_are_audited() {
    let guarded = guarded(AdmissionOptions::default()).await;
    let elsewhere = || peer(PeerAddress::Tcp("192.0.2.1:5".parse().unwrap()));
    let mut wire = guarded.world.connect_from(elsewhere(), 1 << 20, PATIENCE);
    wire.send(HANDSHAKE).await;
    wire.send_line(&login()).await;
    wire.shut().await;
    wire.rest().await;
    let request = Request::get(PATH).header(header::AUTHORIZATION, ADMIN);
    let request = request.body(Body::empty()).unwrap();
    let response = guarded.ask(request, elsewhere()).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let lines = guarded.audited().await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(line["code"], "plaintext-login");
        assert_eq!(line["argument"]["username"], "admin");
    }
    assert!(!serde_json::to_string(&lines).unwrap().contains("secret"));
}

#[tokio::test]
async fn wrong_logins_are_audited_and_slow_down_nobody_but_their_pair() {
    let guarded = guarded(AdmissionOptions::default()).await;
    let permissions = PermissionSet::of(&[Permission::Read]);
    let made = guarded.world.service.accounts().create("ci", permissions);
    let right = made.await.unwrap().unwrap();
    let right = format!(
        "Basic {}",
        STANDARD.encode(format!("ci:{}", right.reveal()))
    );
    let wrong = r#"{"auth": {"username": "admin", "token": "wr0ng"}}"#.to_owned();
    let mut answer = String::new();
    let mut looked_at = 0;
    // A slow machine gets some for the time that it takes.
    while looked_at < 50 && !answer.contains("too many failed logins") {
        answer = guarded.say(std::slice::from_ref(&wrong)).await;
        looked_at += usize::from(answer.contains("Unable to authenticate"));
    }
    assert!(answer.contains("too many failed logins"), "{answer}");
    let lines = guarded.audited().await;
    let codes: Vec<_> = lines.iter().map(|line| &line["code"]).collect();
    assert_eq!(codes.len(), looked_at + 1);
    assert!(codes[..looked_at].iter().all(|code| *code == "bad-login"));
    assert_eq!(codes[looked_at], "too-many-failed-logins");
    assert!(!serde_json::to_string(&lines).unwrap().contains("wr0ng"));
    let before = lines.len();
    let asked = guarded.is_told_to_wait(Some(WRONG_ADMIN)).await;
    let lines = guarded.audited().await;
    assert_eq!(lines.len(), before + asked);
    let line = &lines[lines.len() - 1];
    assert_eq!(line["code"], "too-many-failed-logins");
    assert_eq!(line["argument"], json!({"username": "admin"}));
    for login in [Some(&*right), None] {
        assert_eq!(guarded.json(PATH, login).await.0, StatusCode::OK);
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

fn reports(numbers: std::ops::Range<u32>) -> Vec<Value> {
    let report = |number| {
        let hash = format!("{number:064x}");
        json!({"method": "m", "taskhash": hash, "outhash": hash, "unihash": hash})
    };
    numbers.map(report).collect()
}

/// Reports at 100 a second and as many at once, and one look-up a second.
async fn slow_for_reports() -> Guarded {
    let rates = |per_address| Rates {
        per_address,
        per_user: 0,
    };
    guarded(AdmissionOptions {
        cheap: rates(1),
        reports: rates(100),
        burst_seconds: 1,
        ..AdmissionOptions::default()
    })
    .await
}

#[tokio::test]
async fn many_reports_over_their_rate_wait_for_their_turn_and_cost_no_look_ups() {
    let guarded = slow_for_reports().await;
    let started = std::time::Instant::now();
    let array = Value::from(reports(0..150));
    let status = guarded.post("/v1/reports/batch", &array).await;
    assert_eq!(status, StatusCode::OK);
    assert!(started.elapsed() >= Duration::from_millis(400));
    let lines: Vec<_> = reports(150..180).iter().map(Value::to_string).collect();
    let request = Request::post("/v1/reports/signed/batch");
    let request = request.header(header::CONTENT_TYPE, "application/x-ndjson");
    let request = request.body(lines.join("\n").into()).unwrap();
    let response = guarded.ask(request, here()).await;
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
    assert_eq!(body.lines().count(), 30, "{body}");
    assert!(started.elapsed() >= Duration::from_millis(700));
    let audited = guarded.audited().await;
    assert_eq!(audited.len(), 180);
    assert!(audited.iter().all(|line| line["outcome"] == "done"));
    assert_eq!(guarded.json(PATH, None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_array_of_reports_that_would_take_minutes_is_refused_before_any_is_stored() {
    let guarded = slow_for_reports().await;
    let array = Value::from(reports(0..6101));
    let status = guarded.post("/v1/reports/batch", &array).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(guarded.audited().await.len(), 0);
}

#[tokio::test]
async fn each_of_many_signatures_is_charged_as_a_report() {
    let guarded = slow_for_reports().await;
    let hash = "1".repeat(64);
    let row = json!({
        "namespace": "default", "method": "m", "taskhash": hash, "outhash": hash,
        "unihash": hash,
        "signature": format!("hmac-sha256:01532beb1c02694f:1795000000:{}", "A".repeat(43)),
    });
    let started = std::time::Instant::now();
    let array = Value::from(vec![row; 150]);
    assert_eq!(guarded.post("/v1/signatures", &array).await, StatusCode::OK);
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(guarded.json(PATH, None).await.0, StatusCode::OK);
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
