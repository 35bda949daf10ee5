//! Users as they lie in one database, for another one.

use std::fmt;

use crate::{AccountStore, AccountsError, StoredUser};

/// A user with everything that they log in with, as it is stored. `Debug` shows none of
/// it.
#[derive(Clone, PartialEq, Eq)]
pub struct CopiedUser {
    /// The user with their own token.
    pub user: StoredUser,
    /// The hash of their password, and when it was set.
    pub(crate) password: Option<(String, i64)>,
    pub(crate) tokens: Vec<CopiedToken>,
}

/// A row of `bearer_token`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CopiedToken {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) secret: Vec<u8>,
    pub(crate) permissions: String,
    pub(crate) namespaces: Option<String>,
    pub(crate) created: i64,
    pub(crate) expires: Option<i64>,
    pub(crate) revoked: Option<i64>,
    pub(crate) used: Option<i64>,
}

impl fmt::Debug for CopiedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopiedUser")
            .field("username", &self.user.username)
            .finish_non_exhaustive()
    }
}

impl AccountStore {
    /// Everybody, the oldest first.
    pub async fn everybody(&self) -> Result<Vec<CopiedUser>, AccountsError> {
        self.0.everybody().await
    }

    /// Replaces everybody, in one transaction.
    pub async fn replace_everybody(&self, users: Vec<CopiedUser>) -> Result<(), AccountsError> {
        self.0.replace_everybody(users).await
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_core::{Permission, PermissionSet};

    use crate::Namespaces;
    use crate::passwords::{PasswordOptions, Passwords};
    use crate::testing::{World, on_each_store};
    use crate::tokens::{BearerTokens, NewToken};

    async fn everybody_logs_in_as_before_after_a_copy(world: World) {
        let permissions = PermissionSet::of(&[Permission::Read]);
        let token = world.user("kim", permissions).await;
        world.user("lee", permissions).await;
        let passwords = Passwords::new(
            world.store.clone(),
            world.clock.clone(),
            PasswordOptions::default(),
        )
        .unwrap();
        passwords.set("kim", "correct horse").await.unwrap();
        let tokens = BearerTokens::new(world.store.clone(), world.clock.clone()).unwrap();
        let new = NewToken {
            user: "kim".to_owned(),
            name: "ci".to_owned(),
            permissions,
            namespaces: Namespaces::Only(["r1".to_owned()].into()),
            expires: None,
        };
        tokens.create(new).await.unwrap();
        let copied = world.store.everybody().await.unwrap();
        assert_eq!(copied.len(), 2);
        for other in [World::new(), World::new()] {
            other.user("kim", PermissionSet::NONE).await;
            other.user("somebody else", permissions).await;
            other.store.replace_everybody(copied.clone()).await.unwrap();
            assert_eq!(other.store.everybody().await.unwrap(), copied);
            let found = other.accounts.authenticate("kim", token.reveal()).await;
            assert!(found.unwrap().is_some());
            // And back: what was there goes.
            world.store.replace_everybody(copied.clone()).await.unwrap();
            assert_eq!(world.store.everybody().await.unwrap(), copied);
        }
    }

    on_each_store! { everybody_logs_in_as_before_after_a_copy }
}
