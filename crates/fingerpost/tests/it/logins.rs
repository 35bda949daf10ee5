//! Jobs of a CI system, machines with certificates and programs with tokens,
//! against the real server.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_testkit::{Certificates, Server, TestFarm};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Certificate, Client, Identity, RequestBuilder};
use serde_json::{Value, json};

use crate::world::{eventually, farm, metric, no_panic};

/// A key pair of the CI system, or of somebody who would like to be it.
pub(crate) struct Pair {
    key: EncodingKey,
    public: Vec<u8>,
}

impl Pair {
    pub(crate) fn new() -> Result<Self> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        Ok(Self {
            key: EncodingKey::from_ed_der(&pair.serialize_der()),
            public: pair.public_key_raw().to_vec(),
        })
    }

    pub(crate) fn sign(&self, key_id: &str, claims: &Value) -> Result<String> {
        let header = Header {
            kid: Some(key_id.to_owned()),
            ..Header::new(Algorithm::EdDSA)
        };
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }
}

/// A CI system on this host: its URL, which has its keys.
async fn issuer(pair: &Pair) -> Result<String> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = tokio::net::TcpListener::bind(any).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = router(&url, pair);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// What an issuer of this URL answers.
pub(crate) fn router(url: &str, pair: &Pair) -> Router {
    let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string();
    let keys = json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "kid": "a", "use": "sig",
        "x": BASE64_URL_SAFE_NO_PAD.encode(&pair.public),
    }]});
    let keys = keys.to_string();
    Router::new()
        .route("/.well-known/openid-configuration", get(async || document))
        .route("/keys", get(async || keys))
}

/// How long the audit log may take.
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const AUDIENCE: &str = "https://hashes.example.com";

/// The configuration: pull requests read, pushes report.
fn configuration(farm: &TestFarm, url: &str) -> Result<std::path::PathBuf> {
    let rule = |event: &str, permissions: &str| {
        format!(
            "[[oidc.rules]]\nmatch = {{ repository_id = '7', event_name = '{event}' }}\n\
             permissions = [{permissions}]\nuser = 'ci-{event}'\n"
        )
    };
    // A port that nobody listens on.
    let down = "http://127.0.0.1:9";
    let mut text = String::new();
    for url in [url, down] {
        text.push_str(&format!(
            "[[oidc]]\nissuer = '{url}'\naudiences = ['{AUDIENCE}']\nalgorithms = ['EdDSA']\n\
             {}{}",
            rule("pull_request", "'@read'"),
            rule("push", "'@read', '@report'")
        ));
    }
    let path = farm.path("oidc.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}

fn now() -> i64 {
    SystemClock.now().0 / 1_000_000
}

pub(crate) fn claims(url: &str, event: &str) -> Value {
    let now = now();
    json!({"iss": url, "aud": AUDIENCE, "iat": now - 5, "exp": now + 300,
           "sub": "repo:a/b", "repository_id": "7", "event_name": event})
}

/// A client to be; whoever is first in the process chooses who encrypts.
fn builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}

struct Http {
    client: Client,
    base: String,
}

impl Http {
    fn to(server: &Server) -> Self {
        Self {
            client: builder().build().expect("a client"),
            base: format!("http://{}", server.host_and_port()),
        }
    }

    /// The status and the answer's code, or empty.
    async fn send(&self, request: RequestBuilder) -> Result<(u16, Value)> {
        let answered = request.send().await?;
        let status = answered.status().as_u16();
        let body = answered.text().await?;
        Ok((status, serde_json::from_str(&body).context(body)?))
    }

    async fn ask(&self, path: &str, token: Option<&str>) -> Result<(u16, Value)> {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        self.send(request).await
    }

    async fn report(&self, digit: char, token: &str) -> Result<u16> {
        let hash = digit.to_string().repeat(64);
        let report = json!({"method": "m", "taskhash": hash, "outhash": hash, "unihash": hash});
        let request = self.client.post(format!("{}/v1/reports", self.base));
        let request = request
            .bearer_auth(token)
            .header("Content-Type", "application/json")
            .body(report.to_string());
        Ok(self.send(request).await?.0)
    }
}

fn unihash(digit: char) -> String {
    format!("/v1/unihashes/m/{}", digit.to_string().repeat(64))
}

/// The lines of an audit log once it tells of this command.
async fn audited(file: &Path, command: &str) -> Result<Vec<Value>> {
    let mut log = String::new();
    eventually(PATIENCE, async || {
        log = std::fs::read_to_string(file)?;
        Ok(log.contains(command) && log.ends_with('\n'))
    })
    .await?;
    let lines = log.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_may_what_its_rule_says_and_a_pull_request_does_not_report() -> Result<()> {
    let pair = Pair::new()?;
    let url = issuer(&pair).await?;
    let farm = farm();
    let audit = farm.path("audit.jsonl");
    let options = farm.server().anonymous("@none").set("audit.file", &audit);
    let server = options
        .set("audit.reports", "true")
        .argument("--config")
        .argument(configuration(&farm, &url)?)
        .start()
        .await?;
    let http = Http::to(&server);
    let push = pair.sign("a", &claims(&url, "push"))?;
    let pull = pair.sign("a", &claims(&url, "pull_request"))?;
    ensure!(http.ask(&unihash('1'), None).await?.0 == 401);
    ensure!(http.report('1', &push).await? == 200);
    // A report without the right is answered, as BitBake wants it, and not kept.
    ensure!(http.report('2', &pull).await? == 200);
    for token in [&push, &pull] {
        ensure!(http.ask(&unihash('1'), Some(token)).await?.0 == 200);
        let (status, told) = http.ask(&unihash('2'), Some(token)).await?;
        ensure!(status == 404, "{told}");
    }
    // Over BitBake's protocol as well, with the name of the user it acts for.
    let mut session = server.login("ci-push", &push).await?;
    let hash = "1".repeat(64);
    ensure!(session.unihash("m", &hash).await? == Some(hash));
    ensure!(server.login("ci-pull_request", &push).await.is_err());
    session.ask(json!({"get-all-users": null})).await?;
    // The audit log says who vouches for a job, and shows nothing of its token.
    let log = audited(&audit, "get-all-users").await?;
    for (door, user) in [
        ("json", "ci-push"),
        ("json", "ci-pull_request"),
        ("native", "ci-push"),
    ] {
        let is_told = log.iter().any(|line| {
            let who = json!([line["door"], line["user"], line["credential"]]);
            who == json!([door, user, format!("oidc:{url}")])
        });
        ensure!(is_told, "{door} {user}: {log:?}");
    }
    let log = format!("{log:?}");
    ensure!(!log.contains(&push) && !log.contains(&pull), "{log}");
    no_panic(&server)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_right_open_nothing() -> Result<()> {
    let (pair, stranger) = (Pair::new()?, Pair::new()?);
    let url = issuer(&pair).await?;
    let farm = farm();
    let options = farm.server().argument("--config");
    let server = options
        .argument(configuration(&farm, &url)?)
        .start()
        .await?;
    let http = Http::to(&server);
    let good = claims(&url, "push");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let encode = |text: Value| BASE64_URL_SAFE_NO_PAD.encode(text.to_string());
    let unsigned = |algorithm: &str, signature: &str| {
        let header = encode(json!({"alg": algorithm, "typ": "JWT", "kid": "a"}));
        format!("{header}.{}.{signature}", encode(good.clone()))
    };
    let secret = EncodingKey::from_secret(&pair.public);
    let shared = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good, &secret)?;
    let long_ago = now() - 3600;
    for (token, reason) in [
        (pair.sign("a", &with("exp", json!(long_ago)))?, "expired"),
        (
            pair.sign("a", &with("aud", json!("https://other")))?,
            "audience",
        ),
        (
            pair.sign("a", &with("iss", json!("https://other")))?,
            "issuer",
        ),
        (
            pair.sign("a", &with("repository_id", json!("8")))?,
            "no_rule",
        ),
        (pair.sign("b", &good)?, "unknown_key"),
        (stranger.sign("a", &good)?, "signature"),
        (shared, "symmetric"),
        (unsigned("none", ""), "unsigned"),
        (unsigned("EdDSA", "AAAA"), "signature"),
        ("fp_x".to_owned(), "form"),
        (
            format!("fp_{}_{}", "0".repeat(16), "0".repeat(56)),
            "checksum",
        ),
    ] {
        let label = format!("outcome=\"wrong\",reason=\"{reason}\"");
        let before = metric(&server, "fingerpost_accounts_logins_total", &label).await?;
        // Anonymous callers may read here, and a wrong login is not one of them.
        let (status, told) = http.ask(&unihash('1'), Some(&token)).await?;
        ensure!(
            (status, &told["code"]) == (401, &json!("wrong-login")),
            "{reason}: {told}"
        );
        let after = metric(&server, "fingerpost_accounts_logins_total", &label).await?;
        ensure!(after - before > 0.5, "{reason} is not counted");
    }
    ensure!(
        http.ask(&unihash('1'), Some(&pair.sign("a", &good)?))
            .await?
            .0
            == 404
    );
    // An issuer that is down is our trouble.
    let down = pair.sign("a", &with("iss", json!("http://127.0.0.1:9")))?;
    let asked = http.client.get(format!("{}/v1/ping", http.base));
    let answered = asked.bearer_auth(down).send().await?;
    ensure!(answered.status().as_u16() == 503 && answered.headers().contains_key("retry-after"));
    let log = server.log();
    ensure!(
        log.contains("anonymous clients may report: so may every job"),
        "{log}"
    );
    no_panic(&server)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_names_the_key_and_the_line_of_an_issuer() -> Result<()> {
    let farm = farm();
    let path = configuration(&farm, "https://ci.example.com")?;
    let right = std::fs::read_to_string(&path)?;
    for (wrong, told) in [
        (
            right.replacen("'@read'", "'@raed'", 1),
            "line 7: oidc[1].rules[1].permissions: @raed",
        ),
        (
            right.replace("http://127.0.0.1:9", "https://ci.example.com"),
            "line 14: oidc[2].issuer: ",
        ),
        (right.replacen("EdDSA", "HS256", 1), "line 4, algorithms: "),
    ] {
        std::fs::write(&path, wrong)?;
        let checked = std::process::Command::new(env!("CARGO_BIN_EXE_fingerpost"))
            .arg("check-config")
            .arg("-c")
            .arg(&path)
            .output()?;
        let text = String::from_utf8_lossy(&checked.stderr);
        ensure!(
            checked.status.code() == Some(78) && text.contains(told),
            "{text}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_certificate_is_its_user() -> Result<()> {
    let farm = farm();
    let made = Certificates::make(farm.directory())?;
    let path = farm.path("certificates.toml");
    std::fs::write(
        &path,
        "[accounts.certificates]\n'dns:builder.example' = 'admin'\n",
    )?;
    let server = farm
        .server()
        .admin("admin", "secret")
        .set("tls.certificate", &made.certificate)
        .set("tls.key", &made.key)
        .set("tls.client_ca", &made.authority)
        .set("tls.client_certificates", "optional")
        .argument("--config")
        .argument(&path)
        .start()
        .await?;
    let address = server.address().trim_start_matches("wss://");
    let port = address.rsplit(':').next().context("a port")?;
    let client = |identity: Option<Identity>| -> Result<Client> {
        let authority = Certificate::from_pem(&std::fs::read(&made.authority)?)?;
        let builder = builder().tls_certs_merge([authority]);
        Ok(match identity {
            Some(identity) => builder.identity(identity).build()?,
            None => builder.build()?,
        })
    };
    let pem = [
        std::fs::read(&made.client)?,
        std::fs::read(&made.client_key)?,
    ]
    .concat();
    let users = format!("https://localhost:{port}/v1/users");
    for (identity, status) in [(None, 401), (Some(Identity::from_pem(&pem)?), 200)] {
        let answered = client(identity)?.get(&users).send().await?;
        ensure!(
            answered.status().as_u16() == status,
            "{}",
            answered.text().await?
        );
    }
    no_panic(&server)
}
