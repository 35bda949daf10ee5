//! What is signed, as values and as bytes.

use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};

use crate::{KeyId, UnixTime};

/// What the bytes begin with, so that a signature of a row can never pass for
/// one of anything else, nor for one of another version.
const DOMAIN: &[u8] = b"fingerpost-signed-row-v1\0";

/// A row as a server stores and answers it. Each field is any text, and exactly
/// its bytes are signed: `AB` and `ab` are different hashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Where the row lives, which need not be where it was asked for.
    pub namespace: String,
    /// The function that made the outhash.
    pub method: Method,
    /// Hash of the task's inputs.
    pub taskhash: Taskhash,
    /// Hash of what the task produced.
    pub outhash: Outhash,
    /// The name that the server answers.
    pub unihash: Unihash,
}

/// A row together with the key that signs it and the second in which it does.
#[derive(Clone, Copy, Debug)]
pub struct SignedRow<'a> {
    /// The row.
    pub row: &'a Row,
    /// The key.
    pub key: KeyId,
    /// When it signs, as its owner says. Nobody else vouches for it.
    pub time: UnixTime,
}

impl SignedRow<'_> {
    /// The bytes that are signed: the domain, then namespace, method, taskhash,
    /// outhash, unihash and key id as texts, each as its length in bytes (8
    /// bytes, big-endian) and itself, then the seconds (8 bytes, big-endian).
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let row = self.row;
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(DOMAIN);
        for text in [
            row.namespace.as_str(),
            row.method.as_str(),
            &row.taskhash.to_text(),
            &row.outhash.to_text(),
            &row.unihash.to_text(),
            &self.key.to_string(),
        ] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.time.seconds().to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_the_documented_one() {
        let row = Row {
            namespace: "main".to_owned(),
            method: "m\u{e9}".into(),
            taskhash: "".into(),
            outhash: "AB".into(),
            unihash: "ab".into(),
        };
        let key = KeyId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
        let time = UnixTime::new(258).expect("small");
        let expected: &[&[u8]] = &[
            b"fingerpost-signed-row-v1\0",
            b"\0\0\0\0\0\0\0\x04main",
            b"\0\0\0\0\0\0\0\x03m\xc3\xa9",
            b"\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\x02AB",
            b"\0\0\0\0\0\0\0\x02ab",
            b"\0\0\0\0\0\0\0\x100001020304050607",
            b"\0\0\0\0\0\0\x01\x02",
        ];
        let row = &row;
        let bytes = SignedRow { row, key, time }.canonical_bytes();
        assert_eq!(bytes, expected.concat());
    }
}
