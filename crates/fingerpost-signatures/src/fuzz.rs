//! Fuzz targets: plain functions over bytes that panic when something that must hold
//! does not. They are for tests and fuzzers, never for a server.

use crate::{Key, KeyName, KeyRing, Reason, Row, Signature, SigningKey, UnixTime};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 2] =
    [("signature", fuzz_signature), ("key_ring", fuzz_key_ring)];

/// The text of a signature: what is read would be written so, and a key believes
/// only what it made itself.
pub fn fuzz_signature(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let key = SigningKey::ed25519(&[1; 32]);
    let row = row();
    let verified = ring(&key).verify(&row, text);
    let Ok(signature) = Signature::parse(text) else {
        assert_eq!(verified, Err(Reason::Malformed));
        return;
    };
    assert_eq!(signature.to_string(), text);
    let is_own = key.sign(&row, signature.time()) == signature;
    assert_eq!(verified == Ok(key.id()), is_own);
}

/// A key ring: what is read is written and read again unchanged.
pub fn fuzz_key_ring(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(ring) = KeyRing::parse(text) else {
        return;
    };
    let written = ring.to_toml();
    let again = KeyRing::parse(&written).expect("what is written is read");
    assert_eq!(again.to_toml(), written);
}

fn ring(key: &SigningKey) -> KeyRing {
    let mut ring = KeyRing::default();
    let name = KeyName::parse("k").expect("a letter is a name");
    ring.add(Key::signing(name, UnixTime::MAX, key.clone()))
        .expect("the first key has no twin");
    ring
}

fn row() -> Row {
    let hash = "a".repeat(64);
    Row {
        namespace: "main".to_owned(),
        method: "m".into(),
        taskhash: hash.as_str().into(),
        outhash: hash.as_str().into(),
        unihash: hash.as_str().into(),
    }
}
