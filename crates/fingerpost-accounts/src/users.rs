//! The table `user`.

use fingerpost_core::{Permission, PermissionSet};
use fingerpost_db::{DbError, Sqlite};
use rusqlite::{Connection, OptionalExtension as _};

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

/// Users in one database. Every method fails when the database does.
#[derive(Clone)]
pub struct Accounts {
    db: Sqlite,
}

impl Accounts {
    /// The accounts of `db`, whose schema has the table `user`.
    pub const fn new(db: Sqlite) -> Self {
        Self { db }
    }

    /// The permissions of `username` when `token` is theirs. An unknown user
    /// costs the same as a wrong token.
    pub async fn authenticate(
        &self,
        username: &str,
        token: &str,
    ) -> Result<Option<PermissionSet>, DbError> {
        /// What an unknown user's token is compared with: no digest is all zero.
        const NOBODY: &str = "sha256:0000000000000000:\
             0000000000000000000000000000000000000000000000000000000000000000";
        let username = username.to_owned();
        let row = self.db.read(move |conn| find(conn, &username)).await?;
        let (known, stored) = match row {
            Some(row) => (parse(&row.permissions), row.token),
            None => (PermissionSet::NONE, StoredToken(NOBODY.to_owned())),
        };
        Ok(stored.verifies(token).then_some(known))
    }

    /// One user.
    pub async fn get(&self, username: &str) -> Result<Option<User>, DbError> {
        let username = username.to_owned();
        let row = self.db.read(move |conn| find(conn, &username)).await?;
        Ok(row.map(User::from))
    }

    /// All users, by name.
    pub async fn all(&self) -> Result<Vec<User>, DbError> {
        let rows = self.db.read(stored_users).await?;
        Ok(rows.into_iter().map(User::from).collect())
    }

    /// Makes a user; `None` when the name is taken.
    pub async fn create(
        &self,
        username: &str,
        permissions: PermissionSet,
    ) -> Result<Option<Token>, DbError> {
        let (token, stored) = fresh_token()?;
        let row = StoredUser {
            username: username.to_owned(),
            token: stored,
            permissions: print(permissions),
        };
        let made = self.db.write(move |tx| {
            tx.conn()
                .prepare_cached(
                    "INSERT INTO user (username, token, permissions) VALUES (?1, ?2, ?3)
                         ON CONFLICT DO NOTHING",
                )?
                .execute((&row.username, &row.token.0, &row.permissions))
        });
        Ok((made.await? > 0).then_some(token))
    }

    /// Gives a user a new token; `None` when there is no such user.
    pub async fn refresh(&self, username: &str) -> Result<Option<Token>, DbError> {
        let (token, stored) = fresh_token()?;
        let username = username.to_owned();
        let changed = self.db.write(move |tx| {
            tx.conn()
                .prepare_cached("UPDATE user SET token = ?2 WHERE username = ?1")?
                .execute((&username, &stored.0))
        });
        Ok((changed.await? > 0).then_some(token))
    }

    /// Replaces a user's permissions; false when there is no such user.
    pub async fn set_permissions(
        &self,
        username: &str,
        permissions: PermissionSet,
    ) -> Result<bool, DbError> {
        let (username, permissions) = (username.to_owned(), print(permissions));
        let changed = self.db.write(move |tx| {
            tx.conn()
                .prepare_cached("UPDATE user SET permissions = ?2 WHERE username = ?1")?
                .execute((&username, &permissions))
        });
        Ok(changed.await? > 0)
    }

    /// Removes a user; false when there is no such user.
    pub async fn delete(&self, username: &str) -> Result<bool, DbError> {
        let username = username.to_owned();
        let removed = self.db.write(move |tx| {
            tx.conn()
                .prepare_cached("DELETE FROM user WHERE username = ?1")?
                .execute([&username])
        });
        Ok(removed.await? > 0)
    }

    /// Sees to it that `username` exists with `@all` and this token, as at each
    /// start with an admin user configured.
    pub async fn ensure_admin(&self, username: &str, token: &str) -> Result<(), DbError> {
        let row = StoredUser {
            username: username.to_owned(),
            token: StoredToken::of(token).map_err(no_randomness)?,
            permissions: Permission::All.as_str().to_owned(),
        };
        self.db.write(move |tx| put(tx.conn(), &row)).await
    }
}

/// Every row, by name.
pub(crate) fn stored_users(conn: &Connection) -> rusqlite::Result<Vec<StoredUser>> {
    conn.prepare_cached("SELECT username, token, permissions FROM user ORDER BY username")?
        .query_map([], read)?
        .collect()
}

fn put(conn: &Connection, row: &StoredUser) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO user (username, token, permissions) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET token = excluded.token, permissions = excluded.permissions",
    )?
    .execute((&row.username, &row.token.0, &row.permissions))?;
    Ok(())
}

fn find(conn: &Connection, username: &str) -> rusqlite::Result<Option<StoredUser>> {
    conn.prepare_cached("SELECT username, token, permissions FROM user WHERE username = ?1")?
        .query_row([username], read)
        .optional()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredUser> {
    Ok(StoredUser {
        username: row.get(0)?,
        token: StoredToken(row.get(1)?),
        permissions: row.get(2)?,
    })
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
fn parse(text: &str) -> PermissionSet {
    let mut set = PermissionSet::NONE;
    for name in text.split_whitespace() {
        if let Ok(permission) = name.parse() {
            set.insert(permission);
        }
    }
    set
}

fn print(permissions: PermissionSet) -> String {
    permissions.stored().join(" ")
}

fn fresh_token() -> Result<(Token, StoredToken), DbError> {
    let token = Token::random().map_err(no_randomness)?;
    let stored = StoredToken::of(token.reveal()).map_err(no_randomness)?;
    Ok((token, stored))
}

fn no_randomness(error: getrandom::Error) -> DbError {
    DbError::Panicked(format!("no random numbers: {error}"))
}
