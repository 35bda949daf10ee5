//! The client of `/v1` against the door itself.

use axum::Router;
use fingerpost_core::{Permission, PermissionSet};
use fingerpost_hashequiv_client::AskError;
use fingerpost_hashequiv_client::Proxies;
use fingerpost_hashequiv_client::http::{
    Changes, Concern, Environment, HttpClient, HttpCredential, HttpOptions, ShardName,
    WantedChanges,
};
use fingerpost_hashequiv_proto::types::{Task, Unihash};
use fingerpost_net::{BindOptions, Metrics, Server, ServerOptions, bind};
use fingerpost_signatures::{KeyId, Row, SigningKey, UnixTime};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Json, METHOD, hash};
use crate::world::PATIENCE;

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Listens on a free port with these routes; gives its URL.
fn listen(json: &Json, router: Router) -> String {
    let listener = bind(&"127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
    let address = listener.client_address();
    let (metrics, shutdown) = (Metrics::new().into(), json.world.shutdown.clone());
    let server = Server::new(
        json.world.door.clone(),
        ServerOptions::default(),
        metrics,
        shutdown,
    );
    tokio::spawn(server.router(router).listen(listener).run());
    format!("http://{address}")
}

fn task(taskhash: &str) -> Task {
    Task::parse(METHOD, taskhash)
}

fn client(url: &str, credential: HttpCredential) -> HttpClient {
    HttpClient::new(HttpOptions {
        credential,
        proxies: Proxies::none(),
        environment: Environment::new(|_| None),
        ..HttpOptions::to(vec![url.parse().unwrap()])
    })
    .unwrap()
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn unihash(digit: char) -> Option<Unihash> {
    Some(Unihash::parse(&hash(digit)))
}

#[tokio::test]
async fn what_is_reported_is_looked_up() {
    let json = Json::new().await;
    let url = listen(&json, json.router.clone());
    let client = client(&url, HttpCredential::None);
    let (one, two) = (hash('1'), hash('2'));
    let report = json!({
        "method": METHOD, "taskhash": one, "outhash": hash('a'), "unihash": hash('d'),
        "PN": "zlib", "PV": 7, "owner": null, "not-a-field": [1, 2],
        "outhash_siginfo": "a listing\n".repeat(1000),
    });
    let row = client
        .report(&report.to_string(), soon())
        .await
        .unwrap()
        .value;
    let expect = json!({"method": METHOD, "taskhash": one, "unihash": hash('d')});
    assert_eq!(value(&row), expect);
    let equiv = json!({"method": METHOD, "taskhash": two, "unihash": hash('e')});
    let row = client
        .report_equiv(&equiv.to_string(), soon())
        .await
        .unwrap()
        .value;
    assert_eq!(value(&row), equiv);

    let tasks = [
        task(&one),
        task(&two),
        task("unknown"),
        Task::parse("é\"", "\\"),
    ];
    let found = client.unihashes(&tasks, soon()).await.unwrap().value;
    assert_eq!(found, [unihash('d'), unihash('e'), None, None]);
    let known = client.exist(&[hash('d'), hash('f')], soon()).await;
    assert_eq!(known, Ok(vec![true, false]));
    let many: Vec<_> = (0..20_000)
        .map(|number| task(&format!("{number:064x}")))
        .collect();
    let found = client.unihashes(&many, soon()).await.unwrap().value;
    assert_eq!(found.iter().flatten().count(), 0);
    assert_eq!(found.len(), many.len());

    let row = value(&client.output(METHOD, &one, soon()).await.unwrap().value);
    assert_eq!((&row["PN"], &row["PV"]), (&json!("zlib"), &json!("7")));
    assert_eq!(row["unihash"], hash('d'));
    let argument = json!({"method": METHOD, "outhash": hash('a'), "taskhash": two});
    let found = client
        .outhash(&argument.to_string(), soon())
        .await
        .unwrap()
        .value;
    assert_eq!(value(&found)["taskhash"], one);
    assert_eq!(
        client.output(METHOD, "a/b", soon()).await.unwrap().value,
        "null"
    );
}

#[tokio::test]
async fn a_refusal_is_in_the_servers_words() {
    let json = Json::new().await;
    let url = listen(&json, json.router.clone());
    let asking = client(&url, HttpCredential::None);
    let short = json!({"method": METHOD, "taskhash": "1", "unihash": "d"});
    let refused = asking.report_equiv(&short.to_string(), soon()).await;
    assert!(matches!(refused, Err(AskError::Told(why)) if why == "Invalid unihash"));
    let lacking = asking.report("{\"method\": \"m\"}", soon()).await;
    assert!(matches!(lacking, Err(AskError::Told(why)) if why.ends_with("is missing")));
    let elsewhere = client(&format!("{url}/ns/elsewhere"), HttpCredential::None);
    let refused = elsewhere.unihashes(&[task("1")], soon()).await;
    assert!(matches!(refused, Err(AskError::Told(_))), "{refused:?}");
    let stranger = HttpCredential::Basic {
        username: "nobody".to_owned(),
        token: "wrong".to_owned(),
    };
    let refused = client(&url, stranger).unihashes(&[task("1")], soon()).await;
    assert!(matches!(refused, Err(AskError::Login(why)) if why == "Unauthorized"));
    assert!(asking.is_up(Concern::Lookups) && asking.is_up(Concern::Reports));
    let permissions = PermissionSet::of(&[Permission::Read]);
    let made = json.world.service.accounts().create("builder", permissions);
    let user = HttpCredential::Basic {
        username: "builder".to_owned(),
        token: made.await.unwrap().unwrap().reveal().to_owned(),
    };
    let said = client(&url, user).unihashes(&[task("1")], soon()).await;
    assert_eq!(said.unwrap().value, [None]);
}

#[tokio::test]
async fn signatures_and_the_rows_that_they_are_of() {
    let json = Json::new().await;
    let url = listen(&json, json.router.clone());
    let client = client(&url, HttpCredential::None);
    let report = |taskhash: char, unihash: char| {
        json!({
            "method": METHOD, "taskhash": hash(taskhash), "outhash": hash('a'),
            "unihash": hash(unihash), "task": "do_compile",
        })
        .to_string()
    };
    client.report(&report('1', 'd'), soon()).await.unwrap();
    let reported = client
        .report_signed(&report('2', 'e'), soon())
        .await
        .unwrap()
        .value;
    assert_eq!(Some(reported.unihash), unihash('d'));
    let evidence = reported.evidence.unwrap();
    assert_eq!(evidence.taskhash.to_text(), hash('1'));
    let row = Row {
        namespace: evidence.namespace.clone(),
        method: METHOD.into(),
        taskhash: evidence.taskhash.clone(),
        outhash: hash('a').as_str().into(),
        unihash: evidence.unihash.clone(),
    };
    let key = SigningKey::hmac_sha256(KeyId::from_bytes([1; 8]), &[1; 32]);
    let signature = key.sign(&row, UnixTime::MAX).to_string();
    client
        .put_signature(&evidence, &signature, soon())
        .await
        .unwrap();
    let tasks = [task(&hash('9')), task(&hash('1'))];
    let signed = client.signed(&tasks, soon()).await.unwrap().value;
    let [None, Some(found)] = &signed[..] else {
        panic!("one is known: {signed:?}");
    };
    assert_eq!(found.signatures, std::slice::from_ref(&signature));
    let mut other = evidence;
    other.unihash = hash('e').as_str().into();
    let refused = client.put_signature(&other, &signature, soon()).await;
    assert_eq!(
        refused,
        Err(AskError::Told("signature-mismatch".to_owned()))
    );
}

#[tokio::test]
async fn snapshots_and_changes_come_as_they_are() {
    let json = super::snapshots::door(false, None).await;
    let url = listen(&json, json.router.clone());
    let client = client(&url, HttpCredential::None);
    let position = json.world.service.cut().await.unwrap().position;
    json.world.fill(3).await;
    let manifest = json.cut().await;
    let name = super::snapshots::NAME;
    let all = client.snapshots(soon()).await.unwrap();
    let all: Value = serde_json::from_slice(&all).unwrap();
    assert_eq!(all["snapshots"][0]["name"], name);
    let told = client.manifest("latest", soon()).await.unwrap().unwrap();
    assert_eq!(
        told,
        std::fs::read(json.path().join("manifest.json")).unwrap()
    );
    assert_eq!(client.manifest_signature(name, soon()).await, Ok(None));
    assert_eq!(client.manifest("none", soon()).await, Ok(None));
    let (_, shard) = manifest.shards().next().unwrap();
    let named = ShardName {
        snapshot: name,
        sha256: &shard.sha256.to_string(),
    };
    let mut bytes = Vec::new();
    client
        .shard(named, 1 << 20, &mut bytes, soon())
        .await
        .unwrap();
    assert_eq!(fingerpost_snapshot::Digest::of(&bytes), shard.sha256);

    let since = |since| WantedChanges {
        since: Some(since),
        ..WantedChanges::default()
    };
    let told = client.changes(since(position), soon()).await.unwrap();
    let Changes::Told(mut stream) = told else {
        panic!("they are told");
    };
    let mut lines = Vec::new();
    while let Some(piece) = stream.next(soon()).await.unwrap() {
        lines.extend_from_slice(&piece);
    }
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(lines.lines().count(), 5, "{lines}");
    assert!(lines.lines().last().unwrap().contains("\"end\""));
    let gone = client.changes(since(1 << 50), soon()).await.unwrap();
    assert!(matches!(gone, Changes::Gone(why) if why.contains("another snapshot")));
}
