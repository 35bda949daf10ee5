//! Keys that sign and keys that verify.

use std::fmt;

use ed25519_dalek::Signer as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::signature::Proof;
use crate::{Algorithm, Document, KeyId, Row, Signature, SignedRow, UnixTime};

/// Bytes of a secret of either algorithm: the seed of RFC 8032, or the key of
/// the HMAC.
pub const SECRET_BYTES: usize = 32;

/// A key that signs. `Debug` shows its id only, and its secret is overwritten
/// when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    id: KeyId,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    /// Boxed: with its public half it is many times the other. Zeroized by its crate.
    Ed25519(Box<ed25519_dalek::SigningKey>),
    HmacSha256(Zeroizing<[u8; SECRET_BYTES]>),
}

impl SigningKey {
    /// The Ed25519 key of a seed, which must be random.
    pub fn ed25519(seed: &[u8; SECRET_BYTES]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        Self {
            id: KeyId::of_public(key.verifying_key().as_bytes()),
            secret: Secret::Ed25519(Box::new(key)),
        }
    }

    /// The HMAC key with this secret; id and secret must be random.
    pub fn hmac_sha256(id: KeyId, secret: &[u8; SECRET_BYTES]) -> Self {
        Self {
            id,
            secret: Secret::HmacSha256(Zeroizing::new(*secret)),
        }
    }

    /// Its short name.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// How it signs.
    pub const fn algorithm(&self) -> Algorithm {
        match self.secret {
            Secret::Ed25519(_) => Algorithm::Ed25519,
            Secret::HmacSha256(_) => Algorithm::HmacSha256,
        }
    }

    /// Signs the row as it stands.
    pub fn sign(&self, row: &Row, time: UnixTime) -> Signature {
        let key = self.id;
        self.prove(&SignedRow { row, key, time }.canonical_bytes(), time)
    }

    /// Signs bytes that are no row as they stand.
    pub fn sign_document(&self, document: &Document<'_>, time: UnixTime) -> Signature {
        self.prove(&document.canonical_bytes(self.id, time), time)
    }

    /// The signature whose canonical bytes, which name this key and time, are these.
    fn prove(&self, canonical: &[u8], time: UnixTime) -> Signature {
        let proof = match &self.secret {
            Secret::Ed25519(key) => Proof::Ed25519(key.sign(canonical).to_bytes()),
            Secret::HmacSha256(secret) => {
                Proof::HmacSha256(mac(secret, canonical).finalize().into_bytes().into())
            }
        };
        let key = self.id;
        Signature { key, time, proof }
    }

    /// What verifies its signatures. For HMAC that is the secret itself.
    pub fn verifying_key(&self) -> VerifyingKey {
        let public = match &self.secret {
            Secret::Ed25519(key) => Public::Ed25519(Box::new(key.verifying_key())),
            Secret::HmacSha256(secret) => Public::HmacSha256(secret.clone()),
        };
        VerifyingKey {
            id: self.id,
            public,
        }
    }

    /// The secret, for the key ring's file.
    pub(crate) fn secret(&self) -> Zeroizing<[u8; SECRET_BYTES]> {
        match &self.secret {
            Secret::Ed25519(key) => Zeroizing::new(key.to_bytes()),
            Secret::HmacSha256(secret) => secret.clone(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm(), self.id)
    }
}

/// A key that verifies. `Debug` shows its id only.
#[derive(Clone)]
pub struct VerifyingKey {
    id: KeyId,
    public: Public,
}

#[derive(Clone)]
enum Public {
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    HmacSha256(Zeroizing<[u8; SECRET_BYTES]>),
}

impl VerifyingKey {
    /// Takes an Ed25519 public key as RFC 8032 encodes it. One that is no point,
    /// is not encoded in the one canonical way, or has a small order (under
    /// which a signature can fit many rows) is refused.
    pub fn ed25519(public: &[u8; 32]) -> Result<Self, BadKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| BadKey)?;
        if !is_canonical(public) || key.is_weak() {
            return Err(BadKey);
        }
        Ok(Self {
            id: KeyId::of_public(public),
            public: Public::Ed25519(Box::new(key)),
        })
    }

    /// Its short name.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// How its signatures are made.
    pub const fn algorithm(&self) -> Algorithm {
        match self.public {
            Public::Ed25519(_) => Algorithm::Ed25519,
            Public::HmacSha256(_) => Algorithm::HmacSha256,
        }
    }

    /// Whether this key made this signature of exactly this row.
    ///
    /// Ed25519 is checked strictly: S below the group's order, R canonical and of no
    /// small order, and the equation without cofactor. An HMAC is compared in
    /// constant time.
    pub fn verifies(&self, row: &Row, signature: &Signature) -> bool {
        let (key, time) = (signature.key, signature.time);
        self.proves(&SignedRow { row, key, time }.canonical_bytes(), signature)
    }

    /// Whether this key made this signature of exactly this document; as strict as
    /// [`verifies`](Self::verifies).
    pub fn verifies_document(&self, document: &Document<'_>, signature: &Signature) -> bool {
        let bytes = document.canonical_bytes(signature.key, signature.time);
        self.proves(&bytes, signature)
    }

    fn proves(&self, canonical: &[u8], signature: &Signature) -> bool {
        if signature.key != self.id {
            return false;
        }
        match (&self.public, &signature.proof) {
            (Public::Ed25519(key), Proof::Ed25519(proof)) => {
                let signature = ed25519_dalek::Signature::from_bytes(proof);
                is_canonical(signature.r_bytes())
                    && key.verify_strict(canonical, &signature).is_ok()
            }
            (Public::HmacSha256(secret), Proof::HmacSha256(proof)) => {
                mac(secret, canonical).verify_slice(proof).is_ok()
            }
            _ => false,
        }
    }

    /// The public key, which a shared secret does not have.
    pub(crate) fn public(&self) -> Option<&[u8; 32]> {
        match &self.public {
            Public::Ed25519(key) => Some(key.as_bytes()),
            Public::HmacSha256(_) => None,
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({} {})", self.algorithm(), self.id)
    }
}

/// Bytes are not an Ed25519 public key that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Ed25519 public key")]
pub struct BadKey;

fn mac(secret: &[u8; SECRET_BYTES], bytes: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::new_from_slice(secret).expect("an HMAC takes a key of any length");
    mac.chain_update(bytes)
}

/// Whether y, the lower 255 bits, is below the field's prime 2^255 - 19. The curve
/// library also takes the few larger values, which are second names of points;
/// other libraries do not.
fn is_canonical(point: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = point;
    let all_ones = last & 0x7f == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    !(all_ones && *first >= 0xed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            namespace: "main".to_owned(),
            method: "m".into(),
            taskhash: "t".into(),
            outhash: "o".into(),
            unihash: "u".into(),
        }
    }

    fn keys() -> [SigningKey; 2] {
        let id = KeyId::from_bytes(*b"12345678");
        [
            SigningKey::ed25519(&[1; 32]),
            SigningKey::hmac_sha256(id, &[2; 32]),
        ]
    }

    #[test]
    fn what_a_key_signs_it_verifies() {
        for key in keys() {
            let signature = key.sign(&row(), UnixTime::MAX);
            assert_eq!(signature.algorithm(), key.algorithm());
            assert!(key.verifying_key().verifies(&row(), &signature));
        }
    }

    #[test]
    fn a_key_does_not_verify_in_anothers_name() {
        let [ed25519, hmac] = keys();
        let time = UnixTime::MAX;
        let mut foreign = hmac.sign(&row(), time);
        foreign.key = ed25519.id();
        assert!(!ed25519.verifying_key().verifies(&row(), &foreign));
        let mut renamed = ed25519.sign(&row(), time);
        renamed.key = hmac.id();
        for key in [&ed25519, &hmac] {
            assert!(!key.verifying_key().verifies(&row(), &renamed));
        }
    }

    #[test]
    fn weak_and_second_names_of_points_are_no_keys() {
        let check = |first, middle, last| {
            let mut bytes = [middle; 32];
            (bytes[0], bytes[31]) = (first, last);
            assert_eq!(VerifyingKey::ed25519(&bytes).err(), Some(BadKey));
        };
        check(1, 0, 0); // the neutral point
        check(0, 0, 0); // of order 4
        check(0xec, 0xff, 0x7f); // of order 2
        check(0xf0, 0xff, 0x7f); // a second name of y = 3
        check(2, 0, 0); // no point
    }

    #[test]
    fn debug_shows_no_secret() {
        for key in keys() {
            let shown = format!("{key:?} {:?}", key.verifying_key());
            let expected = format!("{} {}", key.algorithm(), key.id());
            assert_eq!(
                shown,
                format!("SigningKey({expected}) VerifyingKey({expected})")
            );
        }
    }
}
