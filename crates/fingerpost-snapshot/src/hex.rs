//! 32 bytes as exactly 64 lower-case hex digits.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::Hash;

/// Spells the bytes.
pub(crate) fn encode(bytes: &Hash) -> String {
    faster_hex::hex_string(bytes)
}

/// Reads exactly 64 lower-case hex digits; anything else gives `None`.
pub(crate) fn decode(text: &str) -> Option<Hash> {
    let upper = text.bytes().any(|digit| digit.is_ascii_uppercase());
    if text.len() != 64 || upper {
        return None;
    }
    let mut bytes = [0; 32];
    faster_hex::hex_decode(text.as_bytes(), &mut bytes).ok()?;
    Some(bytes)
}

/// For `#[serde(with)]`.
pub(crate) fn serialize<S: Serializer>(bytes: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

/// For `#[serde(with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    decode(&text).ok_or_else(|| D::Error::custom("expected 64 lower-case hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_lower_case_digits_are_a_hash() {
        let digits = "0a".repeat(32);
        assert_eq!(decode(&digits), Some([10; 32]));
        assert_eq!(encode(&[10; 32]), digits);
        let longer = format!("{digits}0");
        for wrong in ["", &digits[1..], &longer, &digits.to_uppercase()] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        assert_eq!(decode(&"é".repeat(32)), None);
    }
}
