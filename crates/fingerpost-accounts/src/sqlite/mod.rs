//! The tables in SQLite.

mod copied;
mod passwords;
mod tokens;
mod users;

use fingerpost_core::Timestamp;
use fingerpost_db::Sqlite;

pub use self::users::{add_user, delete as delete_user, put as put_user, stored_users};
use crate::StoredUser;
use crate::copied::CopiedUser;
use crate::passwords::{Found, PasswordHash};
use crate::store::{Stored, Tables};
use crate::token::StoredToken;
use crate::tokens::{CreateError, FoundToken, NewToken, TokenInfo};

impl Tables for Sqlite {
    fn find_user(&self, username: &str) -> Stored<'_, Option<StoredUser>> {
        let username = username.to_owned();
        Box::pin(async move { Ok(self.read(move |conn| users::find(conn, &username)).await?) })
    }

    fn all_users(&self) -> Stored<'_, Vec<StoredUser>> {
        Box::pin(async { Ok(self.read(stored_users).await?) })
    }

    fn everybody(&self) -> Stored<'_, Vec<CopiedUser>> {
        Box::pin(async { Ok(self.read_snapshot(copied::everybody).await?) })
    }

    fn replace_everybody(&self, users: Vec<CopiedUser>) -> Stored<'_, ()> {
        Box::pin(async move {
            let replaced = self.write(move |tx| copied::replace(tx.conn(), &users));
            Ok(replaced.await?)
        })
    }

    fn add_user(&self, user: StoredUser) -> Stored<'_, bool> {
        Box::pin(async move { Ok(self.write(move |tx| add_user(tx.conn(), &user)).await?) })
    }

    fn put_user(&self, user: StoredUser) -> Stored<'_, ()> {
        Box::pin(async move { Ok(self.write(move |tx| users::put(tx.conn(), &user)).await?) })
    }

    fn set_token(&self, username: &str, token: StoredToken) -> Stored<'_, bool> {
        let username = username.to_owned();
        Box::pin(async move {
            let set = self.write(move |tx| users::set_token(tx.conn(), &username, &token));
            Ok(set.await?)
        })
    }

    fn set_permissions(&self, username: &str, permissions: String) -> Stored<'_, bool> {
        let username = username.to_owned();
        Box::pin(async move {
            let set =
                self.write(move |tx| users::set_permissions(tx.conn(), &username, &permissions));
            Ok(set.await?)
        })
    }

    fn delete_user(&self, username: &str) -> Stored<'_, bool> {
        let username = username.to_owned();
        Box::pin(async move {
            Ok(self
                .write(move |tx| users::delete(tx.conn(), &username))
                .await?)
        })
    }

    fn find_login(&self, username: &str) -> Stored<'_, Found> {
        let username = username.to_owned();
        Box::pin(async move {
            Ok(self
                .read(move |conn| passwords::find(conn, &username))
                .await?)
        })
    }

    fn put_password(&self, username: &str, hash: PasswordHash, now: Timestamp) -> Stored<'_, bool> {
        let username = username.to_owned();
        Box::pin(async move {
            let put = self.write(move |tx| passwords::put(tx.conn(), &username, &hash, now));
            Ok(put.await?)
        })
    }

    fn remove_password(&self, username: &str) -> Stored<'_, bool> {
        let username = username.to_owned();
        Box::pin(async move {
            let removed = self.write(move |tx| passwords::remove(tx.conn(), &username));
            Ok(removed.await?)
        })
    }

    fn add_token(
        &self,
        id: String,
        secret: [u8; 32],
        new: NewToken,
        now: Timestamp,
    ) -> Stored<'_, Result<TokenInfo, CreateError>> {
        Box::pin(async move {
            let added = self.write(move |tx| tokens::insert(tx.conn(), &id, &secret, &new, now));
            Ok(added.await?)
        })
    }

    fn list_tokens(&self, username: &str) -> Stored<'_, Vec<TokenInfo>> {
        let username = username.to_owned();
        Box::pin(async move { Ok(self.read(move |conn| tokens::list(conn, &username)).await?) })
    }

    fn find_token(&self, id: &str) -> Stored<'_, Option<FoundToken>> {
        let id = id.to_owned();
        Box::pin(async move { Ok(self.read(move |conn| tokens::find(conn, &id)).await?) })
    }

    fn revoke_token(&self, username: &str, id: &str, now: Timestamp) -> Stored<'_, bool> {
        let (username, id) = (username.to_owned(), id.to_owned());
        Box::pin(async move {
            let revoked = self.write(move |tx| tokens::revoke(tx.conn(), &username, &id, now));
            Ok(revoked.await?)
        })
    }

    fn note_uses(&self, uses: Vec<(String, Timestamp)>) -> Stored<'_, ()> {
        Box::pin(async move {
            let noted = self.write_background(move |tx| tokens::note_uses(tx.conn(), &uses));
            Ok(noted.await?)
        })
    }

    fn purge_tokens(&self, ended_before: Timestamp, rows: u32) -> Stored<'_, usize> {
        Box::pin(async move {
            let purged =
                self.write_background(move |tx| tokens::purge(tx.conn(), ended_before, rows));
            Ok(purged.await?)
        })
    }
}
