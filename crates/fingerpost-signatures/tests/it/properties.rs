//! What holds for every row, key and text.

use fingerpost_signatures::{
    KeyId, KeyRing, Row, Signature, SignedRow, SigningKey, State, UnixTime,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::world::{ring, row};

/// Texts that are likely to run into each other, hashes, and any others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab\0\u{1}]{0,4}",
        "[0-9a-f]{64}",
        any::<String>(),
        Just(String::new()),
    ]
}

fn rows() -> impl Strategy<Value = Row> {
    (text(), text(), text(), text(), text())
        .prop_map(|(ns, method, task, out, uni)| row(&ns, &method, [&task, &out, &uni]))
}

fn times() -> impl Strategy<Value = UnixTime> {
    (0..=UnixTime::MAX.seconds()).prop_map(|seconds| UnixTime::new(seconds).unwrap())
}

fn keys() -> impl Strategy<Value = SigningKey> {
    (any::<bool>(), any::<[u8; 8]>(), any::<[u8; 32]>()).prop_map(|(hmac, id, secret)| match hmac {
        true => SigningKey::hmac_sha256(KeyId::from_bytes(id), &secret),
        false => SigningKey::ed25519(&secret),
    })
}

/// What `canonical_bytes` was given, read back: each encoding has one meaning.
fn decoded(bytes: &[u8]) -> Option<(Vec<String>, u64)> {
    let mut rest = bytes.strip_prefix(b"fingerpost-signed-row-v1\0")?;
    let mut texts = Vec::new();
    for _ in 0..6 {
        let (length, behind) = rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (text, behind) = behind.split_at_checked(length)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        rest = behind;
    }
    Some((texts, u64::from_be_bytes(rest.try_into().ok()?)))
}

proptest! {
    #[test]
    fn an_encoding_is_read_back_as_its_row(row in rows(), id: [u8; 8], time in times()) {
        let key = KeyId::from_bytes(id);
        let bytes = SignedRow { row: &row, key, time }.canonical_bytes();
        let texts = vec![
            row.namespace.clone(),
            row.method.to_string(),
            row.taskhash.to_text(),
            row.outhash.to_text(),
            row.unihash.to_text(),
            key.to_string(),
        ];
        prop_assert_eq!(decoded(&bytes), Some((texts, time.seconds())));
    }

    #[test]
    fn different_rows_have_different_encodings(a in rows(), b in rows()) {
        let (key, time) = (KeyId::from_bytes([0; 8]), UnixTime::MAX);
        let bytes = |row| SignedRow { row, key, time }.canonical_bytes();
        prop_assert_eq!(bytes(&a) == bytes(&b), a == b);
    }

    #[test]
    fn a_flipped_bit_in_the_row_does_not_verify(
        row in rows(), key in keys(), time in times(), field in 0..5_usize, at: Index, bit in 0..7_u8
    ) {
        let signature = key.sign(&row, time).to_string();
        let ring = ring(&[(key.clone(), State::Active)]);
        prop_assert_eq!(ring.verify(&row, &signature), Ok(key.id()));
        let Some(changed) = flipped(&row, field, at, bit) else { return Ok(()) };
        prop_assert!(ring.verify(&changed, &signature).is_err());
    }

    #[test]
    fn a_flipped_bit_in_the_signature_does_not_verify(
        row in rows(), key in keys(), time in times(), at: Index, bit in 0..7_u8
    ) {
        let ring = ring(&[(key.clone(), State::Active)]);
        let mut text = key.sign(&row, time).to_string().into_bytes();
        let at = at.index(text.len());
        text[at] ^= 1 << bit;
        let text = String::from_utf8(text).unwrap();
        prop_assert!(ring.verify(&row, &text).is_err(), "{}", text);
    }

    #[test]
    fn a_text_is_a_signature_only_if_it_would_be_written_so(
        text in prop_oneof![
            any::<String>(),
            "(ed25519|hmac-sha256):[0-9a-f]{15,17}:[0-9]{0,13}:[A-Za-z0-9_-]{42,44}",
            "ed25519:[0-9a-f]{16}:[0-9]{1,12}:[A-Za-z0-9_=-]{86}",
        ]
    ) {
        if let Ok(signature) = Signature::parse(&text) {
            prop_assert_eq!(signature.to_string(), text);
        }
    }

    #[test]
    fn reading_a_damaged_ring_never_panics(
        key in keys(), at: Index, byte in 0..128_u8, noise in any::<String>()
    ) {
        let mut text = ring(&[(key, State::Active)]).to_toml().as_bytes().to_vec();
        let at = at.index(text.len());
        text[at] = byte;
        let text = String::from_utf8(text).unwrap();
        for text in [text.as_str(), &noise, &format!("{}{noise}", &text[..at])] {
            if let Ok(ring) = KeyRing::parse(text) {
                let again = KeyRing::parse(&ring.to_toml()).unwrap();
                prop_assert_eq!(again.to_toml(), ring.to_toml());
            }
        }
    }
}

/// The row with one bit of one field flipped, if that leaves text.
fn flipped(row: &Row, field: usize, at: Index, bit: u8) -> Option<Row> {
    let mut texts = [
        row.namespace.clone(),
        row.method.to_string(),
        row.taskhash.to_text(),
        row.outhash.to_text(),
        row.unihash.to_text(),
    ];
    let mut bytes = std::mem::take(&mut texts[field]).into_bytes();
    if bytes.is_empty() {
        return None;
    }
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
    texts[field] = String::from_utf8(bytes).ok()?;
    let [namespace, method, hashes @ ..] = texts.each_ref().map(String::as_str);
    Some(crate::world::row(namespace, method, hashes))
}
