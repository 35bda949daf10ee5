//! An issuer of one test, with its keys at hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fingerpost_core::{ManualClock, Timestamp};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jsonwebtoken::EncodingKey;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::testing::SECOND;

pub(super) const ISSUER: &str = "https://ci.example";
pub(super) const AUDIENCE: &str = "https://hash.example";
/// The moment of the tests, in seconds.
pub(super) const NOW: i64 = 1_800_000_000;

/// A key pair.
pub(super) struct Pair {
    pub(super) algorithm: Algorithm,
    pub(super) jwk: Value,
    key: EncodingKey,
}

impl Pair {
    pub(super) fn ed25519(id: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self {
            algorithm: Algorithm::EdDSA,
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig",
                        "x": encode(pair.public_key_raw())}),
            key: EncodingKey::from_ed_der(&pair.serialize_der()),
        }
    }

    pub(super) fn p256(id: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        Self {
            algorithm: Algorithm::ES256,
            jwk: json!({"kty": "EC", "crv": "P-256", "kid": id,
                        "x": encode(x), "y": encode(y)}),
            key: EncodingKey::from_ec_der(&pair.serialize_der()),
        }
    }

    pub(super) fn rsa(id: &str) -> Self {
        let file: Value = serde_json::from_str(include_str!("tests/rsa.json")).unwrap();
        let der = URL_SAFE_NO_PAD.decode(file["private"].as_str().unwrap());
        Self {
            algorithm: Algorithm::RS256,
            jwk: json!({"kty": "RSA", "kid": id, "alg": "RS256", "use": "sig",
                        "n": file["n"], "e": file["e"]}),
            key: EncodingKey::from_rsa_der(&der.unwrap()),
        }
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": self.algorithm.as_str(), "typ": "JWT", "kid": self.jwk["kid"]})
    }

    /// A token of these texts, whatever is in them.
    pub(super) fn sign_bytes(&self, header: &[u8], claims: &[u8]) -> Vec<u8> {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let algorithm = self.algorithm.into();
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, algorithm);
        format!("{signed}.{}", signature.unwrap()).into_bytes()
    }

    pub(super) fn sign(&self, claims: &Value) -> Vec<u8> {
        self.sign_with(&self.header(), claims)
    }

    pub(super) fn sign_with(&self, header: &Value, claims: &Value) -> Vec<u8> {
        self.sign_bytes(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn key_set(pairs: &[&Pair]) -> String {
    let keys: Vec<_> = pairs.iter().map(|pair| &pair.jwk).collect();
    json!({ "keys": keys }).to_string()
}

/// A source whose answer tests change, and which counts.
#[derive(Default)]
pub(super) struct FakeKeys {
    /// `None`: the issuer is down.
    pub(super) answer: Mutex<Option<String>>,
    pub(super) asked: AtomicUsize,
}

impl FakeKeys {
    pub(super) fn has(&self, pairs: &[&Pair]) {
        *self.answer.lock() = Some(key_set(pairs));
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl KeySource for FakeKeys {
    fn fetch(&self) -> BoxFuture<'_, Result<KeySet, FetchError>> {
        async {
            self.asked.fetch_add(1, Ordering::Relaxed);
            // Others get to run while the issuer thinks.
            tokio::task::yield_now().await;
            match &*self.answer.lock() {
                Some(text) => KeySet::parse(text.as_bytes()),
                None => Err(FetchError::Timeout),
            }
        }
        .boxed()
    }
}

pub(super) fn settings() -> IssuerSettings {
    let text = format!(
        r#"
        issuer = "{ISSUER}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["RS256", "ES256", "EdDSA"]
        rules = [{{ match = {{ repository_id = "7" }}, permissions = ["@read"], user = "ci" }}]
        "#
    );
    toml::from_str(&text).unwrap()
}

pub(super) fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "job", "iat": NOW - 5, "nbf": NOW - 5,
           "exp": NOW + 300, "repository_id": "7"})
}

/// A verifier of one issuer.
pub(super) struct World {
    pub(super) clock: Arc<ManualClock>,
    pub(super) keys: Arc<FakeKeys>,
    pub(super) verifier: Verifier,
}

impl World {
    pub(super) fn new(pairs: &[&Pair]) -> Self {
        Self::with(settings(), pairs)
    }

    pub(super) fn with(settings: IssuerSettings, pairs: &[&Pair]) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp(NOW * SECOND)));
        let keys = Arc::new(FakeKeys::default());
        keys.has(pairs);
        let issuer = Issuer::new(settings).unwrap();
        let issuers: Vec<(_, Arc<dyn KeySource>)> = vec![(issuer, keys.clone())];
        Self {
            verifier: Verifier::new(issuers, clock.clone()).unwrap(),
            clock,
            keys,
        }
    }

    pub(super) async fn refusal(&self, token: &[u8]) -> Refusal {
        self.verifier.verify(token).await.unwrap_err()
    }
}
