//! Who may read, pull and push, by the rules of hgweb and by our own.

use std::sync::Arc;

/// What somebody wants of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Seeing that it exists: the handshake, an index, the API's own pages.
    Read,
    /// Commands under `ro`.
    Pull,
    /// Commands under `rw`.
    Push,
}

impl Operation {
    /// The reason phrase that hgweb sends with 401, `pull not authorized`.
    pub const fn not_authorized(self) -> &'static str {
        match self {
            Self::Read => "read not authorized",
            Self::Pull => "pull not authorized",
            Self::Push => "push not authorized",
        }
    }
}

/// The outcome of a check. A refusal carries the operation whose rule said no:
/// pulling and pushing need reading first, as in hgweb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// Not for nobody in particular; some login may do it.
    NeedsLogin(Operation),
    /// Not for this caller; when the caller has no login, not for any login
    /// either.
    Denied(Operation),
}

/// Rules of our own configuration for one repository, over the users of
/// the accounts. `*` is everybody, also without a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRules {
    /// Who may read and pull; `None` says nothing, an empty list is nobody.
    pub read: Option<Vec<String>>,
    /// Who may push; `None` says nothing, an empty list is nobody.
    pub write: Option<Vec<String>>,
}

/// Every rule that applies to one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    own: Arc<OwnRules>,
}

impl AccessRules {
    /// Whether `user` (`None` without a login) may do `operation`.
    pub fn decide(&self, user: Option<&str>, operation: Operation) -> Decision {
        let _ = (user, &self.own);
        match operation {
            Operation::Read | Operation::Pull => Decision::Allowed,
            Operation::Push => Decision::Denied(operation),
        }
    }

    /// Whether pushing is for connections over TLS only (`web.push_ssl`, which
    /// is on unless a trusted file says otherwise). hgweb answers `403 ssl
    /// required`, before it asks who is pushing.
    pub const fn push_needs_tls(&self) -> bool {
        true
    }
}
