//! What a reader makes of an answer.

use std::fmt;
use std::str::FromStr;

use crate::{KeyId, KeyRing, Row};

/// How much a reader asks of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Signatures are not looked at.
    #[default]
    Off,
    /// An unsigned row is a hit, counted apart; a signature that is there must
    /// verify. Who can change answers can also strip them, so this finds damage, and
    /// mistakes, and no attack.
    Prefer,
    /// Only a row with a signature that verifies is a hit.
    Require,
}

impl Policy {
    /// The word in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Prefer => "prefer",
            Self::Require => "require",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(word: &str) -> Result<Self, UnknownPolicy> {
        [Self::Off, Self::Prefer, Self::Require]
            .into_iter()
            .find(|policy| policy.as_str() == word)
            .ok_or(UnknownPolicy)
    }
}

/// A word is none of the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected off, prefer or require")]
pub struct UnknownPolicy;

/// Why an answer is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no signature.
    Unsigned,
    /// The ring has no key of that id.
    UnknownKey,
    /// The key is revoked, whatever time the signature claims.
    Revoked,
    /// The key did not make this signature of this row.
    Mismatch,
    /// The text is no signature.
    Malformed,
}

impl Reason {
    /// Every reason, for counters.
    pub const ALL: [Self; 5] = [
        Self::Unsigned,
        Self::UnknownKey,
        Self::Revoked,
        Self::Mismatch,
        Self::Malformed,
    ];

    /// The word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::UnknownKey => "unknown_key",
            Self::Revoked => "revoked",
            Self::Mismatch => "mismatch",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an answer is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A hit, signed by this key.
    Verified(KeyId),
    /// A hit without a signature.
    Unsigned,
    /// A hit that nobody looked at, because the policy is off.
    Unchecked,
    /// A miss.
    Miss(Reason),
}

impl Verdict {
    /// Whether the answer may be used.
    pub const fn is_hit(self) -> bool {
        !matches!(self, Self::Miss(_))
    }

    /// The word in metrics and logs: `verified`, `unsigned_hit`, `unchecked`, or
    /// the reason of a miss.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified(_) => "verified",
            Self::Unsigned => "unsigned_hit",
            Self::Unchecked => "unchecked",
            Self::Miss(reason) => reason.as_str(),
        }
    }
}

/// Judges an answer. `row` must be built of what the reader **asked** (method and
/// taskhash, and the outhash if it asked by that) and only for the rest of what it was told; its namespace must
/// be one that the reader accepts. Else a server could answer with a signed row of another task.
///
/// `signature` is the text as it came.
pub fn judge(policy: Policy, ring: &KeyRing, row: &Row, signature: Option<&str>) -> Verdict {
    match (policy, signature) {
        (Policy::Off, _) => Verdict::Unchecked,
        (Policy::Prefer, None) => Verdict::Unsigned,
        (Policy::Require, None) => Verdict::Miss(Reason::Unsigned),
        (_, Some(text)) => ring
            .verify(row, text)
            .map_or_else(Verdict::Miss, Verdict::Verified),
    }
}

/// Judges an answer that may have several signatures, as [`judge()`] does: one that
/// verifies is enough. If none does, the reason is that of the signature that says
/// most: one that a trusted key did not make goes before a revoked key, a malformed
/// text and an unknown key.
pub fn judge_all(
    policy: Policy,
    ring: &KeyRing,
    row: &Row,
    signatures: &[impl AsRef<str>],
) -> Verdict {
    if policy == Policy::Off || signatures.is_empty() {
        return judge(policy, ring, row, None);
    }
    let mut worst = Reason::Unsigned;
    for signature in signatures {
        match judge(policy, ring, row, Some(signature.as_ref())) {
            Verdict::Miss(reason) if rank(reason) > rank(worst) => worst = reason,
            Verdict::Miss(_) => {}
            hit => return hit,
        }
    }
    Verdict::Miss(worst)
}

const fn rank(reason: Reason) -> u8 {
    match reason {
        Reason::Unsigned => 0,
        Reason::UnknownKey => 1,
        Reason::Malformed => 2,
        Reason::Revoked => 3,
        Reason::Mismatch => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, KeyName, SigningKey, UnixTime};

    #[test]
    fn one_signature_that_verifies_is_enough() {
        let row = Row {
            namespace: "main".to_owned(),
            method: "m".into(),
            taskhash: "t".into(),
            outhash: "o".into(),
            unihash: "u".into(),
        };
        let (key, unknown) = (SigningKey::ed25519(&[1; 32]), SigningKey::ed25519(&[9; 32]));
        let mut ring = KeyRing::default();
        let name = KeyName::parse("ci").unwrap();
        ring.add(Key::signing(name, UnixTime::MAX, key.clone()))
            .unwrap();
        let sign = |key: &SigningKey, row| key.sign(row, UnixTime::MAX).to_string();
        let (good, strange) = (sign(&key, &row), sign(&unknown, &row));
        let other = sign(
            &key,
            &Row {
                unihash: "v".into(),
                ..row.clone()
            },
        );
        let check = |signatures: &[&str], prefer, require| {
            let of = |policy| judge_all(policy, &ring, &row, signatures).as_str();
            assert_eq!(of(Policy::Off), "unchecked");
            assert_eq!(
                (of(Policy::Prefer), of(Policy::Require)),
                (prefer, require),
                "{signatures:?}"
            );
        };
        check(&[], "unsigned_hit", "unsigned");
        check(&[&strange, &good], "verified", "verified");
        check(&["nonsense", &good], "verified", "verified");
        check(&[&strange], "unknown_key", "unknown_key");
        check(&[&strange, &other, "nonsense"], "mismatch", "mismatch");
    }
}
