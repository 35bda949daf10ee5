//! A real identity provider, `oidc-provider-mock`, which `scripts/prepare` installs.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fingerpost_core::SystemClock;
use reqwest::{Client, header};
use serde_json::Value;

use super::super::testing::settings;
use super::*;

/// Says its URL when it listens, and ends with its standard input.
const PROVIDER: &str = r#"
import sys, oidc_provider_mock
with oidc_provider_mock.run_server_in_thread(port=0) as server:
    print(f"http://localhost:{server.server_port}", flush=True)
    sys.stdin.read()
"#;

struct Provider {
    process: Child,
    url: String,
}

impl Provider {
    fn start() -> Self {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
        assert!(
            python.exists(),
            "{} is missing; scripts/prepare installs it",
            python.display()
        );
        let mut process = Command::new(python)
            .args(["-W", "ignore", "-c", PROVIDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        Self {
            process,
            url: line.trim().to_owned(),
        }
    }

    /// Logs in as a person does and exchanges the code for an identity token.
    async fn token(&self, audience: &str) -> String {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let form = |text: String| {
            move |request: reqwest::RequestBuilder| {
                request
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(text)
                    .send()
            }
        };
        let back = "http%3A%2F%2Flocalhost%2Fback";
        let authorize = format!(
            "{}/oauth2/authorize?response_type=code&scope=openid&client_id={audience}&redirect_uri={back}",
            self.url
        );
        let answer = form("sub=job-1".to_owned())(client.post(authorize))
            .await
            .unwrap();
        let location = answer.headers()[header::LOCATION]
            .to_str()
            .unwrap()
            .to_owned();
        let (_, code) = location.split_once("code=").unwrap();
        let code = code.split('&').next().unwrap();
        let exchange = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={back}&client_id={audience}&client_secret=x"
        );
        let answer = form(exchange)(client.post(format!("{}/oauth2/token", self.url)))
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["id_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn tokens_of_a_real_provider_are_verified() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Provider::start();
    let mut settings = settings();
    settings.issuer = provider.url.clone();
    settings.audiences = vec!["hashes".to_owned()];
    settings.rules[0].matching = [("sub".to_owned(), "job-*".to_owned())].into();
    let issuer = Issuer::new(settings).unwrap();
    let keys: Arc<dyn KeySource> =
        Arc::new(HttpKeys::new(&issuer, &HttpKeysOptions::default()).unwrap());
    let verifier = Verifier::new(vec![(issuer, keys)], Arc::new(SystemClock)).unwrap();
    let token = provider.token("hashes").await;
    let workload = verifier.verify(token.as_bytes()).await.unwrap();
    assert_eq!(workload.subject, Some(Arc::from("job-1")));
    assert_eq!(&*workload.grant.user, "ci");
    let other = provider.token("others").await;
    assert_eq!(
        verifier.verify(other.as_bytes()).await,
        Err(Refusal::Audience)
    );
}
