//! Servers that fail, and those that are asked instead.

use axum::response::IntoResponse as _;
use tokio::net::TcpListener;

use super::peer::{Authority, problem};
use super::*;

/// A deadline that lets a silent server be given up, and another one be asked.
const SHORT: Duration = Duration::from_secs(4);

/// Asks a server that is no good, with a good one behind it.
async fn pass_over(bad: &str, tls: Option<Arc<rustls::ClientConfig>>) {
    let good = Peer::start(Manner::Good).await;
    let client = HttpClient::new(HttpOptions {
        tls,
        ..options(&[bad.to_owned(), good.url()])
    });
    let client = client.unwrap();
    assert_eq!(client.address(), bad);
    let found = look_up(&client, Instant::now() + SHORT).await;
    assert_eq!(found, Ok(Some(unihash())), "{bad}");
    assert_eq!(client.address(), good.url(), "{bad}");
    assert!(client.is_up(Concern::Lookups) && client.trouble(Concern::Lookups).is_none());
    assert_eq!(good.seen().len(), 1);
}

async fn pass_over_one_that(manner: Manner) {
    let bad = Peer::start(manner).await;
    pass_over(&bad.url(), None).await;
    assert!(!bad.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_passed_over() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = refusing.local_addr().unwrap().port();
    // One that lets connections queue, and takes none.
    pass_over(&format!("http://127.0.0.1:{port}"), None).await;
    drop(refusing);
    pass_over(&format!("http://127.0.0.1:{port}"), None).await;
}

#[tokio::test]
async fn a_server_that_is_silent_is_passed_over() {
    let silent = Peer::start(Manner::Silent).await;
    pass_over(&silent.url(), None).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_no_answer() {
    const JSON: &str = "application/json";
    for manner in [
        Manner::Short,
        Manner::Endless,
        Manner::Says(JSON, "[{]"),
        Manner::Says(JSON, "{}"),
        Manner::Says(
            JSON,
            r#"[{"method": "m", "taskhash": "2", "unihash": null}]"#,
        ),
        Manner::Says("text/html", "<html>Please accept our terms</html>"),
        Manner::Problem(500, &[], "internal"),
        Manner::Problem(503, &[("retry-after", "30")], "busy"),
        Manner::Problem(429, &[("retry-after", "30")], "rate"),
        Manner::Problem(307, &[("location", "http://localhost/login")], "captive"),
        // Not in our words.
        Manner::Problem(403, &[("content-type", "text/html")], "blocked"),
        Manner::Problem(
            200,
            &[("content-type", JSON), ("content-encoding", "zstd")],
            "torn",
        ),
        Manner::Problem(
            200,
            &[("content-type", JSON), ("content-encoding", "br")],
            "other",
        ),
    ] {
        pass_over_one_that(manner).await;
    }
}

#[tokio::test]
async fn of_what_makes_no_sense_a_sentence_is_told() {
    let text: &'static str = Box::leak(format!("[\"{}\"]", "x".repeat(50_000)).into_boxed_str());
    let bad = Peer::start(Manner::Says("application/json", text)).await;
    let client = client(&[bad.url()]);
    let error = look_up(&client, soon()).await.unwrap_err().to_string();
    assert!(error.contains("xxx") && error.len() <= 1000, "{error}");
    assert_eq!(client.trouble(Concern::Lookups).unwrap().why, error);
}

/// Whoever keeps reports for later has to know which of them may go another time.
#[tokio::test]
async fn what_is_wrong_with_one_report_is_told_from_a_server_that_is_away() {
    let row = r#"{"method":"m","taskhash":"1"}"#;
    let asked = async |manner| {
        let peer = Peer::start(manner).await;
        client(&[peer.url()]).report(row, soon()).await.unwrap_err()
    };
    let html = &[("content-type", "text/html")];
    let error = asked(Manner::Problem(500, html, "odd")).await;
    assert!(matches!(error, AskError::Senseless(_)), "{error:?}");
    for status in [502, 503, 429] {
        let error = asked(Manner::Problem(status, &[], "later")).await;
        assert!(matches!(error, AskError::Silent(_)), "{error:?}");
    }
    for (status, code) in [
        (401, "wrong-login"),
        (401, "login-needed"),
        (403, "plaintext-login"),
    ] {
        let error = asked(Manner::Problem(status, &[], code)).await;
        assert_eq!(error, AskError::Login(format!("told: {code}")));
    }
}

#[tokio::test]
async fn what_is_too_long_for_a_proxy_can_never_pass() {
    let row = r#"{"method":"m","taskhash":"1","unihash":"d"}"#;
    let html = &[("content-type", "text/html")];
    let proxy = Peer::start(Manner::Problem(413, html, "long")).await;
    let error = client(&[proxy.url()]).report(row, soon()).await;
    let why = "it answers 413 Payload Too Large, not in Fingerpost's words";
    assert_eq!(error, Err(AskError::Told(why.to_owned())));
    // Nor is it held against the server behind it, and another one may take it.
    let other = Peer::start(Manner::Says("application/json", row)).await;
    let client = client(&[proxy.url(), other.url()]);
    assert_eq!(client.report(row, soon()).await.unwrap().value, row);
    assert!(client.trouble(Concern::Reports).is_none());
    assert_eq!(client.address(), proxy.url());
    client.report(row, soon()).await.unwrap();
    assert_eq!(proxy.seen().len(), 3);
}

#[tokio::test]
async fn answers_in_another_order_are_none() {
    let bad = Peer::start(Manner::Disordered).await;
    let client = client(&[bad.url()]);
    let tasks = ["1", "2"].map(|taskhash| Task::parse("m", taskhash));
    let asked = client.unihashes(&tasks, soon()).await;
    let error = AskError::senseless("it answers another question");
    assert_eq!(asked, Err(error));
    // Known to be down, it is not waited for.
    let asked = look_up(&client, soon()).await;
    assert_eq!(asked, Err(AskError::Silent("known to be down".to_owned())));
    let trouble = client.trouble(Concern::Lookups).unwrap();
    assert_eq!(trouble.why, "it answers another question");
    assert!(!client.is_up(Concern::Lookups) && client.is_up(Concern::Reports));
}

#[tokio::test]
async fn a_certificate_that_is_no_good_is_passed_over() {
    let authority = Authority::new();
    for (names, is_expired) in [(["localhost"], true), (["other.example"], false)] {
        let tls = authority.server(&names, is_expired);
        let bad = Peer::start_tls(Manner::Good, tls).await;
        pass_over(&bad.url(), Some(authority.trusted())).await;
        assert!(bad.seen().is_empty());
    }
    let unknown = Authority::new().server(&["localhost"], false);
    let bad = Peer::start_tls(Manner::Good, unknown).await;
    pass_over(&bad.url(), Some(authority.trusted())).await;
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_told_in_words() {
    let authority = Authority::new();
    let tls = authority.server_that_is_one(&["localhost"]);
    let bad = Peer::start_tls(Manner::Good, tls).await;
    let mut options = options(&[bad.url()]);
    options.tls = Some(authority.trusted());
    let client = HttpClient::new(options).unwrap();
    let told = look_up(&client, soon()).await.unwrap_err().to_string();
    assert!(
        told.contains("its own authority") && !told.contains("Other("),
        "{told}"
    );
}

#[tokio::test]
async fn a_server_that_is_back_is_preferred_again() {
    let first = Peer::start(Manner::Problem(500, &[], "internal")).await;
    let second = Peer::start(Manner::Good).await;
    let client = client(&[first.url(), second.url()]);
    look_up(&client, soon()).await.unwrap();
    assert_eq!(client.address(), second.url());
    first.behaves(Manner::Good);
    let is_back = async {
        while client.address() != first.url() {
            look_up(&client, soon()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_back).await.unwrap();
    let asked = second.seen().len();
    look_up(&client, soon()).await.unwrap();
    assert_eq!(second.seen().len(), asked);
}

#[tokio::test]
async fn a_try_that_fails_after_another_one_went_well_says_nothing() {
    let peer = Peer::start(Manner::Problem(500, &[], "internal")).await;
    let client = client(&[peer.url()]);
    let Shared { endpoints, means } = &*client.0;
    shared::probe(&endpoints[0], means, Concern::Lookups).await;
    assert_eq!(peer.seen().len(), 1);
    assert!(client.is_up(Concern::Lookups));
}

#[tokio::test]
async fn reports_and_look_ups_fail_by_themselves() {
    let first = Peer::start(Manner::Calls(Arc::new(|seen| match &*seen.path {
        "/v1/lookups" => {
            let json = r#"[{"method": "m", "taskhash": "1", "unihash": null}]"#;
            ([("content-type", "application/json")], json).into_response()
        }
        _ => problem(500, &[], "internal"),
    })))
    .await;
    let row = r#"{"method":"m","taskhash":"1","unihash":"d"}"#;
    let second = Peer::start(Manner::Says("application/json", row)).await;
    let client = client(&[first.url(), second.url()]);
    let said = client.report(row, soon()).await.unwrap();
    assert_eq!(said.value, row);
    assert_eq!(client.address(), first.url());
    assert_eq!(look_up(&client, soon()).await, Ok(None));
    // Another task's row is no answer, and then nobody is left to ask.
    let other = r#"{"method": "m", "taskhash": "2"}"#;
    let senseless = AskError::senseless("it answers another report");
    assert_eq!(client.report(other, soon()).await, Err(senseless));
    assert!(!client.is_up(Concern::Reports));
    let why = client.trouble(Concern::Reports).unwrap().why;
    assert_eq!(why, "it answers 500 Internal Server Error");
}

#[tokio::test]
async fn what_a_server_refuses_is_told_and_nobody_else_is_asked() {
    for status in [400, 401, 403, 404, 422] {
        let first = Peer::start(Manner::Problem(status, &[], "denied")).await;
        let second = Peer::start(Manner::Good).await;
        let client = client(&[first.url(), second.url()]);
        let asked = look_up(&client, soon()).await;
        let told = || "told: denied".to_owned();
        let error = match status {
            401 => AskError::Login(told()),
            _ => AskError::Told(told()),
        };
        assert_eq!(asked, Err(error));
        assert!(second.seen().is_empty());
        assert_eq!(client.address(), first.url());
    }
}

#[tokio::test]
async fn a_connection_that_is_stuck_is_not_used_again() {
    let authority = Authority::new();
    let tls = authority.server(&["localhost"], false);
    let peer = Peer::start_tls(Manner::Good, tls).await;
    let client = HttpClient::new(HttpOptions {
        tls: Some(authority.trusted()),
        ..options(&[peer.url()])
    });
    let client = client.unwrap();
    look_up(&client, soon()).await.unwrap();
    look_up(&client, soon()).await.unwrap();
    assert_eq!(peer.connections(), 1);
    assert!(
        peer.seen()
            .iter()
            .all(|seen| seen.version == axum::http::Version::HTTP_2)
    );
    peer.behaves(Manner::Silent);
    let asked = look_up(&client, Instant::now() + Duration::from_millis(500)).await;
    assert_eq!(asked, Err(AskError::late()));
    peer.behaves(Manner::Good);
    let is_back = async {
        while look_up(&client, soon()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_back).await.unwrap();
    assert_eq!(peer.connections(), 2);
}
