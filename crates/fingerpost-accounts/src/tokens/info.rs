//! What is known of a token.

use fingerpost_core::{Credential, PermissionSet, Timestamp};

use crate::{Grant, Namespaces};

/// What is known of a token: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// The public id, 16 lower-case hex digits; also in the token's text.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// What its user calls it.
    pub name: String,
    /// What it allows, as far as its user may.
    pub permissions: PermissionSet,
    /// Where it allows that.
    pub namespaces: Namespaces,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// When it was last used, to ten minutes.
    pub used: Option<Timestamp>,
}

/// A row, with what its user may.
pub(crate) struct FoundToken {
    pub(crate) info: TokenInfo,
    pub(crate) secret: [u8; 32],
    pub(crate) of_user: PermissionSet,
}

impl FoundToken {
    pub(super) fn grant(&self) -> Grant {
        Grant {
            user: self.info.user.as_str().into(),
            permissions: self.info.permissions.intersection(self.of_user),
            namespaces: self.info.namespaces.clone(),
            until: self.info.expires,
            credential: Credential::Token(self.info.id.as_str().into()),
        }
    }
}
