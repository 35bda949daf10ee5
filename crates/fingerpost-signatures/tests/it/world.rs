//! Keys and rows that the tests share.

use fingerpost_signatures::{Key, KeyId, KeyName, KeyRing, Row, SigningKey, State, UnixTime};

/// When everything here happens: 2026-11-18T11:06:40Z.
pub(crate) fn noon() -> UnixTime {
    UnixTime::new(1_795_000_000).expect("before the year 10,000")
}

pub(crate) fn ed25519(seed: u8) -> SigningKey {
    SigningKey::ed25519(&[seed; 32])
}

pub(crate) fn hmac(secret: u8) -> SigningKey {
    SigningKey::hmac_sha256(KeyId::from_bytes([secret; 8]), &[secret; 32])
}

/// A ring of these keys in these states, named by their order.
pub(crate) fn ring(keys: &[(SigningKey, State)]) -> KeyRing {
    let mut ring = KeyRing::default();
    for (at, (key, state)) in keys.iter().enumerate() {
        let name = KeyName::parse(&format!("key-{at}")).expect("letters and digits");
        ring.add(Key::signing(name, noon(), key.clone()))
            .expect("the keys differ");
        ring.set_state(key.id(), *state).expect("forward");
    }
    ring
}

pub(crate) fn row(namespace: &str, method: &str, hashes: [&str; 3]) -> Row {
    let [taskhash, outhash, unihash] = hashes;
    Row {
        namespace: namespace.to_owned(),
        method: method.into(),
        taskhash: taskhash.into(),
        outhash: outhash.into(),
        unihash: unihash.into(),
    }
}
