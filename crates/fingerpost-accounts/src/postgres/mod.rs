//! The tables in PostgreSQL.
//!
//! Its `text` holds no NUL: nobody has a name or a token with one, and who would get
//! such a name gets an error.

mod copied;
mod tokens;
mod users;

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Job, Postgres};

use crate::StoredUser;
use crate::copied::CopiedUser;
use crate::passwords::{Found, PasswordHash};
use crate::store::{Stored, Tables};
use crate::token::StoredToken;
use crate::tokens::{CreateError, FoundToken, NewToken, TokenInfo};

/// Asks once, or again: nothing is changed by it, or by doing it twice.
const fn again(name: &'static str) -> Job {
    Job::new(name).idempotent()
}

impl Tables for Postgres {
    fn find_user(&self, username: &str) -> Stored<'_, Option<StoredUser>> {
        Box::pin(users::find(self, username.to_owned()))
    }

    fn all_users(&self) -> Stored<'_, Vec<StoredUser>> {
        Box::pin(users::all(self))
    }

    fn everybody(&self) -> Stored<'_, Vec<CopiedUser>> {
        Box::pin(copied::everybody(self))
    }

    fn replace_everybody(&self, users: Vec<CopiedUser>) -> Stored<'_, ()> {
        Box::pin(copied::replace(self, users))
    }

    fn add_user(&self, user: StoredUser) -> Stored<'_, bool> {
        Box::pin(users::add(self, user))
    }

    fn put_user(&self, user: StoredUser) -> Stored<'_, ()> {
        Box::pin(users::put(self, user))
    }

    fn set_token(&self, username: &str, token: StoredToken) -> Stored<'_, bool> {
        const SQL: &str = "UPDATE account SET token = $2 WHERE username = $1";
        Box::pin(users::set(self, SQL, username.to_owned(), token.0))
    }

    fn set_permissions(&self, username: &str, permissions: String) -> Stored<'_, bool> {
        const SQL: &str = "UPDATE account SET permissions = $2 WHERE username = $1";
        Box::pin(users::set(self, SQL, username.to_owned(), permissions))
    }

    fn delete_user(&self, username: &str) -> Stored<'_, bool> {
        Box::pin(users::delete(self, username.to_owned()))
    }

    fn find_login(&self, username: &str) -> Stored<'_, Found> {
        Box::pin(users::find_login(self, username.to_owned()))
    }

    fn put_password(&self, username: &str, hash: PasswordHash, now: Timestamp) -> Stored<'_, bool> {
        Box::pin(users::put_password(self, username.to_owned(), hash, now))
    }

    fn remove_password(&self, username: &str) -> Stored<'_, bool> {
        Box::pin(users::remove_password(self, username.to_owned()))
    }

    fn add_token(
        &self,
        id: String,
        secret: [u8; 32],
        new: NewToken,
        now: Timestamp,
    ) -> Stored<'_, Result<TokenInfo, CreateError>> {
        Box::pin(tokens::add(self, id, secret, new, now))
    }

    fn list_tokens(&self, username: &str) -> Stored<'_, Vec<TokenInfo>> {
        Box::pin(tokens::list(self, username.to_owned()))
    }

    fn find_token(&self, id: &str) -> Stored<'_, Option<FoundToken>> {
        Box::pin(tokens::find(self, id.to_owned()))
    }

    fn revoke_token(&self, username: &str, id: &str, now: Timestamp) -> Stored<'_, bool> {
        Box::pin(tokens::revoke(
            self,
            username.to_owned(),
            id.to_owned(),
            now,
        ))
    }

    fn note_uses(&self, uses: Vec<(String, Timestamp)>) -> Stored<'_, ()> {
        Box::pin(tokens::note_uses(self, uses))
    }

    fn purge_tokens(&self, ended_before: Timestamp, rows: u32) -> Stored<'_, usize> {
        Box::pin(tokens::purge(self, ended_before, rows))
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_core::PermissionSet;
    use fingerpost_testkit::PostgresCluster;

    use crate::passwords::{PasswordOptions, Passwords};
    use crate::testing::World;
    use crate::tokens::{BearerTokens, NewToken};
    use crate::{AccountsError, Namespaces};

    #[tokio::test]
    async fn nobody_has_a_name_that_cannot_be_stored() {
        let cluster = PostgresCluster::start().unwrap();
        let world = World::on(&cluster).await;
        let (accounts, name) = (&world.accounts, "a\0b");
        let made = accounts.create(name, PermissionSet::NONE).await;
        assert!(matches!(made, Err(AccountsError::Database(_))), "{made:?}");
        assert!(accounts.get(name).await.unwrap().is_none());
        assert!(accounts.refresh(name).await.unwrap().is_none());
        assert!(!accounts.delete(name).await.unwrap());
        let (store, clock) = (world.store.clone(), world.clock.clone());
        let passwords =
            Passwords::new(store.clone(), clock.clone(), PasswordOptions::default()).unwrap();
        let login = passwords.authenticate(name, "correct horse").await;
        assert_eq!(login.unwrap(), None);
        assert!(!passwords.set(name, "correct horse").await.unwrap());
        assert!(!passwords.remove(name).await.unwrap());
        let tokens = BearerTokens::new(store, clock).unwrap();
        assert_eq!(tokens.list(name).await.unwrap(), []);
        assert!(!tokens.revoke(name, name).await.unwrap());
        let new = NewToken {
            user: name.to_owned(),
            name: "a".to_owned(),
            permissions: PermissionSet::NONE,
            namespaces: Namespaces::All,
            expires: None,
        };
        let refused = tokens.create(new).await.unwrap_err();
        assert!(refused.to_string().contains("no such user"), "{refused}");
    }
}
