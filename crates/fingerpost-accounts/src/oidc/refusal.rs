//! Why a workload's token is refused.

use super::json::Flaw;

/// Why a workload's token gives nothing. Callers are told one and the same; which
/// it was is for the log and the counters. Only [`Refusal::NoRule`] is about
/// claims that an issuer vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More bytes than the issuer's tokens may have.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url.
    #[error("the token is no signed JWT")]
    Form,
    /// A part is not UTF-8.
    #[error("the token is not UTF-8")]
    Utf8,
    /// A part is not a JSON object.
    #[error("the token has a part that is no JSON object")]
    Json,
    /// A name stands twice in one object.
    #[error("the token has a field twice")]
    DuplicateField,
    /// Objects in objects in objects.
    #[error("the token is nested too deeply")]
    TooDeep,
    /// `alg` is `none`.
    #[error("the token is not signed")]
    Unsigned,
    /// `alg` is one of shared secrets.
    #[error("the token is signed with a shared secret")]
    Symmetric,
    /// `alg` is missing, unknown, or not allowed for the issuer.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// The header brings a key, or says where one is.
    #[error("the token brings its own key")]
    KeyInHeader,
    /// The header has `crit`: something that must be understood.
    #[error("the token has critical extensions")]
    Critical,
    /// `typ` is not `JWT`: the token was made for something else.
    #[error("the token is of another type")]
    WrongType,
    /// `kid` is no text of a fair length, or it is missing and the issuer has
    /// several keys for the algorithm.
    #[error("the token does not name its key")]
    NoKeyId,
    /// `iss` is missing or not an issuer that is configured.
    #[error("the token is of an unknown issuer")]
    Issuer,
    /// `aud` is missing, or nothing in it is ours.
    #[error("the token is for another audience")]
    Audience,
    /// A claim that must be there is not.
    #[error("the token has no claim {0}")]
    MissingClaim(&'static str),
    /// A claim is of another type, or beyond all bounds.
    #[error("the token's claim {0} cannot be read")]
    BadClaim(&'static str),
    /// `exp` is over.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is yet to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is yet to come.
    #[error("the token was issued in the future")]
    IssuedLater,
    /// From `iat` to `exp` it is longer than the issuer's tokens may live.
    #[error("the token lives too long")]
    LivesTooLong,
    /// The issuer has no such key.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// The key is of another kind than the algorithm, or for another one.
    #[error("the token's key does not fit its algorithm")]
    KeyMismatch,
    /// There are no keys of the issuer now: the caller may try again.
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// No rule matches. The token itself is right.
    #[error("no rule allows this workload anything")]
    NoRule,
}

impl Refusal {
    /// A word for counters.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Form => "form",
            Self::Utf8 => "utf8",
            Self::Json => "json",
            Self::DuplicateField => "duplicate_field",
            Self::TooDeep => "too_deep",
            Self::Unsigned => "unsigned",
            Self::Symmetric => "symmetric",
            Self::Algorithm => "algorithm",
            Self::KeyInHeader => "key_in_header",
            Self::Critical => "critical",
            Self::WrongType => "wrong_type",
            Self::NoKeyId => "no_key_id",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::MissingClaim(_) => "missing_claim",
            Self::BadClaim(_) => "bad_claim",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedLater => "issued_later",
            Self::LivesTooLong => "lives_too_long",
            Self::UnknownKey => "unknown_key",
            Self::KeyMismatch => "key_mismatch",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Signature => "signature",
            Self::NoRule => "no_rule",
        }
    }

    /// Whether the server is to blame and not the caller: 503, not 401.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::KeysUnavailable)
    }
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Utf8 => Self::Utf8,
            Flaw::Syntax => Self::Json,
            Flaw::Duplicate => Self::DuplicateField,
            Flaw::Depth => Self::TooDeep,
        }
    }
}
