//! Passwords that people chose, hashed with argon2id.
//!
//! Such a hash takes some 20 MiB and tens of milliseconds, by intent. So one is
//! computed at a time, few wait for their turn, and a password that was right is
//! remembered for some seconds. Random tokens need none of that: texts that look
//! like one are never hashed here, and none can be chosen as a password.

mod hash;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, PermissionSet};

pub(crate) use self::hash::PasswordHash;
use self::turn::Turns;
use crate::AccountsError;
use crate::recent::Recent;
use crate::store::{AccountStore, Tables};
use crate::token::StoredToken;
use crate::tokens::is_bearer_token;

/// Bytes of a password at least.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Bytes of a password at most.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// Passwords remembered at most.
const REMEMBERED_MAX: usize = 1024;

/// How much work passwords may cause.
#[derive(Clone, Copy, Debug)]
pub struct PasswordOptions {
    /// Hashes that wait for the one that is computed; what comes then is refused.
    pub waiting_max: usize,
    /// How long one waits.
    pub wait_max: Duration,
    /// How long a password that was right is believed without hashing it again.
    /// A change of the password ends that at once.
    pub remembered_for: Duration,
}

impl Default for PasswordOptions {
    fn default() -> Self {
        Self {
            waiting_max: 32,
            wait_max: Duration::from_secs(5),
            remembered_for: Duration::from_secs(10),
        }
    }
}

/// A user with all that they can log in with by name.
pub(crate) struct NamedLogin {
    pub(crate) token: StoredToken,
    pub(crate) hash: Option<PasswordHash>,
    pub(crate) permissions: PermissionSet,
}

/// What a look-up found.
pub(crate) struct Found {
    pub(crate) user: Option<NamedLogin>,
    /// Whether anybody has a password.
    pub(crate) in_use: bool,
}

/// Why nothing is known about a password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait, or the wait was too long: try again.
    #[error("too many passwords are being checked")]
    Busy,
    /// The password is too short or too long, or it looks like a token.
    #[error(
        "a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes and does not look \
         like a token"
    )]
    Unfit,
    /// The hash could not be computed.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
    /// The database or the random numbers failed.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// Logins with a user's name and their token or password. Clones share the queue
/// and what is remembered.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    store: Arc<dyn Tables>,
    clock: Arc<dyn Clock>,
    turns: Turns,
    recent: Recent<()>,
    /// Of a password that nobody knows.
    nobodys: PasswordHash,
}

impl Passwords {
    /// The logins of a database. Fails when there are no random numbers.
    pub fn new(
        store: impl Into<AccountStore>,
        clock: Arc<dyn Clock>,
        options: PasswordOptions,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self(Arc::new(Inner {
            store: store.into().0,
            turns: Turns::new(options.waiting_max, options.wait_max),
            recent: Recent::new(REMEMBERED_MAX, options.remembered_for, clock.clone())?,
            nobodys: PasswordHash::nobodys()?,
            clock,
        })))
    }

    /// The permissions of `username` when `secret` is their token, as with
    /// [`Accounts::authenticate`], or their password.
    ///
    /// Where passwords are in use, an unknown user and one without a password cost
    /// as much as a wrong password. Where there are none nothing is hashed.
    ///
    /// [`Accounts::authenticate`]: crate::Accounts::authenticate
    pub async fn authenticate(
        &self,
        username: &str,
        secret: &str,
    ) -> Result<Option<PermissionSet>, PasswordError> {
        let found = self.0.store.find_login(username).await?;
        let token = found.user.as_ref().map(|user| &user.token);
        if token.unwrap_or(&StoredToken::nobodys()).verifies(secret) {
            return Ok(found.user.map(|user| user.permissions));
        }
        if !found.in_use || !may_be_password(secret) {
            return Ok(None);
        }
        let stored = found.user.as_ref().and_then(|user| user.hash.clone());
        let is_right = self.is_right(username, secret, stored).await?;
        let user = found.user.filter(|_| is_right);
        Ok(user.map(|user| user.permissions))
    }

    /// Gives a user this password; `false` when there is no such user. Their
    /// tokens stay.
    pub async fn set(&self, username: &str, password: &str) -> Result<bool, PasswordError> {
        let is_fit = password.len() >= PASSWORD_BYTES_MIN && may_be_password(password);
        if !is_fit {
            return Err(PasswordError::Unfit);
        }
        let password = password.to_owned();
        let turn = self.0.turns.wait().await.ok_or(PasswordError::Busy)?;
        let hash = turn.run(move || PasswordHash::of(&password)).await??;
        let now = self.0.clock.now();
        Ok(self.0.store.put_password(username, hash, now).await?)
    }

    /// Takes a user's password away; `false` when there is none. Their tokens stay.
    pub async fn remove(&self, username: &str) -> Result<bool, AccountsError> {
        self.0.store.remove_password(username).await
    }

    /// Compares with a stored hash, or does the same work for nothing.
    async fn is_right(
        &self,
        username: &str,
        password: &str,
        stored: Option<PasswordHash>,
    ) -> Result<bool, PasswordError> {
        let hash = stored.as_ref().unwrap_or(&self.0.nobodys).clone();
        let parts = [username, hash.as_str(), password].map(str::as_bytes);
        let key = self.0.recent.key(&parts);
        if self.0.recent.get(&key).is_some() {
            return Ok(true);
        }
        let turn = self.0.turns.wait().await.ok_or(PasswordError::Busy)?;
        // A farm's builders log in at once: the first one's hash is for all.
        if self.0.recent.get(&key).is_some() {
            return Ok(true);
        }
        let password = password.to_owned();
        let verified = turn.run(move || hash.verifies(&password)).await?;
        let is_right = verified && stored.is_some();
        if is_right {
            self.0.recent.keep(key, ());
        }
        Ok(is_right)
    }
}

/// Whether a text may be a password at all. It says nothing about any user.
fn may_be_password(text: &str) -> bool {
    let is_login_token = text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
    text.len() <= PASSWORD_BYTES_MAX && !is_login_token && !is_bearer_token(text)
}
