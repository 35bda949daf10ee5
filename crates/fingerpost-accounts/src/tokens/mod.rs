//! Bearer tokens: many for each user, named, with a scope, perhaps with an end.
//!
//! [`BearerTokens`] keeps them in the table `bearer_token`. A token never gives
//! more than its user has at the moment of its use.

mod error;
mod info;
#[cfg(test)]
mod tests;
mod text;
mod uses;

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, PermissionSet, Timestamp};
use subtle::ConstantTimeEq as _;

use self::error::Refused;
pub use self::error::{CreateError, VerifyError};
pub(crate) use self::info::FoundToken;
pub use self::info::TokenInfo;
pub(crate) use self::text::public_part;
pub use self::text::{BearerToken, is_bearer_token};
use self::text::{Flaw, Parts};
use self::uses::Uses;
use crate::recent::Recent;
use crate::store::{AccountStore, Tables};
use crate::{AccountsError, Grant, Namespaces};

/// Tokens of one user that are neither revoked nor past their end, at most.
pub const LIVE_TOKENS_MAX: u32 = 100;
/// Tokens of one user at most, those included that [`BearerTokens::purge`] has yet
/// to remove.
pub const TOKENS_MAX: u32 = 1000;
/// Bytes of a token's name at most.
pub const NAME_BYTES_MAX: usize = 64;
/// A use is noted when the one that was noted before is older than this.
pub const USE_GRAIN: Duration = Duration::from_secs(600);
/// How long a token that was right is believed without a look at the table. What
/// another process revokes ends at most so much later.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// Tokens remembered at most.
const REMEMBERED_MAX: usize = 4096;
/// Refused ones remembered at most. In a memory of their own: whoever makes tokens up
/// pushes no right one out.
const REFUSED_MAX: usize = 1024;
/// Rows that one transaction changes at most.
const BATCH_ROWS: u32 = 200;

/// What a token shall be.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whose it is.
    pub user: String,
    /// What its user calls it: 1 to [`NAME_BYTES_MAX`] bytes without control
    /// characters. No two live tokens of a user have one name.
    pub name: String,
    /// What it allows; no more than its user has now.
    pub permissions: PermissionSet,
    /// Where it allows that.
    pub namespaces: Namespaces,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// The bearer tokens of one database. Clones share what is remembered.
#[derive(Clone)]
pub struct BearerTokens(Arc<Inner>);

struct Inner {
    store: Arc<dyn Tables>,
    clock: Arc<dyn Clock>,
    uses: Uses,
    recent: Recent<Grant>,
    /// A job that goes on with a token which ended asks the table once.
    refused: Recent<Refused>,
}

impl BearerTokens {
    /// The tokens of a database. Fails when there are no random numbers.
    pub fn new(
        store: impl Into<AccountStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self(Arc::new(Inner {
            store: store.into().0,
            uses: Uses::default(),
            recent: Recent::new(REMEMBERED_MAX, REMEMBERED_FOR, clock.clone())?,
            refused: Recent::new(REFUSED_MAX, REMEMBERED_FOR, clock.clone())?,
            clock,
        })))
    }

    /// Makes a token. Its text is told here and never again.
    ///
    /// Whether the caller may give `new.permissions` away is the door's business:
    /// a caller who acts for a user must not make tokens for them.
    pub async fn create(&self, new: NewToken) -> Result<(BearerToken, TokenInfo), CreateError> {
        let now = self.0.clock.now();
        check(&new, now)?;
        let token = BearerToken::random().map_err(AccountsError::from)?;
        let parts = Parts::parse(token.reveal()).map_err(|_| CreateError::Form)?;
        let (id, digest) = (parts.id.to_owned(), parts.digest());
        let info = self.0.store.add_token(id, digest, new, now).await??;
        Ok((token, info))
    }

    /// Every token of a user that was not purged yet, the oldest first; the
    /// secrets are nowhere.
    pub async fn list(&self, username: &str) -> Result<Vec<TokenInfo>, AccountsError> {
        self.0.store.list_tokens(username).await
    }

    /// Ends a token of this user for good; `false` when they have none with this
    /// id that was not revoked before. Holds here at once, in other processes
    /// after [`REMEMBERED_FOR`].
    pub async fn revoke(&self, username: &str, id: &str) -> Result<bool, AccountsError> {
        let now = self.0.clock.now();
        let revoked = self.0.store.revoke_token(username, id, now).await?;
        self.forget();
        Ok(revoked)
    }

    /// As [`BearerTokens::verify`], as far as it is known without a look at the
    /// table; `None` if it is not.
    pub(crate) fn known(&self, text: &str) -> Result<Option<Grant>, VerifyError> {
        parts(text)?;
        let key = self.0.recent.key(&[text.as_bytes()]);
        if let Some(grant) = self.0.recent.get(&key) {
            return match grant.holds_at(self.0.clock.now()) {
                true => Ok(Some(grant)),
                false => Err(VerifyError::Expired),
            };
        }
        match self.0.refused.get(&key) {
            Some(refused) => Err(refused.into()),
            None => Ok(None),
        }
    }

    /// What the bearer of this text may do: the token's scope, as far as its user
    /// has it.
    pub async fn verify(&self, text: &str) -> Result<Grant, VerifyError> {
        if let Some(grant) = self.known(text)? {
            return Ok(grant);
        }
        let now = self.0.clock.now();
        let parts = parts(text)?;
        let key = self.0.recent.key(&[text.as_bytes()]);
        let found = self.0.store.find_token(parts.id).await?;
        match judge(&parts, found, now) {
            Ok((info, grant)) => {
                self.0.uses.note(&info, now);
                self.0.recent.keep(key, grant.clone());
                Ok(grant)
            }
            Err(refused) => {
                self.0.refused.keep(key, refused);
                Err(refused.into())
            }
        }
    }

    /// Looks at the table again for every token: for whoever changed or removed a
    /// user.
    pub fn forget(&self) {
        self.0.recent.forget_all();
        self.0.refused.forget_all();
    }

    /// Stores the last uses that were noted since the last call, in the
    /// background. Call it about once a minute and at the end; what could not be
    /// stored is lost. Returns how many there were.
    pub async fn store_uses(&self) -> Result<usize, AccountsError> {
        let uses = self.0.uses.take();
        for batch in uses.chunks(BATCH_ROWS as usize) {
            self.0.store.note_uses(batch.to_vec()).await?;
        }
        Ok(uses.len())
    }

    /// Removes tokens that ended, by date or by hand, before `ended_before`, in
    /// the background and some at a time. Returns how many.
    pub async fn purge(&self, ended_before: Timestamp) -> Result<usize, AccountsError> {
        let mut all = 0;
        loop {
            let removed = self.0.store.purge_tokens(ended_before, BATCH_ROWS).await?;
            all += removed;
            if removed == 0 {
                return Ok(all);
            }
        }
    }
}

fn parts(text: &str) -> Result<Parts<'_>, VerifyError> {
    Parts::parse(text).map_err(|flaw| match flaw {
        Flaw::Form => VerifyError::Form,
        Flaw::Checksum => VerifyError::Checksum,
    })
}

/// What the table says of a text.
fn judge(
    parts: &Parts<'_>,
    found: Option<FoundToken>,
    now: Timestamp,
) -> Result<(TokenInfo, Grant), Refused> {
    // An unknown id costs the same comparison.
    let stored = found.as_ref().map_or([0; 32], |found| found.secret);
    let is_right = bool::from(parts.digest().ct_eq(&stored));
    let found = found.filter(|_| is_right).ok_or(Refused::Unknown)?;
    if found.info.revoked.is_some() {
        return Err(Refused::Revoked);
    }
    let grant = found.grant();
    match grant.holds_at(now) {
        true => Ok((found.info, grant)),
        false => Err(Refused::Expired),
    }
}

fn check(new: &NewToken, now: Timestamp) -> Result<(), CreateError> {
    let is_name = (1..=NAME_BYTES_MAX).contains(&new.name.len())
        && !new.name.contains(char::is_control)
        && new.name.trim() == new.name;
    if !is_name {
        return Err(CreateError::Name);
    }
    if new.expires.is_some_and(|expires| expires <= now) {
        return Err(CreateError::Expired);
    }
    Ok(())
}
