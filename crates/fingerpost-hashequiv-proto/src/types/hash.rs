//! The three hashes of the protocol. Each is a text; nearly all are SHA-256
//! digests, which are kept as their 32 bytes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{decode_hex, encode_hex};

/// A hash text: 32 bytes when it is 64 lower-case hex digits, else the text
/// itself. `Text` never holds what `Bytes` could, so equality of values is
/// equality of texts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum HashText {
    Bytes([u8; 32]),
    Text(Box<str>),
}

impl HashText {
    fn parse(text: &str) -> Self {
        decode_hex(text.as_bytes()).map_or_else(|| Self::Text(text.into()), Self::Bytes)
    }

    const fn as_bytes(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(_) => None,
        }
    }

    /// Calls `then` with the text, which for bytes lives on the stack only.
    fn with_text<T>(&self, then: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Bytes(bytes) => {
                let digits = encode_hex(bytes);
                then(std::str::from_utf8(&digits).expect("hex digits are ASCII"))
            }
            Self::Text(text) => then(text),
        }
    }
}

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Usually 64 lower-case hex digits, kept as 32 bytes; any other text
        /// is legal on the wire and kept exactly. Values are equal when their
        /// texts are. The order is total, digests first; it is not the order
        /// of the texts.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(HashText);

        impl $name {
            /// Takes any text.
            pub fn parse(text: &str) -> Self {
                Self(HashText::parse(text))
            }

            /// The hash whose text is these bytes in lower-case hex.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(HashText::Bytes(bytes))
            }

            /// The 32 bytes, if the text is exactly 64 lower-case hex digits.
            pub const fn as_bytes(&self) -> Option<&[u8; 32]> {
                self.0.as_bytes()
            }

            /// The text, exactly as it was parsed.
            pub fn to_text(&self) -> String {
                self.0.with_text(str::to_owned)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.with_text(|text| f.pad(text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.with_text(|text| write!(f, concat!(stringify!($name), "({:?})"), text))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.with_text(|text| serializer.serialize_str(text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::field::visit_text(deserializer, |text| Self::parse(text))
            }
        }
    };
}

hash! {
    /// Hash of a task's inputs.
    Taskhash
}
hash! {
    /// Hash of what a task produced.
    Outhash
}
hash! {
    /// The shared name of a class of equivalent taskhashes. New ones must be
    /// [valid](Unihash::is_valid); old databases and odd upstreams hold others.
    Unihash
}

impl Unihash {
    /// Takes a valid unihash only: exactly 64 lower-case hex digits.
    pub fn parse_valid(text: &str) -> Result<Self, InvalidUnihash> {
        decode_hex(text.as_bytes())
            .map(Self::from_bytes)
            .ok_or(InvalidUnihash)
    }

    /// Whether the text is exactly 64 lower-case hex digits. A current client
    /// ends its build when an answer is not.
    pub const fn is_valid(&self) -> bool {
        self.as_bytes().is_some()
    }
}

/// A unihash is not exactly 64 lower-case hex digits. The text is the
/// protocol's own and is told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid unihash")]
pub struct InvalidUnihash;

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn any_text_survives_exactly() {
        for text in [
            DIGITS,
            "",
            "5",
            " a\n",
            "é",
            &DIGITS.to_uppercase(),
            &DIGITS[1..],
        ] {
            assert_eq!(Taskhash::parse(text).to_text(), text);
            assert_eq!(Outhash::parse(text).to_string(), text);
            let json = serde_json::to_string(&Unihash::parse(text)).unwrap();
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(
                serde_json::from_str::<Unihash>(&json).unwrap(),
                Unihash::parse(text)
            );
        }
    }

    #[test]
    fn digests_are_bytes() {
        let hash = Taskhash::parse(DIGITS);
        assert_eq!(hash, Taskhash::from_bytes(*hash.as_bytes().unwrap()));
        assert_eq!(Taskhash::parse(&DIGITS.to_uppercase()).as_bytes(), None);
    }

    #[test]
    fn debug_shows_the_text() {
        assert_eq!(format!("{:?}", Unihash::parse("x")), "Unihash(\"x\")");
    }

    #[test]
    fn only_64_lower_case_hex_digits_are_a_valid_unihash() {
        assert!(Unihash::parse_valid(DIGITS).unwrap().is_valid());
        let (upper, longer, line) = (
            DIGITS.to_uppercase(),
            format!("{DIGITS}0"),
            format!("{DIGITS}\n"),
        );
        for text in ["", &DIGITS[1..], &upper, &longer, &line] {
            assert_eq!(Unihash::parse_valid(text), Err(InvalidUnihash));
            assert!(!Unihash::parse(text).is_valid());
        }
        assert_eq!(InvalidUnihash.to_string(), "Invalid unihash");
    }

    #[test]
    fn hashes_are_texts_and_nothing_else() {
        assert!(serde_json::from_str::<Taskhash>("5").is_err());
        assert!(serde_json::from_str::<Taskhash>("null").is_err());
    }
}
