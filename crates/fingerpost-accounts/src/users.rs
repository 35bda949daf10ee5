//! Users and the token of each.

use std::sync::Arc;

use fingerpost_core::{Permission, PermissionSet};
use fingerpost_db::DbError;
use fingerpost_db::postgres::PostgresError;

use crate::store::{AccountStore, Tables};
use crate::token::{StoredToken, Token};

/// A user and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login.
    pub username: String,
    /// Permissions as stored.
    pub permissions: PermissionSet,
}

/// A user's row as import and export move it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUser {
    /// The login.
    pub username: String,
    /// The token's hash.
    pub token: StoredToken,
    /// Blank-separated permissions.
    pub permissions: String,
}

/// Why a method of [`Accounts`] failed.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The database did; nothing was changed.
    #[error("the accounts cannot be reached")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operating system gave no random numbers for a token.
    #[error("no random numbers for a token")]
    Randomness(#[from] getrandom::Error),
}

impl From<DbError> for AccountsError {
    fn from(error: DbError) -> Self {
        Self::Database(Box::new(error))
    }
}

impl From<PostgresError> for AccountsError {
    fn from(error: PostgresError) -> Self {
        Self::Database(Box::new(error))
    }
}

/// Users in one database. Every method fails when the database does.
#[derive(Clone)]
pub struct Accounts {
    store: Arc<dyn Tables>,
}

impl Accounts {
    /// The accounts of a database.
    pub fn new(store: impl Into<AccountStore>) -> Self {
        Self {
            store: store.into().0,
        }
    }

    /// The permissions of `username` when `token` is theirs. An unknown user
    /// costs the same as a wrong token.
    pub async fn authenticate(
        &self,
        username: &str,
        token: &str,
    ) -> Result<Option<PermissionSet>, AccountsError> {
        let row = self.store.find_user(username).await?;
        let Some(row) = row else {
            let verified = StoredToken::nobodys().verifies(token);
            return Ok(verified.then_some(PermissionSet::NONE));
        };
        if !row.token.is_known() {
            tracing::warn!(
                user = username,
                algorithm = row.token.algorithm(),
                "The token of {username} is hashed in an unknown way and never verifies; refresh it"
            );
        }
        let verified = row.token.verifies(token);
        Ok(verified.then(|| parse(&row.permissions)))
    }

    /// One user.
    pub async fn get(&self, username: &str) -> Result<Option<User>, AccountsError> {
        Ok(self.store.find_user(username).await?.map(User::from))
    }

    /// All users, the oldest first.
    pub async fn all(&self) -> Result<Vec<User>, AccountsError> {
        let rows = self.store.all_users().await?;
        Ok(rows.into_iter().map(User::from).collect())
    }

    /// Makes a user; `None` when the name is taken.
    pub async fn create(
        &self,
        username: &str,
        permissions: PermissionSet,
    ) -> Result<Option<Token>, AccountsError> {
        let (token, stored) = fresh_token()?;
        let row = StoredUser {
            username: username.to_owned(),
            token: stored,
            permissions: print(permissions),
        };
        let made = self.store.add_user(row).await?;
        Ok(made.then_some(token))
    }

    /// Gives a user a new token; `None` when there is no such user.
    pub async fn refresh(&self, username: &str) -> Result<Option<Token>, AccountsError> {
        let (token, stored) = fresh_token()?;
        let changed = self.store.set_token(username, stored).await?;
        Ok(changed.then_some(token))
    }

    /// Replaces a user's permissions; false when there is no such user.
    pub async fn set_permissions(
        &self,
        username: &str,
        permissions: PermissionSet,
    ) -> Result<bool, AccountsError> {
        self.store
            .set_permissions(username, print(permissions))
            .await
    }

    /// Removes a user; false when there is no such user.
    pub async fn delete(&self, username: &str) -> Result<bool, AccountsError> {
        self.store.delete_user(username).await
    }

    /// Sees to it that `username` exists with `@all` and this token, as at each
    /// start with an admin user configured.
    pub async fn ensure_admin(&self, username: &str, token: &str) -> Result<(), AccountsError> {
        let row = StoredUser {
            username: username.to_owned(),
            token: StoredToken::of(token)?,
            permissions: Permission::All.as_str().to_owned(),
        };
        self.store.put_user(row).await
    }
}

impl From<StoredUser> for User {
    fn from(row: StoredUser) -> Self {
        Self {
            permissions: parse(&row.permissions),
            username: row.username,
        }
    }
}

/// Reads stored permissions; names that nobody knows any more mean nothing.
pub(crate) fn parse(text: &str) -> PermissionSet {
    let mut set = PermissionSet::NONE;
    for name in text.split_whitespace() {
        if let Ok(permission) = name.parse() {
            set.insert(permission);
        }
    }
    set
}

pub(crate) fn print(permissions: PermissionSet) -> String {
    permissions.stored().join(" ")
}

fn fresh_token() -> Result<(Token, StoredToken), AccountsError> {
    let token = Token::random()?;
    let stored = StoredToken::of(token.reveal())?;
    Ok((token, stored))
}

#[cfg(test)]
mod tests {
    use fingerpost_core::Permission::{All, Read, Report};

    use super::*;
    use crate::testing::World;

    const READER: PermissionSet = PermissionSet::of(&[Read]);

    async fn a_user_logs_in_with_the_token_of_the_last_refresh(world: World) {
        let accounts = &world.accounts;
        let first = accounts.create("ci", READER).await.unwrap().unwrap();
        let login = accounts.authenticate("ci", first.reveal()).await.unwrap();
        assert_eq!(login, Some(READER));
        let second = accounts.refresh("ci").await.unwrap().unwrap();
        assert_eq!(
            accounts.authenticate("ci", first.reveal()).await.unwrap(),
            None
        );
        let login = accounts.authenticate("ci", second.reveal()).await.unwrap();
        assert_eq!(login, Some(READER));
        assert_eq!(
            accounts.authenticate("CI", second.reveal()).await.unwrap(),
            None
        );
        assert_eq!(accounts.authenticate("nobody", "").await.unwrap(), None);
    }

    async fn names_are_taken_once_and_unknown_ones_are_told(world: World) {
        let accounts = &world.accounts;
        accounts.create("ci", READER).await.unwrap().unwrap();
        assert!(
            accounts
                .create("ci", PermissionSet::NONE)
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(
            accounts.get("ci").await.unwrap().unwrap().permissions,
            READER
        );
        assert!(accounts.get("x").await.unwrap().is_none());
        assert!(accounts.refresh("x").await.unwrap().is_none());
        assert!(!accounts.set_permissions("x", READER).await.unwrap());
        assert!(!accounts.delete("x").await.unwrap());
    }

    async fn permissions_change_and_users_go(world: World) {
        let accounts = &world.accounts;
        for name in ["b", "a"] {
            accounts.create(name, READER).await.unwrap().unwrap();
        }
        let more = PermissionSet::of(&[Report, Read]);
        assert!(accounts.set_permissions("b", more).await.unwrap());
        let user = |username: &str, permissions| User {
            username: username.to_owned(),
            permissions,
        };
        assert_eq!(
            accounts.all().await.unwrap(),
            [user("b", more), user("a", READER)]
        );
        assert!(accounts.delete("a").await.unwrap());
        assert_eq!(accounts.all().await.unwrap(), [user("b", more)]);
    }

    async fn the_admin_is_reset_at_each_start(world: World) {
        let accounts = &world.accounts;
        let all = PermissionSet::of(&[All]);
        accounts.ensure_admin("admin", "first").await.unwrap();
        assert_eq!(
            accounts.authenticate("admin", "first").await.unwrap(),
            Some(all)
        );
        accounts.set_permissions("admin", READER).await.unwrap();
        accounts.ensure_admin("admin", "second").await.unwrap();
        assert_eq!(accounts.authenticate("admin", "first").await.unwrap(), None);
        assert_eq!(
            accounts.authenticate("admin", "second").await.unwrap(),
            Some(all)
        );
    }

    async fn imported_rows_keep_their_token_and_text(world: World) {
        let accounts = &world.accounts;
        let row = |username: &str, token: StoredToken, permissions: &str| StoredUser {
            username: username.to_owned(),
            token,
            permissions: permissions.to_owned(),
        };
        let rows = [
            row(
                "new",
                StoredToken("argon9:x:y".to_owned()),
                "@read @of-tomorrow",
            ),
            row("old", StoredToken::of("secret").unwrap(), "@report @read"),
        ];
        for added in [true, false] {
            for row in &rows {
                let done = accounts.store.add_user(row.clone()).await;
                assert_eq!(done.unwrap(), added);
            }
        }
        let login = accounts.authenticate("old", "secret").await.unwrap();
        assert_eq!(login, Some(PermissionSet::of(&[Read, Report])));
        assert_eq!(accounts.authenticate("new", "y").await.unwrap(), None);
        assert_eq!(
            accounts.get("new").await.unwrap().unwrap().permissions,
            READER
        );
        assert_eq!(accounts.store.all_users().await.unwrap(), rows);
    }

    crate::testing::on_each_store! {
        a_user_logs_in_with_the_token_of_the_last_refresh,
        names_are_taken_once_and_unknown_ones_are_told,
        permissions_change_and_users_go,
        the_admin_is_reset_at_each_start,
        imported_rows_keep_their_token_and_text,
    }
}
