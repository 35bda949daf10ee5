//! Short names of keys.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// What the digest behind an id begins with, so that it is no digest of
/// anything else.
const DOMAIN: &[u8] = b"fingerpost-key-id-v1\0";

/// The short name of a key: 8 bytes, written as 16 lower-case hex digits. For
/// an Ed25519 key it follows from the public key, for a shared secret it is random.
///
/// It says where to look, and proves nothing: what verifies is the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Takes the bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// The id of an Ed25519 public key: the first 8 bytes of a SHA-256.
    pub(crate) fn of_public(public: &[u8; 32]) -> Self {
        let digest = Sha256::new().chain_update(DOMAIN).chain_update(public);
        let digest: [u8; 32] = digest.finalize().into();
        let (id, _) = digest.split_first_chunk().expect("32 bytes begin with 8");
        Self(*id)
    }

    /// Reads exactly 16 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        let upper = text.bytes().any(|digit| digit.is_ascii_uppercase());
        if text.len() != 16 || upper {
            return None;
        }
        faster_hex::hex_decode(text.as_bytes(), &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&faster_hex::hex_string(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_16_lower_case_hex_digits() {
        let text = "00ff8899aabbccdd";
        assert_eq!(KeyId::parse(text).unwrap().to_string(), text);
        for wrong in [
            "",
            "00ff8899aabbccd",
            "00FF8899aabbccdd",
            "0xff8899aabbccdd",
        ] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong:?}");
        }
    }
}
