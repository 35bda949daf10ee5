//! One password's hash.

use std::fmt;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::PasswordError;

/// Memory that a stored hash may ask for, KiB: a row must not take the server down.
const MEMORY_KIB_MAX: u32 = 256 << 10;
/// Passes and lanes that a stored hash may ask for.
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;

/// A PHC string of argon2id, `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`; other
/// texts verify nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash(pub(crate) String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

impl PasswordHash {
    /// Hashes with a fresh salt of 16 bytes and the parameters that OWASP names
    /// first. Blocks for tens of milliseconds.
    pub(super) fn of(password: &str) -> Result<Self, PasswordError> {
        let hashed = Argon2::default().hash_password(password.as_bytes());
        match hashed {
            Ok(hash) => Ok(Self(hash.to_string())),
            Err(error) => Err(PasswordError::Hash(error.to_string())),
        }
    }

    /// What an unknown user's password is compared with. It costs the same, and
    /// no password is known that it was made of.
    pub(super) fn nobodys() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 48];
        getrandom::fill(&mut bytes)?;
        let (salt, hash) = bytes.split_at(16);
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        let (memory, passes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST);
        Ok(Self(format!(
            "$argon2id$v=19$m={memory},t={passes},p=1${salt}${hash}"
        )))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the hash is this password's. Blocks as [`PasswordHash::of`] does.
    pub(super) fn verifies(&self, password: &str) -> bool {
        let Some(hash) = self.bounded() else {
            return false;
        };
        let verified = Argon2::default().verify_password(password.as_bytes(), &hash);
        verified.is_ok()
    }

    /// The hash, if it is one of argon2id that asks for no more than we give.
    fn bounded(&self) -> Option<Phc> {
        let hash = Phc::new(&self.0).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let is_fine = hash.algorithm.as_str() == "argon2id"
            && params.m_cost() <= MEMORY_KIB_MAX
            && params.t_cost() <= PASSES_MAX
            && params.p_cost() <= LANES_MAX;
        is_fine.then_some(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_verifies_its_password_only() {
        let hash = PasswordHash::of("correct horse").unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hash.verifies("correct horse"));
        assert!(!hash.verifies("correct horsf") && !hash.verifies(""));
        assert_ne!(hash, PasswordHash::of("correct horse").unwrap());
        assert_eq!(format!("{hash:?}"), "PasswordHash(hidden)");
    }

    #[test]
    fn nobodys_hash_is_a_hash_like_any_other() {
        let hash = PasswordHash::nobodys().unwrap();
        assert!(hash.bounded().is_some(), "{}", hash.as_str());
        assert!(!hash.verifies(""));
    }

    /// Made by argon2-cffi of Python, which is the reference's C code:
    /// `PasswordHasher(time_cost=1, memory_cost=1024, parallelism=2).hash(...)`.
    #[test]
    fn hashes_of_other_programs_verify() {
        let hash = PasswordHash(OTHER.to_owned());
        assert!(hash.verifies("correct horse"));
        assert!(!hash.verifies("correct"));
    }

    #[test]
    fn what_asks_for_too_much_or_is_something_else_verifies_nothing() {
        let other = OTHER.to_owned();
        for text in [
            String::new(),
            "sha256:aa:bb".to_owned(),
            other.replace("argon2id", "argon2i"),
            other.replace("argon2id", "scrypt"),
            other.replace("m=1024", "m=4194304"),
            other.replace("t=1", "t=4000000"),
            other.replace("p=2", "p=200"),
        ] {
            let hash = PasswordHash(text);
            assert!(hash.bounded().is_none() && !hash.verifies("correct horse"));
        }
    }

    const OTHER: &str = "$argon2id$v=19$m=1024,t=1,p=2$VaTNZu+0KDCYXGPcCpflOQ$a2p1wpNbu8+HamQOANLtJc534+VsOFlLZLFmUmTcNak";
}
