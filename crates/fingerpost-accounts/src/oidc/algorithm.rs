//! Algorithms of signatures.

use serde::{Deserialize, Serialize};

/// How a token may be signed: with the private half of a key pair. There is no
/// value for `none` or for a shared secret, so neither can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 and RFC 8037")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// What a header's `alg` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Known(Algorithm),
    /// Anything spelled like `none`.
    Unsigned,
    /// Signed with a secret that the verifier would have to know.
    Symmetric,
    Unknown,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Returns the name in headers and key sets, `RS256` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Reads a header's `alg`.
    pub(super) fn named(name: &str) -> Named {
        if let Some(known) = Self::ALL.into_iter().find(|known| known.as_str() == name) {
            return Named::Known(known);
        }
        let is_symmetric = name
            .get(..2)
            .is_some_and(|family| family.eq_ignore_ascii_case("HS"));
        if name.eq_ignore_ascii_case("none") {
            Named::Unsigned
        } else if is_symmetric {
            Named::Symmetric
        } else {
            Named::Unknown
        }
    }

    /// The only kind of key that signs so.
    pub(super) const fn kind(self) -> KeyKind {
        match self {
            Self::ES256 => KeyKind::P256,
            Self::ES384 => KeyKind::P384,
            Self::EdDSA => KeyKind::Ed25519,
            _ => KeyKind::Rsa,
        }
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::RS256 => Self::RS256,
            Algorithm::RS384 => Self::RS384,
            Algorithm::RS512 => Self::RS512,
            Algorithm::PS256 => Self::PS256,
            Algorithm::PS384 => Self::PS384,
            Algorithm::PS512 => Self::PS512,
            Algorithm::ES256 => Self::ES256,
            Algorithm::ES384 => Self::ES384,
            Algorithm::EdDSA => Self::EdDSA,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_dangerous_ones_are_known() {
        for algorithm in Algorithm::ALL {
            assert_eq!(
                Algorithm::named(algorithm.as_str()),
                Named::Known(algorithm)
            );
        }
        for (name, expected) in [
            ("none", Named::Unsigned),
            ("nOnE", Named::Unsigned),
            ("HS256", Named::Symmetric),
            ("hs512", Named::Symmetric),
            ("rs256", Named::Unknown),
            ("ES256K", Named::Unknown),
            ("é", Named::Unknown),
            ("", Named::Unknown),
        ] {
            assert_eq!(Algorithm::named(name), expected, "{name}");
        }
    }

    #[test]
    fn only_key_pairs_can_be_configured() {
        let read = |name: &str| serde_json::from_value::<Algorithm>(name.into()).is_ok();
        assert!(read("EdDSA") && read("PS512"));
        assert!(!read("none") && !read("HS256") && !read("rs256"));
    }
}
