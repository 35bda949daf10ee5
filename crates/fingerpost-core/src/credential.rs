//! What somebody showed to log in, as far as it may be told.

use std::fmt;
use std::sync::Arc;

/// What a caller showed to log in: its kind, and what names it in public. Nothing of
/// it is secret. Its text is what the audit log has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `password`: the user's name, with their own token or password.
    Password,
    /// `token:ID`: a bearer token, by its public id.
    Token(Arc<str>),
    /// `oidc:ISSUER`: the token of a CI system's job, by its issuer's URL.
    Workload(Arc<str>),
    /// `certificate`: a client certificate, which stands for the user.
    Certificate,
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password => f.write_str("password"),
            Self::Token(id) => write!(f, "token:{id}"),
            Self::Workload(issuer) => write!(f, "oidc:{issuer}"),
            Self::Certificate => f.write_str("certificate"),
        }
    }
}
