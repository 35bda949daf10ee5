//! A signature and its text.

use std::fmt;
use std::str::FromStr;

use crate::{KeyId, UnixTime, base64url};

/// No signature's text is longer, in bytes.
pub const SIGNATURE_BYTES_MAX: usize = 124;

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032): readers need a public key only.
    Ed25519,
    /// HMAC-SHA-256 (RFC 2104) under a shared secret: who verifies can sign.
    HmacSha256,
}

impl Algorithm {
    /// The word in signatures and key rings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::HmacSha256 => "hmac-sha256",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Ed25519, Self::HmacSha256]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == word)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What only the holder of the key can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Proof {
    Ed25519([u8; 64]),
    HmacSha256([u8; 32]),
}

/// Who signed a row, when, and the proof. The row is not part of it.
///
/// Its text is one line of ASCII, `ALGORITHM:KEYID:SECONDS:BASE64URL`, at most
/// [`SIGNATURE_BYTES_MAX`] bytes; each signature has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    pub(crate) key: KeyId,
    pub(crate) time: UnixTime,
    pub(crate) proof: Proof,
}

impl Signature {
    /// How it was made.
    pub const fn algorithm(&self) -> Algorithm {
        match self.proof {
            Proof::Ed25519(_) => Algorithm::Ed25519,
            Proof::HmacSha256(_) => Algorithm::HmacSha256,
        }
    }

    /// The key that it names.
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// When it was made, as its maker says.
    pub const fn time(&self) -> UnixTime {
        self.time
    }

    /// Reads the text, and nothing that would be written in another way.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > SIGNATURE_BYTES_MAX {
            return Err(Malformed);
        }
        let parts: Vec<_> = text.split(':').collect();
        let [algorithm, key, time, proof] = parts[..] else {
            return Err(Malformed);
        };
        let proof = match Algorithm::parse(algorithm).ok_or(Malformed)? {
            Algorithm::Ed25519 => base64url::decode(proof).map(Proof::Ed25519),
            Algorithm::HmacSha256 => base64url::decode(proof).map(Proof::HmacSha256),
        };
        Ok(Self {
            key: KeyId::parse(key).ok_or(Malformed)?,
            time: UnixTime::parse_decimal(time).ok_or(Malformed)?,
            proof: proof.ok_or(Malformed)?,
        })
    }
}

impl FromStr for Signature {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proof = match &self.proof {
            Proof::Ed25519(bytes) => base64url::encode(bytes),
            Proof::HmacSha256(bytes) => base64url::encode(bytes),
        };
        let (algorithm, seconds) = (self.algorithm(), self.time.seconds());
        write!(f, "{algorithm}:{}:{seconds}:{proof}", self.key)
    }
}

/// A text is not a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signature: expected ALGORITHM:KEYID:SECONDS:BASE64URL")]
pub struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(proof: Proof) -> Signature {
        let key = KeyId::from_bytes([0xab; 8]);
        let time = UnixTime::MAX;
        Signature { key, time, proof }
    }

    #[test]
    fn each_signature_has_one_text() {
        for proof in [Proof::Ed25519([7; 64]), Proof::HmacSha256([0xff; 32])] {
            let signature = signature(proof);
            let text = signature.to_string();
            assert!(text.len() <= SIGNATURE_BYTES_MAX, "{text}");
            assert_eq!(text.parse(), Ok(signature));
        }
        let longest = signature(Proof::Ed25519([0; 64])).to_string();
        assert_eq!(longest.len(), SIGNATURE_BYTES_MAX);
    }

    #[test]
    fn other_texts_are_malformed() {
        let right = signature(Proof::HmacSha256([1; 32])).to_string();
        let check = |wrong: String| assert_eq!(Signature::parse(&wrong), Err(Malformed), "{wrong}");
        for wrong in ["", ":", ":::", "é", "ed25519"] {
            check(wrong.to_owned());
        }
        check(format!("{right} "));
        check(format!("{right}\n"));
        check(format!("{right}="));
        check(format!("{right}:"));
        check(format!(" {right}"));
        check(right.replace("hmac-sha256", "ed25519"));
        check(right.replace("hmac-sha256", "HMAC-SHA256"));
        check(right.replace("hmac-sha256", "none"));
        check(right.replace(":25", ":025"));
        check(right.replace(":25", ":-25"));
        check(right.replace("abab", "ABab"));
        check(right.repeat(1000));
    }
}
