//! Tokens, and how they are stored.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A token as its user has it: 64 characters of `[A-Za-z0-9._]` when it was
/// made here, any text when an administrator chose it. Never printed by accident.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Makes a token of 48 random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 48];
        getrandom::fill(&mut bytes)?;
        let text = STANDARD.encode(bytes);
        Ok(Self(text.replace('+', ".").replace('/', "_")))
    }

    /// The text, to be told once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// A token as the database has it: `sha256:SALT:HEX`, where SALT is 16 hex
/// characters and HEX the SHA-256 over the *text* of SALT followed by the
/// token's text. Other algorithms may be imported; they verify nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredToken(pub String);

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredToken({}, hidden)", self.algorithm())
    }
}

impl StoredToken {
    /// Hashes `token` with a fresh salt.
    pub fn of(token: &str) -> Result<Self, getrandom::Error> {
        let mut salt = [0; 8];
        getrandom::fill(&mut salt)?;
        let salt = hex(&salt);
        Ok(Self(format!("sha256:{salt}:{}", digest(&salt, token))))
    }

    /// Whether `token` is the stored one. Takes the time of one hash whatever is
    /// stored, and compares in time that does not depend on how much is right.
    pub fn verifies(&self, token: &str) -> bool {
        let (salt, expected) = self.sha256().unwrap_or((NO_SALT, ""));
        let actual = digest(salt, token);
        actual.as_bytes().ct_eq(expected.as_bytes()).into()
    }

    /// What an unknown user's token is compared with: it takes the same time and
    /// is never right.
    pub(crate) const fn nobodys() -> Self {
        Self(String::new())
    }

    /// Whether the algorithm is one that [`StoredToken::verifies`] knows.
    pub fn is_known(&self) -> bool {
        self.sha256().is_some()
    }

    /// The name of the algorithm, for the log.
    pub fn algorithm(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    fn sha256(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix("sha256:")?.split_once(':')
    }
}

/// As long as a real one.
const NO_SALT: &str = "0000000000000000";

fn digest(salt: &str, token: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(salt.as_bytes());
    hasher.update(token.as_bytes());
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    faster_hex::hex_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_references_form() {
        let token = Token::random().unwrap();
        assert_eq!(token.reveal().len(), 64);
        assert!(
            token
                .reveal()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
        );
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        assert_ne!(token.reveal(), Token::random().unwrap().reveal());
    }

    #[test]
    fn stored_tokens_verify_their_token_only() {
        let stored = StoredToken::of("secret").unwrap();
        assert!(stored.verifies("secret"));
        assert!(!stored.verifies("Secret"));
        assert!(!stored.verifies(""));
    }

    /// The digest was made with `printf 0011223344556677secret | sha256sum`.
    #[test]
    fn a_token_of_the_reference_verifies() {
        let stored = StoredToken(
            "sha256:0011223344556677:\
             d200d375205f8194627df80c58be19c136c5daa50a79221605ee61f4bd618f79"
                .to_owned(),
        );
        assert!(stored.verifies("secret"));
    }

    #[test]
    fn unknown_algorithms_verify_nothing() {
        for text in [
            "",
            "sha256",
            "sha256:aa",
            "md5:aa:bb",
            "scrypt:x:y",
            "SHA256:aa:bb",
        ] {
            let stored = StoredToken(text.to_owned());
            assert!(!stored.verifies("") && !stored.is_known(), "{text}");
        }
        assert!(!StoredToken("sha256::".to_owned()).verifies(""));
        assert!(!StoredToken::nobodys().verifies(""));
    }

    #[test]
    fn hashes_do_not_reach_the_log() {
        let stored = StoredToken("md5:aa:bb".to_owned());
        assert_eq!(format!("{stored:?}"), "StoredToken(md5, hidden)");
    }
}
