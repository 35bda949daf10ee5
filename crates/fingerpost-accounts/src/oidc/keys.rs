//! An issuer's public keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use super::Refusal;
use super::algorithm::{Algorithm, KeyKind};

/// Bytes of a key set, and of a discovery document, at most.
pub const KEYS_BYTES_MAX: usize = 256 << 10;
/// Keys of one issuer at most.
const KEYS_MAX: usize = 64;
/// Bytes of an RSA modulus: 2048 bits are the least that is safe, 4096 the most
/// that a check of a signature may cost.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// Where an issuer's keys come from.
pub trait KeySource: Send + Sync + 'static {
    /// Fetches them anew, within a time of its own.
    fn fetch(&self) -> BoxFuture<'_, Result<KeySet, FetchError>>;
}

/// Why keys were not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer, or not all of it.
    #[error("{0}")]
    Http(String),
    /// An answer with another status than 200.
    #[error("{url} answers with status {status}")]
    Status {
        /// Of what was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// It took too long.
    #[error("there was no answer in time")]
    Timeout,
    /// More than [`KEYS_BYTES_MAX`].
    #[error("{0} is longer than {KEYS_BYTES_MAX} bytes")]
    TooLong(String),
    /// The document is not what it should be.
    #[error("{0}")]
    Form(String),
}

/// Public keys, at most as many as fit a short list.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    skipped: usize,
}

/// One of them.
pub(super) struct PublicKey {
    /// Its `kid`.
    id: Option<String>,
    kind: KeyKind,
    /// The only algorithm that it is for, if the set says so.
    algorithm: Option<String>,
    key: DecodingKey,
}

impl PublicKey {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_named = |name: &String| name == algorithm.as_str();
        self.kind == algorithm.kind() && self.algorithm.as_ref().is_none_or(is_named)
    }

    /// Whether this key signed `text`; the signature is base64url.
    pub(super) fn verifies(&self, text: &str, signature: &str, algorithm: Algorithm) -> bool {
        let verified =
            jsonwebtoken::crypto::verify(signature, text.as_bytes(), &self.key, algorithm.into());
        verified.unwrap_or(false)
    }
}

impl KeySet {
    /// Reads a JWK set (RFC 7517). Keys that cannot verify a signature here are
    /// skipped: of another kind, for encryption, too short, or
    /// secret. A set without a usable key is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, FetchError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let form = |error: &dyn std::fmt::Display| FetchError::Form(format!("no JWK set: {error}"));
        if bytes.len() > KEYS_BYTES_MAX {
            return Err(FetchError::TooLong("the JWK set".to_owned()));
        }
        let set: Set = serde_json::from_slice(bytes).map_err(|error| form(&error))?;
        if set.keys.len() > KEYS_MAX {
            return Err(form(&format_args!("{} keys", set.keys.len())));
        }
        let mut read = Self::default();
        for value in set.keys {
            let jwk = serde_json::from_value::<Jwk>(value).ok();
            match jwk.and_then(Jwk::into_key) {
                Some(key) => read.keys.push(key),
                None => read.skipped += 1,
            }
        }
        if read.keys.is_empty() {
            return Err(form(&"no key that is usable"));
        }
        Ok(read)
    }

    /// How many keys there are, and how many were skipped.
    pub fn count(&self) -> (usize, usize) {
        (self.keys.len(), self.skipped)
    }

    /// The key of this name for this algorithm. Without a name it is the only one
    /// for the algorithm, as section 10.1 of OIDC Core has it.
    pub(super) fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&PublicKey, Refusal> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        let Some(id) = id else {
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err(Refusal::UnknownKey),
                _ => Err(Refusal::NoKeyId),
            };
        };
        let is_named = |key: &&PublicKey| key.id.as_deref() == Some(id);
        let is_known = self.keys.iter().any(|key| is_named(&key));
        fitting.find(is_named).ok_or(match is_known {
            true => Refusal::KeyMismatch,
            false => Refusal::UnknownKey,
        })
    }
}

/// What is read of a JWK.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn into_key(self) -> Option<PublicKey> {
        let is_for_signatures = self.usage.as_ref().is_none_or(|usage| usage == "sig")
            && self
                .key_ops
                .as_ref()
                .is_none_or(|operations| operations.iter().any(|name| name == "verify"));
        if !is_for_signatures {
            return None;
        }
        let (kind, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (KeyKind::Rsa, self.rsa()?),
            ("EC", Some("P-256")) => (KeyKind::P256, self.point(32)?),
            ("EC", Some("P-384")) => (KeyKind::P384, self.point(48)?),
            ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, self.ed25519()?),
            _ => return None,
        };
        let key = PublicKey {
            id: self.kid,
            kind,
            algorithm: self.alg,
            key,
        };
        key.is_usable().then_some(key)
    }

    fn rsa(&self) -> Option<DecodingKey> {
        let (modulus, exponent) = (bytes(self.n.as_ref()?)?, bytes(self.e.as_ref()?)?);
        let is_long_enough = MODULUS_BYTES.contains(&modulus.len()) && modulus[0] != 0;
        // 65537 is what everybody has; less is weak, and longer ones cost time.
        let is_exponent = exponent.len() <= 4 && exponent.len() >= 3 && exponent[0] != 0;
        (is_long_enough && is_exponent)
            .then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
    }

    fn point(&self, length: usize) -> Option<DecodingKey> {
        let (x, y) = (self.x.as_ref()?, self.y.as_ref()?);
        let is_whole = bytes(x)?.len() == length && bytes(y)?.len() == length;
        is_whole.then(|| DecodingKey::from_ec_components(x, y).ok())?
    }

    fn ed25519(&self) -> Option<DecodingKey> {
        let x = self.x.as_ref()?;
        let is_whole = bytes(x)?.len() == 32;
        is_whole.then(|| DecodingKey::from_ed_components(x).ok())?
    }
}

impl PublicKey {
    /// Whether the numbers are a key: a point may be on no curve.
    fn is_usable(&self) -> bool {
        let algorithm = match self.kind {
            KeyKind::Rsa => Algorithm::RS256,
            KeyKind::P256 => Algorithm::ES256,
            KeyKind::P384 => Algorithm::ES384,
            KeyKind::Ed25519 => Algorithm::EdDSA,
        };
        jsonwebtoken::crypto::verify("", b"", &self.key, algorithm.into()).is_ok()
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
