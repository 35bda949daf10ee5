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
