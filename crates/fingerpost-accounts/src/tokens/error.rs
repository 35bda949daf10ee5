//! Why a token was not made, and why one was refused.

use super::{LIVE_TOKENS_MAX, NAME_BYTES_MAX};
use crate::AccountsError;

/// Why no token was made. The texts may be told to whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The name is empty, too long, or has blanks at its ends or control
    /// characters.
    #[error(
        "a token's name has 1 to {NAME_BYTES_MAX} bytes, no control characters and no blanks \
         at its ends"
    )]
    Name,
    /// The end is not in the future.
    #[error("the token would have ended already")]
    Expired,
    /// There is no such user.
    #[error("there is no such user")]
    User,
    /// The scope has something that the user has not.
    #[error("a token cannot allow more than its user may")]
    Scope,
    /// The user has a live token of this name.
    #[error("the user has a token of this name already")]
    NameTaken,
    /// The user has too many.
    #[error("the user has too many tokens ({LIVE_TOKENS_MAX} at most); revoke some")]
    TooMany,
    /// The text that was made is no token: never seen.
    #[error("the new token cannot be read back")]
    Form,
    /// The database or the random numbers failed; nothing was made.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// Why a bearer's text gives nothing. All but the last are told as one and the
/// same refusal; which it was is for the log and the counters.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The text has not the form of a token.
    #[error("no bearer token")]
    Form,
    /// The text has a typo, or an end is missing. No row was looked up.
    #[error("a bearer token with a wrong checksum")]
    Checksum,
    /// There is no such token, or its secret is another.
    #[error("an unknown bearer token")]
    Unknown,
    /// The token was revoked.
    #[error("a revoked bearer token")]
    Revoked,
    /// The token has ended.
    #[error("an expired bearer token")]
    Expired,
    /// The database failed: nothing is known about the token.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// What the table says against a text, whose form is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Unknown,
    Revoked,
    Expired,
}

impl From<Refused> for VerifyError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::Unknown,
            Refused::Revoked => Self::Revoked,
            Refused::Expired => Self::Expired,
        }
    }
}

impl VerifyError {
    /// A word for counters; `None` when the server failed and not the caller.
    pub const fn label(&self) -> Option<&'static str> {
        match self {
            Self::Form => Some("form"),
            Self::Checksum => Some("checksum"),
            Self::Unknown => Some("unknown"),
            Self::Revoked => Some("revoked"),
            Self::Expired => Some("expired"),
            Self::Accounts(_) => None,
        }
    }
}
