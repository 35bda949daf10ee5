//! The text of a bearer token: `fp_ID_SECRETCHECK`.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// What every bearer token begins with.
const PREFIX: &str = "fp_";
/// 64 bits: found by chance by nobody, and no secret.
const ID_DIGITS: usize = 16;
/// 192 random bits.
const SECRET_DIGITS: usize = 48;
const CHECK_DIGITS: usize = 8;
const LENGTH: usize = PREFIX.len() + ID_DIGITS + 1 + SECRET_DIGITS + CHECK_DIGITS;

/// A bearer token as its user has it, 76 characters: `fp_`, the public id (16
/// lower-case hex digits), `_`, the secret (48 digits, 192 random bits) and a
/// checksum (8 digits: the first 4 bytes of the SHA-256 over all before it). As a
/// pattern for scanners: `fp_[0-9a-f]{16}_[0-9a-f]{56}`. Never printed by accident.
#[derive(Clone)]
pub struct BearerToken(String);

impl BearerToken {
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; (ID_DIGITS + SECRET_DIGITS) / 2];
        getrandom::fill(&mut bytes)?;
        let digits = faster_hex::hex_string(&bytes);
        let (id, secret) = digits.split_at(ID_DIGITS);
        Ok(Self(with_checksum(&format!("{PREFIX}{id}_{secret}"))))
    }

    /// The text, to be told once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(hidden)")
    }
}

/// Whether `text` begins as bearer tokens do, and so is nothing else.
pub fn is_bearer_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// What of a token is no secret, with the prefix; nothing of a text that has no room
/// for it.
pub(crate) fn public_part(text: &str) -> &str {
    text.get(..PREFIX.len() + ID_DIGITS).unwrap_or_default()
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Form,
    Checksum,
}

/// A text of the right form with the right checksum.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) id: &'a str,
    secret: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Flaw> {
        let (id, rest) = digits_of(text).ok_or(Flaw::Form)?;
        let (secret, expected) = rest.split_at(SECRET_DIGITS);
        let (signed, _) = text.split_at(LENGTH - CHECK_DIGITS);
        // Nothing secret is compared: whoever has the text can compute this.
        if check(signed) != expected {
            return Err(Flaw::Checksum);
        }
        Ok(Self { id, secret })
    }

    /// What is stored of the secret.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

fn digits_of(text: &str) -> Option<(&str, &str)> {
    if text.len() != LENGTH {
        return None;
    }
    let (id, rest) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_good = id.len() == ID_DIGITS && id.bytes().chain(rest.bytes()).all(is_digit);
    is_good.then_some((id, rest))
}

pub(super) fn with_checksum(text: &str) -> String {
    format!("{text}{}", check(text))
}

fn check(text: &str) -> String {
    let digest = Sha256::digest(text);
    faster_hex::hex_string(&digest[..CHECK_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_read_back_and_not_printed() {
        let token = BearerToken::random().unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), 76);
        assert!(is_bearer_token(text) && !text.contains(&format!("{token:?}")));
        let parts = Parts::parse(text).unwrap();
        assert_eq!(parts.id, &text[3..19]);
        assert_ne!(parts.digest(), [0; 32]);
        assert_ne!(text, BearerToken::random().unwrap().reveal());
    }

    /// The checksum was made with `printf fp_0123456789abcdef_000... | sha256sum`.
    #[test]
    fn the_form_stays_as_it_is() {
        let text = format!("fp_0123456789abcdef_{}{}", "0".repeat(48), "00aa9966");
        assert!(Parts::parse(&text).is_ok());
    }

    proptest! {
        #[test]
        fn a_typo_is_found(position in 0..76_usize, typed in any::<char>()) {
            let token = BearerToken::random().unwrap();
            let mut text: Vec<char> = token.reveal().chars().collect();
            prop_assume!(text[position] != typed);
            text[position] = typed;
            let text: String = text.into_iter().collect();
            prop_assert!(Parts::parse(&text).is_err());
        }

        #[test]
        fn any_text_is_refused_or_read(text in "(fp_)?[0-9a-fé_]{0,80}") {
            prop_assert!(Parts::parse(&text).is_err());
        }
    }
}
