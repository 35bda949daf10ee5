//! What accounts ask of a database, in their own words.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::Sqlite;
use fingerpost_db::postgres::Postgres;
use futures_util::future::BoxFuture;

use crate::copied::CopiedUser;
use crate::passwords::{Found, PasswordHash};
use crate::token::StoredToken;
use crate::tokens::{CreateError, FoundToken, NewToken, TokenInfo};
use crate::{AccountsError, StoredUser};

/// The answer of a database.
pub(crate) type Stored<'a, T> = BoxFuture<'a, Result<T, AccountsError>>;

/// A database that has the tables of users, [`passwords`](crate::passwords) and
/// [`tokens`](crate::tokens). Cheap to clone.
#[derive(Clone)]
pub struct AccountStore(pub(crate) Arc<dyn Tables>);

impl From<Sqlite> for AccountStore {
    /// Its schema has the table `user` and [`CREDENTIALS_SQL`](crate::CREDENTIALS_SQL).
    fn from(db: Sqlite) -> Self {
        Self(Arc::new(db))
    }
}

impl From<Postgres> for AccountStore {
    /// Its schema has [`POSTGRES_SQL`](crate::POSTGRES_SQL).
    fn from(db: Postgres) -> Self {
        Self(Arc::new(db))
    }
}

/// The tables. Every method is atomic; writes are stored when they return.
pub(crate) trait Tables: Send + Sync {
    /// One user as stored.
    fn find_user(&self, username: &str) -> Stored<'_, Option<StoredUser>>;

    /// All users, the oldest first.
    fn all_users(&self) -> Stored<'_, Vec<StoredUser>>;

    /// Everybody with what they log in with, the oldest first.
    fn everybody(&self) -> Stored<'_, Vec<CopiedUser>>;

    /// Replaces all of it.
    fn replace_everybody(&self, users: Vec<CopiedUser>) -> Stored<'_, ()>;

    /// Adds a user; `false` when the name is taken.
    fn add_user(&self, user: StoredUser) -> Stored<'_, bool>;

    /// Adds a user, or replaces their token and permissions.
    fn put_user(&self, user: StoredUser) -> Stored<'_, ()>;

    /// Replaces a user's token; `false` when there is no such user.
    fn set_token(&self, username: &str, token: StoredToken) -> Stored<'_, bool>;

    /// Replaces a user's permissions; `false` when there is no such user.
    fn set_permissions(&self, username: &str, permissions: String) -> Stored<'_, bool>;

    /// Removes a user with their password and tokens; `false` when there is none.
    fn delete_user(&self, username: &str) -> Stored<'_, bool>;

    /// What a user can log in with by name.
    fn find_login(&self, username: &str) -> Stored<'_, Found>;

    /// Gives a user a password; `false` when there is no such user.
    fn put_password(&self, username: &str, hash: PasswordHash, now: Timestamp) -> Stored<'_, bool>;

    /// Takes a user's password away; `false` when there is none.
    fn remove_password(&self, username: &str) -> Stored<'_, bool>;

    /// Adds a token if the limits allow it.
    fn add_token(
        &self,
        id: String,
        secret: [u8; 32],
        new: NewToken,
        now: Timestamp,
    ) -> Stored<'_, Result<TokenInfo, CreateError>>;

    /// Every token of a user, the oldest first.
    fn list_tokens(&self, username: &str) -> Stored<'_, Vec<TokenInfo>>;

    /// The token with this id.
    fn find_token(&self, id: &str) -> Stored<'_, Option<FoundToken>>;

    /// Marks a token as revoked; `false` when there is none, or it was before.
    fn revoke_token(&self, username: &str, id: &str, now: Timestamp) -> Stored<'_, bool>;

    /// Stores last uses, behind what clients wait for.
    fn note_uses(&self, uses: Vec<(String, Timestamp)>) -> Stored<'_, ()>;

    /// Removes up to `rows` tokens that ended before this, behind what clients wait
    /// for; how many.
    fn purge_tokens(&self, ended_before: Timestamp, rows: u32) -> Stored<'_, usize>;
}
