use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use serde_json::json;

use super::super::testing::{Pair, key_set, settings};
use super::*;

/// An issuer on this host. The router gets its URL.
async fn serve(router: impl FnOnce(&str) -> Router) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = tokio::net::TcpListener::bind(any).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = router(&url);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn keys(issuer: &str, jwks_url: Option<&str>) -> HttpKeys {
    let mut settings = settings();
    settings.issuer = issuer.to_owned();
    settings.jwks_url = jwks_url.map(str::to_owned);
    let options = HttpKeysOptions {
        deadline: Duration::from_secs(5),
        ..HttpKeysOptions::default()
    };
    HttpKeys::new(&Issuer::new(settings).unwrap(), &options).unwrap()
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn discovery(issuer: &str, jwks_uri: &str) -> Router {
    let document = json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string();
    Router::new().route(DISCOVERY, get(|| async { document }))
}

fn with_keys(router: Router) -> Router {
    let keys = key_set(&[&Pair::ed25519("a")]);
    router.route("/keys", get(|| async { keys }))
}

async fn fails(keys: &HttpKeys, expected: &str) {
    let error = keys.fetch().await.map(|keys| keys.count()).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn keys_are_where_the_discovery_document_says() {
    let url = serve(|url| with_keys(discovery(url, &format!("{url}/keys")))).await;
    let fetched = keys(&url, None).fetch().await.unwrap();
    assert_eq!(fetched.count(), (1, 0));
    let configured = keys("https://ci.example", Some(&format!("{url}/keys")));
    assert_eq!(configured.fetch().await.unwrap().count(), (1, 0));
}

#[tokio::test]
async fn a_document_of_another_issuer_is_refused() {
    let url = serve(|url| with_keys(discovery("https://ci.example", &format!("{url}/keys")))).await;
    fails(&keys(&url, None), "is of \"https://ci.example\"").await;
    // With a slash at its end it is another one.
    let url = serve(|url| with_keys(discovery(&format!("{url}/"), &format!("{url}/keys")))).await;
    fails(&keys(&url, None), "the discovery document is of").await;
}

#[tokio::test]
async fn keys_come_over_https() {
    for other in ["http://keys.example/", "file:///etc/passwd", "no url"] {
        let url = serve(|url| discovery(url, other)).await;
        fails(&keys(&url, None), other).await;
    }
}

#[tokio::test]
async fn redirects_stay_on_their_host() {
    let moved = |to: String| {
        get(move || async move { (StatusCode::FOUND, [(header::LOCATION, to)]).into_response() })
    };
    let other = serve(|_| with_keys(Router::new())).await;
    let url = serve(|url| {
        with_keys(Router::new())
            .route("/near", moved(format!("{url}/keys")))
            .route("/far", moved(format!("{other}/keys")))
            .route("/round", moved(format!("{url}/round")))
    })
    .await;
    let at = |path: &str| keys("https://ci.example", Some(&format!("{url}{path}")));
    assert!(at("/near").fetch().await.is_ok());
    fails(&at("/far"), "another host").await;
    fails(&at("/round"), "too often").await;
}

#[tokio::test]
async fn answers_are_bounded_in_status_length_and_time() {
    let url = serve(|_| {
        Router::new()
            .route("/gone", get(|| async { StatusCode::GONE }))
            .route("/long", get(|| async { vec![b' '; KEYS_BYTES_MAX + 1] }))
            .route("/text", get(|| async { "<html>" }))
            .route("/slow", get(std::future::pending::<String>))
    })
    .await;
    let at = |path: &str| format!("{url}{path}");
    let keys = |path: &str| keys("https://ci.example", Some(&at(path)));
    fails(&keys("/gone"), "status 410").await;
    fails(&keys("/long"), "is longer than").await;
    fails(&keys("/text"), "no JWK set").await;
    let mut slow = settings();
    slow.jwks_url = Some(at("/slow"));
    let options = HttpKeysOptions {
        deadline: Duration::from_millis(50),
        ..HttpKeysOptions::default()
    };
    let slow = HttpKeys::new(&Issuer::new(slow).unwrap(), &options).unwrap();
    let error = slow.fetch().await.err().unwrap();
    let is_late = matches!(error, FetchError::Timeout | FetchError::Http(_));
    assert!(is_late, "{error}");
}
