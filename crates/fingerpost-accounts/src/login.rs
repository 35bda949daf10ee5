//! Everything that a caller may show, for a door.

use std::sync::Arc;

use fingerpost_core::{PermissionSet, Principal, Timestamp};

use crate::oidc::{Refusal, Verifier};
use crate::passwords::{PasswordError, Passwords};
use crate::tokens::{BearerTokens, VerifyError, is_bearer_token};
use crate::{AccountsError, Grant, Namespaces};

/// The ways to log in that a server has. Clones share what they remember.
#[derive(Clone)]
pub struct Logins {
    /// Users with their token or password.
    pub passwords: Passwords,
    /// Bearer tokens.
    pub tokens: BearerTokens,
    /// Jobs of CI systems, if any issuer is configured.
    pub workloads: Option<Verifier>,
}

/// Who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The user themselves.
    User {
        /// Their name.
        name: Arc<str>,
        /// What they may, everywhere.
        permissions: PermissionSet,
    },
    /// Somebody who acts for a user.
    Acting(Grant),
}

/// Why nobody logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// What was shown is not right: 401. The word is for counters and the log;
    /// callers are told the same for all.
    #[error("the login is wrong: {0}")]
    Wrong(&'static str),
    /// Whether it is right cannot be said now: 503, and the caller may try again.
    #[error("the login cannot be checked now: {0}")]
    NotNow(&'static str),
    /// The database failed.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

impl Logins {
    /// A name with something secret, as HTTP Basic and the native `auth` have it:
    /// the user's token or password, or a bearer or workload token that acts for
    /// the user of this name.
    pub async fn by_name(&self, name: &str, secret: &str) -> Result<Login, LoginError> {
        if is_bearer_token(secret) || is_workload_token(secret.as_bytes()) {
            let login = self.by_token(secret.as_bytes()).await?;
            return match login.name() == name {
                true => Ok(login),
                false => Err(LoginError::Wrong("user")),
            };
        }
        let permissions = self.passwords.authenticate(name, secret).await?;
        let permissions = permissions.ok_or(LoginError::Wrong("user"))?;
        let name = name.into();
        Ok(Login::User { name, permissions })
    }

    /// A text alone, as HTTP's `Bearer` has it: a bearer or workload token.
    pub async fn by_token(&self, token: &[u8]) -> Result<Login, LoginError> {
        let text = std::str::from_utf8(token).ok();
        if let Some(text) = text.filter(|text| is_bearer_token(text)) {
            return Ok(Login::Acting(self.tokens.verify(text).await?));
        }
        let workloads = self.workloads.as_ref();
        let workloads = workloads.ok_or(LoginError::Wrong("form"))?;
        let workload = workloads.verify(token).await?;
        tracing::debug!(
            issuer = &*workload.issuer,
            subject = workload.subject.as_deref(),
            rule = workload.rule,
            "A workload acts for {}",
            workload.grant.user
        );
        Ok(Login::Acting(workload.grant))
    }
}

impl Login {
    /// The user who logged in or who is acted for.
    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. } => name,
            Self::Acting(grant) => &grant.user,
        }
    }

    /// The caller of a connection that was `before` until now.
    pub fn principal(&self, before: &Principal) -> Principal {
        match self {
            Self::User { name, permissions } => before.login(name, *permissions),
            Self::Acting(grant) => grant.principal(before),
        }
    }

    /// Where the permissions hold.
    pub const fn namespaces(&self) -> &Namespaces {
        match self {
            Self::User { .. } => &Namespaces::All,
            Self::Acting(grant) => &grant.namespaces,
        }
    }

    /// When the login ends, if it does.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::User { .. } => None,
            Self::Acting(grant) => grant.until,
        }
    }
}

/// Whether a text begins as every JWT does, `{"`, and has three parts.
fn is_workload_token(text: &[u8]) -> bool {
    let dots = text.iter().filter(|byte| **byte == b'.').count();
    text.starts_with(b"eyJ") && dots == 2
}

impl From<PasswordError> for LoginError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Accounts(error) => Self::Accounts(error),
            PasswordError::Unfit => Self::Wrong("user"),
            PasswordError::Busy | PasswordError::Hash(_) => Self::NotNow("passwords"),
        }
    }
}

impl From<VerifyError> for LoginError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Accounts(error) => Self::Accounts(error),
            refused => Self::Wrong(refused.label().unwrap_or("token")),
        }
    }
}

impl From<Refusal> for LoginError {
    fn from(refusal: Refusal) -> Self {
        match refusal.is_ours() {
            true => Self::NotNow(refusal.label()),
            false => Self::Wrong(refusal.label()),
        }
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_core::Permission::{Read, Report};

    use super::*;
    use crate::passwords::PasswordOptions;
    use crate::testing::World;
    use crate::tokens::NewToken;

    const READER: PermissionSet = PermissionSet::of(&[Read]);
    const BUILDER: PermissionSet = PermissionSet::of(&[Read, Report]);

    fn logins(world: &World) -> Logins {
        let (db, clock) = (&world.db, &world.clock);
        let options = PasswordOptions::default();
        Logins {
            passwords: Passwords::new(db.clone(), clock.clone(), options).unwrap(),
            tokens: BearerTokens::new(db.clone(), clock.clone()).unwrap(),
            workloads: Some(Verifier::new(Vec::new(), clock.clone()).unwrap()),
        }
    }

    fn word(result: Result<Login, LoginError>) -> &'static str {
        match result {
            Err(LoginError::Wrong(word)) => word,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_user_is_whole_and_a_token_acts_for_them() {
        let world = World::new();
        let secret = world.user("ci", BUILDER).await;
        let logins = logins(&world);
        let nobody = Principal::anonymous(PermissionSet::NONE);
        let new = NewToken {
            user: "ci".to_owned(),
            name: "reader".to_owned(),
            permissions: READER,
            namespaces: Namespaces::All,
            expires: None,
        };
        let (token, _) = logins.tokens.create(new).await.unwrap();
        let user = logins.by_name("ci", secret.reveal()).await.unwrap();
        let caller = user.principal(&nobody);
        assert!(caller.is_self(None) && caller.allows(&[Report]));
        for acting in [
            logins.by_name("ci", token.reveal()).await.unwrap(),
            logins.by_token(token.reveal().as_bytes()).await.unwrap(),
        ] {
            let caller = acting.principal(&nobody);
            assert_eq!(caller.name(), Some("ci"));
            assert!(!caller.is_self(None) && !caller.allows(&[Report]));
        }
        assert_eq!(word(logins.by_name("eve", token.reveal()).await), "user");
    }

    #[tokio::test]
    async fn whatever_is_shown_is_refused_by_whom_it_concerns() {
        let world = World::new();
        world.user("ci", BUILDER).await;
        let mut logins = logins(&world);
        assert_eq!(word(logins.by_name("ci", "wrong").await), "user");
        assert_eq!(word(logins.by_name("ci", "fp_wrong").await), "form");
        assert_eq!(word(logins.by_token(b"fp_\xff").await), "too_long");
        assert_eq!(word(logins.by_token(b"eyJ.a.b").await), "too_long");
        // Three parts, and a password all the same if it does not begin as they do.
        assert_eq!(word(logins.by_name("ci", "ey.a.b").await), "user");
        logins.workloads = None;
        assert_eq!(word(logins.by_token(b"eyJ.a.b").await), "form");
        assert_eq!(word(logins.by_name("ci", "eyJ.a.b").await), "form");
    }
}
