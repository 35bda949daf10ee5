//! What is read beside look-ups.

use axum::response::IntoResponse as _;

use super::peer::{Authority, problem};
use super::*;

const HISTORY: &str = "000102030405060708090a0b0c0d0e0f/77";

#[tokio::test]
async fn many_look_ups_go_compressed_and_their_answers_are_of_one_epoch() {
    let peer = Peer::start(Manner::Calls(Arc::new(|seen| {
        let is_long = seen.body.len() > 1000;
        assert_eq!(seen.header("content-encoding"), is_long.then_some("zstd"));
        assert_eq!(seen.header("accept-encoding"), Some("zstd"));
        let tasks: Vec<serde_json::Value> = serde_json::from_slice(&seen.body).unwrap();
        let answers: Vec<_> = tasks
            .into_iter()
            .map(|mut task| {
                task["unihash"] = serde_json::Value::Null;
                task
            })
            .collect();
        let json = serde_json::to_vec(&answers).unwrap();
        let headers = [
            ("content-type", "application/json; charset=utf-8"),
            ("content-encoding", "zstd"),
            ("fingerpost-deletion-epoch", HISTORY),
        ];
        (headers, zstd::encode_all(&json[..], 3).unwrap()).into_response()
    })))
    .await;
    let tasks: Vec<_> = (0..100_001)
        .map(|number| Task::parse("m", &format!("{number}/ü\"")))
        .collect();
    let said = client(&[peer.url()])
        .unihashes(&tasks, soon())
        .await
        .unwrap();
    assert_eq!(said.value.len(), tasks.len());
    assert_eq!(said.epoch, Some(HISTORY.parse().unwrap()));
    assert_eq!(peer.seen().len(), 2);
    let said = client(&[peer.url()]).unihashes(&[], soon()).await;
    assert_eq!(said.unwrap().value, []);
}

#[tokio::test]
async fn within_tls_all_that_is_asked_shares_one_connection_of_http_2() {
    let authority = Authority::new();
    let row = r#"{"method":"m","taskhash":"1","unihash":"d"}"#;
    let answers = move |seen: &peer::Seen| {
        let (media_type, body) = match seen.path.split('?').next() {
            Some("/v1/lookups") => ("application/json", format!("[{row}]")),
            Some("/v1/changes") => ("application/x-ndjson", "{\"end\": 9}\n".to_owned()),
            _ => ("application/json", row.to_owned()),
        };
        ([("content-type", media_type)], body).into_response()
    };
    let tls = authority.server(&["localhost"], false);
    let peer = Peer::start_tls(Manner::Calls(Arc::new(answers)), tls).await;
    let client = HttpClient::new(HttpOptions {
        tls: Some(authority.trusted()),
        ..options(&[peer.url()])
    });
    let client = client.unwrap();
    look_up(&client, soon()).await.unwrap();
    let (found, reported, changes, listing) = tokio::join!(
        look_up(&client, soon()),
        client.report(row, soon()),
        client.changes(WantedChanges::default(), soon()),
        client.snapshots(soon()),
    );
    assert!(found.is_ok());
    assert_eq!(reported.unwrap().value, row);
    assert!(matches!(changes, Ok(Changes::Told(_))) && listing.is_ok());
    let versions: Vec<_> = peer.seen().iter().map(|seen| seen.version).collect();
    assert_eq!(versions, [axum::http::Version::HTTP_2; 5]);
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn nothing_is_null_and_a_place_that_there_is_not_is_told() {
    let peer = Peer::start(Manner::Calls(Arc::new(|seen| match &*seen.path {
        "/hash/ns/a/v1/outputs/m/a%2Fb" => {
            let header = [("fingerpost-deletion-epoch", HISTORY)];
            problem(404, &header, "unknown-task")
        }
        _ => problem(404, &[], "no-such-namespace"),
    })))
    .await;
    let url = format!("{}/hash/", peer.url());
    let client = HttpClient::new(HttpOptions {
        namespace: Some("a".to_owned()),
        ..options(&[url])
    });
    let client = client.unwrap();
    let said = client.output("m", "a/b", soon()).await.unwrap();
    assert_eq!(
        (&*said.value, said.epoch),
        ("null", Some(HISTORY.parse().unwrap()))
    );
    let told = AskError::Told("told: no-such-namespace".to_owned());
    let argument = r#"{"method": "m", "outhash": "o", "taskhash": null, "with_unihash": 0}"#;
    assert_eq!(client.outhash(argument, soon()).await, Err(told));
    let asked = peer.seen().pop().unwrap().path;
    assert_eq!(asked, "/hash/ns/a/v1/outhashes/m/o?with_unihash=false");
    assert_eq!(
        client.output("..", "a", soon()).await.unwrap().value,
        "null"
    );
}

#[tokio::test]
async fn what_no_url_can_name_is_nothing_and_no_fault_of_the_server() {
    let peer = Peer::start(Manner::Good).await;
    let client = client(&[peer.url()]);
    for name in ["x".repeat(40_000), "x".repeat(100_000)] {
        let output = client.output("m", &name, soon()).await.unwrap();
        assert_eq!(output.value, "null");
        let argument = serde_json::json!({"method": "m", "outhash": "o", "taskhash": name});
        let outhash = client.outhash(&argument.to_string(), soon()).await;
        assert_eq!(outhash.unwrap().value, "null");
    }
    assert!(peer.seen().is_empty() && client.is_up(Concern::Lookups));
}

#[tokio::test]
async fn changes_come_while_they_are_told_or_are_gone() {
    let peer = Peer::start(Manner::Calls(Arc::new(|seen| match &*seen.path {
        "/v1/changes?since=7&limit=100&only=deletions&wait=2" => {
            let headers = [
                ("content-type", "application/x-ndjson"),
                ("fingerpost-deletion-epoch", HISTORY),
            ];
            (headers, "{\"since\": 7}\n{\"end\": 9}\n").into_response()
        }
        _ => problem(410, &[], "changes-gone"),
    })))
    .await;
    let client = client(&[peer.url()]);
    let wanted = WantedChanges {
        since: Some(7),
        deletions_only: true,
        limit: Some(100),
        wait: Duration::from_secs(2),
    };
    let told = client.changes(wanted, soon()).await.unwrap();
    let Changes::Told(mut stream) = told else {
        panic!("they are told");
    };
    assert_eq!(stream.epoch(), Some(HISTORY.parse().unwrap()));
    assert_eq!(stream.address(), peer.url());
    let mut all = Vec::new();
    while let Some(piece) = stream.next(soon()).await.unwrap() {
        all.extend_from_slice(&piece);
    }
    assert_eq!(all, b"{\"since\": 7}\n{\"end\": 9}\n");
    let told = client.changes(WantedChanges::default(), soon());
    let told = told.await.unwrap();
    assert!(matches!(told, Changes::Gone(why) if why == "told: changes-gone"));
    assert_eq!(peer.seen().pop().unwrap().path, "/v1/changes");
}

#[tokio::test]
async fn files_of_snapshots_are_bounded_and_none_is_none() {
    let peer = Peer::start(Manner::Says("application/json", "{\"shards\": []}")).await;
    let client = client(&[peer.url()]);
    let manifest = client.manifest("latest", soon()).await.unwrap();
    assert_eq!(manifest.as_deref(), Some(&b"{\"shards\": []}"[..]));
    peer.behaves(Manner::Problem(404, &[], "not-published"));
    assert_eq!(client.manifest_signature("latest", soon()).await, Ok(None));
    peer.behaves(Manner::Endless);
    let error = client.snapshots(soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "the answer is longer than 8388608 bytes");
    // None of it keeps look-ups from being asked.
    assert!(client.is_up(Concern::Lookups));
}
