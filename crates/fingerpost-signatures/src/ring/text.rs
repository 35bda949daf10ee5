//! A key ring as TOML.

use std::fmt::Write as _;

use fingerpost_core::found_and_expected;
use serde::{Deserialize, Deserializer};
use toml::value::Datetime;
use zeroize::Zeroizing;

use super::{Key, KeyName, KeyRing, RING_BYTES_MAX, State};
use crate::{Algorithm, KeyId, SECRET_BYTES, SigningKey, UnixTime, VerifyingKey, base64url};

/// The version of the format that is read and written.
const VERSION: u32 = 1;

/// A key ring cannot be read, or cannot be changed so. No message shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// It is no TOML of the right shape.
    #[error("line {line}: {message}")]
    Syntax {
        /// Where, from 1 on.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// It is longer than [`RING_BYTES_MAX`].
    #[error("longer than {RING_BYTES_MAX} bytes")]
    TooLong,
    /// It is of a version that is not known.
    #[error("version {0} is not known; this program reads version {VERSION}")]
    Version(u32),
    /// A field of a key is not what it should be.
    #[error("key {id:?}: {field} {problem}")]
    Field {
        /// The key's id, as it is written.
        id: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are more keys than a ring may have.
    #[error("more than {} keys", super::KEYS_MAX)]
    TooMany,
    /// Two keys have one id, name or secret.
    #[error("key {0} has the id, name or secret of key {1}")]
    Duplicate(KeyId, KeyId),
    /// There is no key of that id.
    #[error("no key {0}")]
    NoSuchKey(KeyId),
    /// States go forward only.
    #[error("key {0} is {1} and cannot become {2}")]
    Backward(KeyId, State, State),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    algorithm: String,
    state: String,
    created: Datetime,
    public: Option<String>,
    secret: Option<SecretText>,
}

struct SecretText(Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl KeyRing {
    /// Reads a key ring file's text. An unknown field is an error, as a mistyped
    /// one would change what is trusted.
    pub fn parse(text: &str) -> Result<Self, RingError> {
        if text.len() > RING_BYTES_MAX {
            return Err(RingError::TooLong);
        }
        // Not the error's own text, which quotes the line.
        let file: File = toml::from_str(text).map_err(|error| RingError::Syntax {
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: without_values(error.message()),
        })?;
        if file.version != VERSION {
            return Err(RingError::Version(file.version));
        }
        let mut ring = Self::default();
        for entry in &file.key {
            ring.add(entry.key()?)?;
        }
        Ok(ring)
    }

    /// The text that [`KeyRing::parse`] reads, with whatever secrets are here.
    pub fn to_toml(&self) -> Zeroizing<String> {
        // Long enough for all, so that no copy stays behind when it grows.
        let mut text = String::with_capacity(128 + self.keys.len() * 512);
        let _ = writeln!(
            text,
            "# Key ring of Fingerpost; docs/signatures.md says what this means.\nversion = {VERSION}"
        );
        for key in &self.keys {
            write_key(&mut text, key);
        }
        Zeroizing::new(text)
    }
}

fn write_key(text: &mut String, key: &Key) {
    let _ = write!(
        text,
        "\n[[key]]\nid = \"{}\"\nname = \"{}\"\nalgorithm = \"{}\"\nstate = \"{}\"\ncreated = {}\n",
        key.id, key.name, key.algorithm, key.state, key.created
    );
    if let Some(public) = key.public() {
        let _ = writeln!(text, "public = \"{public}\"");
    }
    if let Some(signing) = &key.signing {
        let secret = Zeroizing::new(base64url::encode(&*signing.secret()));
        let _ = writeln!(text, "secret = \"{}\"", secret.as_str());
    }
}

/// The parser's message without what it found, which may be a secret in the
/// wrong place.
fn without_values(message: &str) -> String {
    match found_and_expected(message) {
        Some((_, expected)) => format!("expected {expected}"),
        None => message.to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

impl Entry {
    fn key(&self) -> Result<Key, RingError> {
        let id = KeyId::parse(&self.id).ok_or_else(|| self.wrong("id", "is not 16 hex digits"))?;
        let name = KeyName::parse(&self.name)
            .ok_or_else(|| self.wrong("name", "is not 1 to 64 letters, digits or ._@+-"))?;
        let created = UnixTime::parse_rfc3339(&self.created.to_string())
            .ok_or_else(|| self.wrong("created", "is not a time like 2026-11-22T04:41:07Z"))?;
        let algorithm = Algorithm::parse(&self.algorithm)
            .ok_or_else(|| self.wrong("algorithm", "is neither ed25519 nor hmac-sha256"))?;
        let state = State::parse(&self.state)
            .ok_or_else(|| self.wrong("state", "is not active, retired or revoked"))?;
        let mut key = match self.material(id, algorithm)? {
            (Some(signing), _) => Key::signing(name, created, signing),
            (None, Some(verifying)) => Key::verifying(name, created, verifying),
            (None, None) if state == State::Revoked => Key::bare(name, created, id, algorithm),
            (None, None) => return Err(self.wrong(needed(algorithm), "is missing")),
        };
        if key.id != id {
            return Err(self.wrong("id", "is not that of the public key"));
        }
        key.state = state;
        Ok(key)
    }

    fn material(
        &self,
        id: KeyId,
        algorithm: Algorithm,
    ) -> Result<(Option<SigningKey>, Option<VerifyingKey>), RingError> {
        let signing = match self.secret()? {
            None => None,
            Some(seed) if algorithm == Algorithm::Ed25519 => Some(SigningKey::ed25519(&seed)),
            Some(secret) => Some(SigningKey::hmac_sha256(id, &secret)),
        };
        let Some(public) = &self.public else {
            return Ok((signing, None));
        };
        if algorithm == Algorithm::HmacSha256 {
            return Err(self.wrong("public", "is nothing that a shared secret has"));
        }
        let verifying = base64url::decode(public)
            .and_then(|bytes| VerifyingKey::ed25519(&bytes).ok())
            .ok_or_else(|| self.wrong("public", "is not an Ed25519 public key in base64url"))?;
        if signing
            .as_ref()
            .is_some_and(|key| key.id() != verifying.id())
        {
            return Err(self.wrong("secret", "is not that of the public key"));
        }
        Ok((signing, Some(verifying)))
    }

    fn secret(&self) -> Result<Option<Zeroizing<[u8; SECRET_BYTES]>>, RingError> {
        let Some(SecretText(text)) = &self.secret else {
            return Ok(None);
        };
        base64url::decode(text)
            .map(|bytes| Some(Zeroizing::new(bytes)))
            .ok_or_else(|| self.wrong("secret", "is not 32 bytes in base64url"))
    }

    fn wrong(&self, field: &'static str, problem: &'static str) -> RingError {
        // What stands there may be anything, a secret in the wrong place too.
        let id = KeyId::parse(&self.id).map_or_else(|| "?".to_owned(), |id| id.to_string());
        RingError::Field { id, field, problem }
    }
}

const fn needed(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 => "public",
        Algorithm::HmacSha256 => "secret",
    }
}
