//! Signed bytes that are no row: the manifest of a snapshot, for example.

use crate::{KeyId, UnixTime};

/// What the bytes begin with, so that a signature of a document can never pass
/// for one of a row, nor for one of another version.
const DOMAIN: &[u8] = b"fingerpost-signed-document-v1\0";

/// Bytes that somebody signs as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// What the bytes are, with the version of their format, so that nothing
    /// signed as one thing passes for another: `snapshot-manifest-v1`.
    pub kind: &'a str,
    /// The bytes.
    pub body: &'a [u8],
}

impl Document<'_> {
    /// The bytes that are signed: the domain, then kind, body and key id (its 16 hex
    /// digits), each as its length in bytes (8 bytes, big-endian) and itself, then
    /// the seconds (8 bytes, big-endian).
    pub fn canonical_bytes(&self, key: KeyId, time: UnixTime) -> Vec<u8> {
        let key = key.to_string();
        let mut bytes = Vec::with_capacity(self.body.len() + 128);
        bytes.extend_from_slice(DOMAIN);
        for part in [self.kind.as_bytes(), self.body, key.as_bytes()] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&time.seconds().to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, KeyName, KeyRing, Reason, Row, SigningKey, State};

    const DOCUMENT: Document<'static> = Document {
        kind: "k",
        body: b"ab",
    };

    #[test]
    fn the_encoding_is_the_documented_one() {
        let key = KeyId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
        let time = UnixTime::new(258).unwrap();
        let expected: &[&[u8]] = &[
            b"fingerpost-signed-document-v1\0",
            b"\0\0\0\0\0\0\0\x01k",
            b"\0\0\0\0\0\0\0\x02ab",
            b"\0\0\0\0\0\0\0\x100001020304050607",
            b"\0\0\0\0\0\0\x01\x02",
        ];
        assert_eq!(DOCUMENT.canonical_bytes(key, time), expected.concat());
    }

    fn ring(key: &SigningKey) -> KeyRing {
        let mut ring = KeyRing::default();
        let name = KeyName::parse("k").unwrap();
        ring.add(Key::signing(name, UnixTime::MAX, key.clone()))
            .unwrap();
        ring
    }

    #[test]
    fn a_document_verifies_as_what_it_was_signed_as() {
        let id = KeyId::from_bytes([7; 8]);
        for key in [
            SigningKey::ed25519(&[1; 32]),
            SigningKey::hmac_sha256(id, &[2; 32]),
        ] {
            let mut ring = ring(&key);
            let text = key.sign_document(&DOCUMENT, UnixTime::MAX).to_string();
            assert_eq!(ring.verify_document(&DOCUMENT, &text), Ok(key.id()));
            for (kind, body) in [("K", &b"ab"[..]), ("k", b"aB"), ("ka", b"b"), ("k", b"")] {
                let other = Document { kind, body };
                let verified = ring.verify_document(&other, &text);
                assert_eq!(verified, Err(Reason::Mismatch), "{other:?}");
            }
            assert_eq!(ring.verify_document(&DOCUMENT, "x"), Err(Reason::Malformed));
            ring.set_state(key.id(), State::Revoked).unwrap();
            assert_eq!(ring.verify_document(&DOCUMENT, &text), Err(Reason::Revoked));
        }
    }

    #[test]
    fn a_row_and_a_document_are_never_each_other() {
        let key = SigningKey::ed25519(&[1; 32]);
        let row = Row {
            namespace: "k".to_owned(),
            method: "m".into(),
            taskhash: "t".into(),
            outhash: "o".into(),
            unihash: "u".into(),
        };
        let ring = ring(&key);
        let of_row = key.sign(&row, UnixTime::MAX).to_string();
        let of_document = key.sign_document(&DOCUMENT, UnixTime::MAX).to_string();
        assert!(ring.verify_document(&DOCUMENT, &of_row).is_err());
        assert!(ring.verify(&row, &of_document).is_err());
    }

    #[test]
    fn only_an_active_key_with_its_secret_signs_by_its_id() {
        let key = SigningKey::ed25519(&[1; 32]);
        let mut ring = ring(&key);
        assert_eq!(ring.signing_key_of(key.id()).unwrap().id(), key.id());
        let readers = ring.for_readers(crate::Sharing::Public);
        assert!(readers.signing_key_of(key.id()).is_none());
        ring.set_state(key.id(), State::Retired).unwrap();
        assert!(ring.signing_key_of(key.id()).is_none());
    }
}
