//! Everything that a caller may show, for a door.

use std::collections::BTreeMap;
use std::sync::Arc;

use fingerpost_core::{Clock, Credential, Origin, PermissionSet, Principal, Timestamp};
use prometheus_client::registry::Registry;

use crate::looks::{Looks, Shown};
use crate::metrics::LoginMetrics;
use crate::oidc::{Refusal, Verifier};
use crate::passwords::{PasswordError, PasswordOptions, Passwords};
use crate::tokens::{BearerTokens, VerifyError, is_bearer_token, public_part};
use crate::{AccountStore, Accounts, AccountsError, Grant, Namespaces, Wait, Way};

/// Which ways to log in there are beside users' tokens, passwords and bearer
/// tokens.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    /// Whether passwords and tokens are taken from other hosts without
    /// encryption.
    pub plaintext: bool,
    /// Names in certificates, with their kind in front, and the users they stand
    /// for.
    pub certificates: BTreeMap<String, String>,
    /// Jobs of CI systems, if any issuer is configured.
    pub workloads: Option<Verifier>,
    /// Logins that were looked at and wrong, of one address, a second; beyond it only
    /// those are looked at that were right lately. 0 for any number. 10.
    pub bad_logins_per_address: u32,
    /// An address that was quiet for so many seconds may have those of that time at
    /// once. 10.
    pub burst_seconds: u32,
}

impl Default for LoginOptions {
    fn default() -> Self {
        Self {
            plaintext: false,
            certificates: BTreeMap::new(),
            workloads: None,
            bad_logins_per_address: 10,
            burst_seconds: 10,
        }
    }
}

/// The ways to log in that a server has. Clones share what they remember.
#[derive(Clone)]
pub struct Logins {
    /// The users themselves.
    pub accounts: Accounts,
    /// Users with their token or password.
    pub passwords: Passwords,
    /// Bearer tokens.
    pub tokens: BearerTokens,
    /// Jobs of CI systems, if any issuer is configured.
    pub workloads: Option<Verifier>,
    pub(crate) plaintext: bool,
    looks: Looks,
    certificates: Arc<BTreeMap<String, String>>,
    pub(crate) metrics: LoginMetrics,
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
    /// Others could have read on its way what was shown: 403. It was not looked at.
    #[error("logins are taken through TLS or from this host only")]
    Plaintext,
    /// Logins of this user, or of this address, failed again and again: 429. It was
    /// not looked at.
    #[error(transparent)]
    Throttled(#[from] Wait),
    /// The database failed.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

impl Logins {
    /// The logins of a database. Fails when there are no random numbers.
    pub fn new(
        store: impl Into<AccountStore>,
        clock: Arc<dyn Clock>,
        options: LoginOptions,
    ) -> Result<Self, AccountsError> {
        let (store, passwords) = (store.into(), PasswordOptions::default());
        Ok(Self {
            accounts: Accounts::new(store.clone()),
            passwords: Passwords::new(store.clone(), clock.clone(), passwords)?,
            tokens: BearerTokens::new(store, clock.clone())?,
            looks: Looks::new(&options, &clock)?,
            workloads: options.workloads,
            plaintext: options.plaintext,
            certificates: Arc::new(options.certificates),
            metrics: LoginMetrics::default(),
        })
    }

    /// Adds the counters of logins, and what is shown of issuers' keys, to `registry`,
    /// whose prefix is `fingerpost`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        if let Some(workloads) = &self.workloads {
            workloads.register_metrics(registry);
        }
    }

    /// A name with something secret, as HTTP Basic and the native `auth` have it:
    /// the user's token or password, or a bearer or workload token that acts for
    /// the user of this name. `host` is where it comes from.
    pub(crate) async fn by_name(
        &self,
        host: &Origin,
        name: &str,
        secret: &str,
    ) -> Result<Login, LoginError> {
        if is_bearer_token(secret) || is_workload_token(secret.as_bytes()) {
            let login = self.by_token(host, secret.as_bytes()).await?;
            return match login.name() == name {
                true => Ok(login),
                false => Err(LoginError::Wrong("user")),
            };
        }
        let shown = Shown {
            host,
            whose: name,
            secret: secret.as_bytes(),
        };
        let looking = async {
            let permissions = self.passwords.authenticate(name, secret).await?;
            permissions.ok_or(LoginError::Wrong("user"))
        };
        let permissions = self.looks.look(shown, looking).await?;
        let name = name.into();
        Ok(Login::User { name, permissions })
    }

    /// A text alone, as HTTP's `Bearer` has it: a bearer or workload token. What is
    /// known of it costs no look.
    pub(crate) async fn by_token(&self, host: &Origin, token: &[u8]) -> Result<Login, LoginError> {
        let text = std::str::from_utf8(token).ok();
        let grant = match text.filter(|text| is_bearer_token(text)) {
            Some(text) => self.by_bearer(host, text).await?,
            None => self.by_workload(host, token).await?,
        };
        Ok(Login::Acting(grant))
    }

    async fn by_bearer(&self, host: &Origin, text: &str) -> Result<Grant, LoginError> {
        if let Some(grant) = self.tokens.known(text)? {
            return Ok(grant);
        }
        let shown = Shown {
            host,
            whose: public_part(text),
            secret: text.as_bytes(),
        };
        self.looks.look(shown, self.tokens.verify(text)).await
    }

    async fn by_workload(&self, host: &Origin, token: &[u8]) -> Result<Grant, LoginError> {
        let workloads = self.workloads.as_ref();
        let workloads = workloads.ok_or(LoginError::Wrong("form"))?;
        if let Some(workload) = workloads.known(token)? {
            return Ok(workload.grant);
        }
        let shown = Shown {
            host,
            // Nothing that it claims is true yet.
            whose: std::str::from_utf8(token).unwrap_or_default(),
            secret: token,
        };
        let workload = self.looks.look(shown, workloads.verify(token)).await?;
        tracing::debug!(
            issuer = &*workload.issuer,
            subject = workload.subject.as_deref(),
            rule = workload.rule,
            "A workload acts for {}",
            workload.grant.user
        );
        Ok(workload.grant)
    }

    /// The user whom a certificate stands for, with what they may now. Who has
    /// the certificate's key acts for them, and has no account to manage.
    pub(crate) async fn by_certificate(&self, way: Way<'_>) -> Result<Option<Login>, LoginError> {
        let mapped = way.certificate.and_then(|name| self.certificates.get(name));
        let Some(name) = mapped else {
            return Ok(None);
        };
        let Some(user) = self.accounts.get(name).await? else {
            tracing::debug!(
                user = name,
                "A certificate stands for {name}, who is no user"
            );
            return Ok(None);
        };
        Ok(Some(Login::Acting(Grant {
            user: user.username.into(),
            permissions: user.permissions,
            namespaces: Namespaces::All,
            until: None,
            credential: Credential::Certificate,
        })))
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
            Self::User { name, permissions } => {
                let user = before.login(name, *permissions);
                user.showing(self.credential())
            }
            Self::Acting(grant) => grant.principal(before),
        }
    }

    /// What was shown.
    pub fn credential(&self) -> Credential {
        match self {
            Self::User { .. } => Credential::Password,
            Self::Acting(grant) => grant.credential.clone(),
        }
    }

    /// What whoever logged in may.
    pub const fn permissions(&self) -> PermissionSet {
        match self {
            Self::User { permissions, .. } => *permissions,
            Self::Acting(grant) => grant.permissions,
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

impl LoginError {
    /// Two words for counters: what kind of failure it is, and which.
    pub const fn labels(&self) -> (&'static str, &'static str) {
        match self {
            Self::Wrong(reason) => ("wrong", reason),
            Self::NotNow(reason) => ("not_now", reason),
            Self::Plaintext => ("plaintext", ""),
            Self::Throttled(wait) => ("throttled", wait.by),
            Self::Accounts(_) => ("failed", ""),
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
    use crate::testing::World;
    use crate::tokens::NewToken;

    const READER: PermissionSet = PermissionSet::of(&[Read]);
    const BUILDER: PermissionSet = PermissionSet::of(&[Read, Report]);
    const HERE: Origin = Origin::User(0);

    fn logins(world: &World) -> Logins {
        let options = LoginOptions {
            workloads: Some(Verifier::new(Vec::new(), world.clock.clone()).unwrap()),
            ..LoginOptions::default()
        };
        Logins::new(world.store.clone(), world.clock.clone(), options).unwrap()
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
        let user = logins.by_name(&HERE, "ci", secret.reveal()).await.unwrap();
        let caller = user.principal(&nobody);
        assert!(caller.is_self(None) && caller.allows(&[Report]));
        assert_eq!(caller.credential(), Some(&Credential::Password));
        for acting in [
            logins.by_name(&HERE, "ci", token.reveal()).await.unwrap(),
            logins
                .by_token(&HERE, token.reveal().as_bytes())
                .await
                .unwrap(),
        ] {
            let caller = acting.principal(&nobody);
            assert_eq!(caller.name(), Some("ci"));
            assert!(!caller.is_self(None) && !caller.allows(&[Report]));
            let id = Credential::Token(token.reveal()[3..19].into());
            assert_eq!(caller.credential(), Some(&id));
        }
        assert_eq!(
            word(logins.by_name(&HERE, "eve", token.reveal()).await),
            "user"
        );
    }

    #[tokio::test]
    async fn whatever_is_shown_is_refused_by_whom_it_concerns() {
        let world = World::new();
        world.user("ci", BUILDER).await;
        let mut logins = logins(&world);
        assert_eq!(word(logins.by_name(&HERE, "ci", "wrong").await), "user");
        assert_eq!(word(logins.by_name(&HERE, "ci", "fp_wrong").await), "form");
        assert_eq!(word(logins.by_token(&HERE, b"fp_\xff").await), "too_long");
        assert_eq!(word(logins.by_token(&HERE, b"eyJ.a.b").await), "too_long");
        // Three parts, and a password all the same if it does not begin as they do.
        assert_eq!(word(logins.by_name(&HERE, "ci", "ey.a.b").await), "user");
        logins.workloads = None;
        assert_eq!(word(logins.by_token(&HERE, b"eyJ.a.b").await), "form");
        assert_eq!(word(logins.by_name(&HERE, "ci", "eyJ.a.b").await), "form");
    }
}
