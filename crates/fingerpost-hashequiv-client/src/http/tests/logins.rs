//! What is shown to servers, and to nobody else.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::IntoResponse as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::peer::{Authority, Seen, problem};
use super::*;

fn with(credential: HttpCredential, peer: &Peer) -> HttpClient {
    HttpClient::new(HttpOptions {
        credential,
        ..options(&[peer.url()])
    })
    .unwrap()
}

fn shown(seen: &[Seen]) -> Vec<Option<&str>> {
    seen.iter()
        .map(|seen| seen.header("authorization"))
        .collect()
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let peer = Peer::start(Manner::Good).await;
    let client = with(HttpCredential::BearerFile(path.clone()), &peer);
    let missing = look_up(&client, soon()).await.unwrap_err();
    assert!(
        missing.to_string().contains("token: No such file"),
        "{missing}"
    );
    std::fs::write(&path, "first\n").unwrap();
    look_up(&client, soon()).await.unwrap();
    std::fs::write(&path, "the second\n").unwrap();
    let wrong = look_up(&client, soon()).await.unwrap_err();
    assert!(wrong.to_string().ends_with("holds no token"), "{wrong}");
    std::fs::write(&path, "second").unwrap();
    look_up(&client, soon()).await.unwrap();
    assert_eq!(
        shown(&peer.seen()),
        [Some("Bearer first"), Some("Bearer second")]
    );
    assert!(client.is_up(Concern::Lookups));
}

#[tokio::test]
async fn a_refused_login_is_tried_once_more_if_there_is_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "old").unwrap();
    let rotated = path.clone();
    let peer = Peer::start(Manner::Calls(Arc::new(move |seen| {
        // While the request is on its way the token is replaced.
        std::fs::write(&rotated, "new-one").unwrap();
        match seen.header("authorization") {
            Some("Bearer new-one") => {
                let json = r#"[{"method": "m", "taskhash": "1", "unihash": null}]"#;
                ([("content-type", "application/json")], json).into_response()
            }
            _ => problem(401, &[], "wrong-login"),
        }
    })))
    .await;
    let client = with(HttpCredential::BearerFile(path), &peer);
    assert_eq!(look_up(&client, soon()).await, Ok(None));
    assert_eq!(
        shown(&peer.seen()),
        [Some("Bearer old"), Some("Bearer new-one")]
    );
    peer.behaves(Manner::Knows("Bearer something-else"));
    let refused = Err(AskError::Login("told: wrong-login".to_owned()));
    assert_eq!(look_up(&client, soon()).await, refused);
    assert_eq!(peer.seen().len(), 3);
}

#[tokio::test]
async fn a_job_of_github_shows_what_is_said_about_it() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let given = Arc::clone(&tokens);
    let github = Peer::start(Manner::Calls(Arc::new(move |_| {
        let number = given.fetch_add(1, Ordering::Relaxed);
        let json = format!("{{\"count\": 9, \"value\": \"e30.e30.{number}\"}}");
        ([("content-type", "application/json")], json).into_response()
    })))
    .await;
    let url = format!("{}/token?api-version=2", github.url());
    let environment = Environment::new(move |name| match name {
        "ACTIONS_ID_TOKEN_REQUEST_URL" => Some(url.clone()),
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN" => Some("runner".to_owned()),
        _ => None,
    });
    let peer = Peer::start(Manner::Good).await;
    let client = |source, environment| {
        let options = HttpOptions {
            credential: HttpCredential::Oidc(source),
            environment,
            ..options(&[peer.url()])
        };
        HttpClient::new(options).unwrap()
    };
    let source = OidcSource::GithubActions {
        audience: "https://farm.example".to_owned(),
    };
    let job = client(source.clone(), environment.clone());
    look_up(&job, soon()).await.unwrap();
    look_up(&job, soon()).await.unwrap();
    let [asked] = &github.seen()[..] else {
        panic!("one token is good for two questions");
    };
    assert_eq!(
        asked.path,
        "/token?api-version=2&audience=https%3A%2F%2Ffarm.example"
    );
    assert_eq!(asked.header("authorization"), Some("Bearer runner"));
    // A server that restarted with other rules is shown a new one.
    peer.behaves(Manner::Knows("Bearer e30.e30.1"));
    look_up(&job, soon()).await.unwrap();
    let [first, second, third, last] = ["e30.e30.0", "e30.e30.0", "e30.e30.0", "e30.e30.1"]
        .map(|token| Some(format!("Bearer {token}")));
    let seen = peer.seen();
    let seen: Vec<_> = shown(&seen)
        .into_iter()
        .map(|shown| shown.map(str::to_owned))
        .collect();
    assert_eq!(seen, [first, second, third, last]);
    let outside = client(source, Environment::new(|_| None));
    let error = look_up(&outside, soon()).await.unwrap_err();
    assert!(error.to_string().contains("id-token: write"), "{error}");
}

#[tokio::test]
async fn a_job_of_gitlab_shows_the_variable_that_it_was_given() {
    let token = Arc::new(parking_lot::Mutex::new(Some("e30.e30.1".to_owned())));
    let given = Arc::clone(&token);
    let environment = Environment::new(move |name| match name {
        "FINGERPOST_ID_TOKEN" => given.lock().clone(),
        _ => None,
    });
    let peer = Peer::start(Manner::Good).await;
    let source = OidcSource::Environment("FINGERPOST_ID_TOKEN".to_owned());
    let client = HttpClient::new(HttpOptions {
        credential: HttpCredential::Oidc(source),
        environment,
        ..options(&[peer.url()])
    });
    let client = client.unwrap();
    look_up(&client, soon()).await.unwrap();
    assert_eq!(shown(&peer.seen()), [Some("Bearer e30.e30.1")]);
    // Without it nobody is asked.
    for nothing in [None, Some(String::new())] {
        *token.lock() = nothing;
        let error = look_up(&client, soon()).await.unwrap_err();
        let why = "FINGERPOST_ID_TOKEN holds no token".to_owned();
        assert_eq!(error, AskError::Silent(why));
    }
    assert_eq!(peer.seen().len(), 1);
}

#[tokio::test]
async fn a_token_that_comes_late_is_shown_with_the_next_question() {
    let github = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", github.local_addr().unwrap());
    let peer = Peer::start(Manner::Good).await;
    let client = HttpClient::new(HttpOptions {
        credential: HttpCredential::Oidc(OidcSource::GithubActions {
            audience: "farm".to_owned(),
        }),
        environment: Environment::new(move |name| match name {
            "ACTIONS_ID_TOKEN_REQUEST_URL" => Some(url.clone()),
            _ => Some("runner".to_owned()),
        }),
        ..options(&[peer.url()])
    });
    let client = client.unwrap();
    let short = Instant::now() + Duration::from_millis(300);
    let late = AskError::Silent("the CI system gave no token in time".to_owned());
    let (asked, accepted) = tokio::join!(look_up(&client, short), github.accept());
    assert_eq!(asked, Err(late.clone()));
    // Nobody waits for it once more.
    assert_eq!(look_up(&client, soon()).await, Err(late));
    assert!(client.is_up(Concern::Lookups));
    let mut stream = accepted.unwrap().0;
    stream.read_u8().await.unwrap();
    let json = r#"{"value": "e30.e30.x"}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
    let answer = format!("{head}: {}\r\n\r\n{json}", json.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    let is_known = async {
        while look_up(&client, soon()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_known).await.unwrap();
    assert_eq!(shown(&peer.seen()), [Some("Bearer e30.e30.x")]);
}

#[tokio::test]
async fn a_shard_elsewhere_is_fetched_without_the_login() {
    const SHARD: &str = "application/octet-stream";
    let bucket = Peer::start(Manner::Says("binary/x", "the bytes of a shard")).await;
    let location: &'static str = Box::leak(format!("{}/s?sig=1", bucket.url()).into_boxed_str());
    let headers: &'static [_] = Box::leak(Box::new([("location", location)]));
    let peer = Peer::start(Manner::Problem(307, headers, "elsewhere")).await;
    let client = with(
        HttpCredential::Basic {
            username: "builder".to_owned(),
            token: "hunter2".to_owned(),
        },
        &peer,
    );
    let name = ShardName {
        snapshot: "a",
        sha256: "00",
    };
    let mut bytes = Vec::new();
    let written = client.shard(name, 1000, &mut bytes, soon()).await;
    assert_eq!(
        (written, &bytes[..]),
        (Ok(20), &b"the bytes of a shard"[..])
    );
    let seen = (peer.seen(), bucket.seen());
    assert_eq!(seen.0[0].path, "/v1/snapshots/a/shards/00");
    assert_eq!(shown(&seen.0), [Some("Basic YnVpbGRlcjpodW50ZXIy")]);
    assert_eq!(shown(&seen.1), [None]);
    assert_eq!(seen.1[0].path, "/s?sig=1");
    // What is longer than it may be is not taken, wherever it lies.
    let long = client
        .shard(name, 19, &mut Vec::new(), soon())
        .await
        .unwrap_err();
    assert_eq!(long.to_string(), "the shard is longer than 19 bytes");
    peer.behaves(Manner::Says(SHARD, "here"));
    let mut bytes = Vec::new();
    assert_eq!(client.shard(name, 4, &mut bytes, soon()).await, Ok(4));
    assert_eq!(bytes, b"here");
    // The place is a key, which is not told.
    drop(bucket);
    peer.behaves(Manner::Problem(307, headers, "elsewhere"));
    let gone = client
        .shard(name, 4, &mut Vec::new(), soon())
        .await
        .unwrap_err();
    assert!(!gone.to_string().contains("sig="), "{gone}");
}

#[tokio::test]
async fn a_certificate_is_shown_to_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let tls = authority.server_for_clients(&["localhost"]);
    let peer = Peer::start_tls(Manner::Good, tls).await;
    let client = |client_certificate| {
        HttpClient::new(HttpOptions {
            tls: Some(authority.trusted()),
            client_certificate,
            ..options(&[peer.url()])
        })
        .unwrap()
    };
    look_up(&client(None), soon()).await.unwrap_err();
    let shown = authority.client(directory.path());
    look_up(&client(Some(shown.clone())), soon()).await.unwrap();
    std::fs::write(&shown.key, "no key").unwrap();
    let error = look_up(&client(Some(shown)), soon()).await.unwrap_err();
    assert!(
        error.to_string().ends_with("holds no private key in PEM"),
        "{error}"
    );
    assert_eq!(peer.seen().len(), 1);
}
