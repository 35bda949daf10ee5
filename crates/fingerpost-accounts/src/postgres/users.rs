//! The tables `account` and `password`.

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Postgres, Row};

use super::again;
use crate::passwords::{Found, NamedLogin, PasswordHash};
use crate::token::StoredToken;
use crate::users::parse;
use crate::{AccountsError, StoredUser};

/// Nobody has a name that cannot be stored.
pub(super) fn is_name(username: &str) -> bool {
    !username.contains('\0')
}

pub(super) async fn find(
    db: &Postgres,
    username: String,
) -> Result<Option<StoredUser>, AccountsError> {
    const SQL: &str = "SELECT username, token, permissions FROM account WHERE username = $1";
    if !is_name(&username) {
        return Ok(None);
    }
    let row = db.read("find_user", |session| {
        let username = username.clone();
        async move { session.query_opt(SQL, &[&username]).await }
    });
    Ok(row.await?.as_ref().map(stored))
}

pub(super) async fn all(db: &Postgres) -> Result<Vec<StoredUser>, AccountsError> {
    const SQL: &str = "SELECT username, token, permissions FROM account ORDER BY id";
    let rows = db.read("all_users", |session| async move {
        session.query(SQL, &[]).await
    });
    Ok(rows.await?.iter().map(stored).collect())
}

pub(super) async fn add(db: &Postgres, user: StoredUser) -> Result<bool, AccountsError> {
    const SQL: &str = "INSERT INTO account (username, token, permissions) VALUES ($1, $2, $3)
                            ON CONFLICT (username) DO NOTHING";
    // Not again after a lost answer: a second time the name would be taken.
    let added = db.transaction("add_user", |tx| {
        let user = user.clone();
        async move {
            tx.execute(SQL, &[&user.username, &user.token.0, &user.permissions])
                .await
        }
    });
    Ok(added.await? > 0)
}

pub(super) async fn put(db: &Postgres, user: StoredUser) -> Result<(), AccountsError> {
    const SQL: &str = "INSERT INTO account (username, token, permissions) VALUES ($1, $2, $3)
                            ON CONFLICT (username) DO UPDATE
                            SET token = excluded.token, permissions = excluded.permissions";
    let put = db.transaction(again("put_user"), |tx| {
        let user = user.clone();
        async move {
            tx.execute(SQL, &[&user.username, &user.token.0, &user.permissions])
                .await
        }
    });
    put.await?;
    Ok(())
}

/// Runs a statement that sets a column of a user.
pub(super) async fn set(
    db: &Postgres,
    sql: &'static str,
    username: String,
    value: String,
) -> Result<bool, AccountsError> {
    if !is_name(&username) {
        return Ok(false);
    }
    let changed = db.transaction(again("set_user"), |tx| {
        let (username, value) = (username.clone(), value.clone());
        async move { tx.execute(sql, &[&username, &value]).await }
    });
    Ok(changed.await? > 0)
}

pub(super) async fn delete(db: &Postgres, username: String) -> Result<bool, AccountsError> {
    const SQL: &str = "DELETE FROM account WHERE username = $1";
    if !is_name(&username) {
        return Ok(false);
    }
    let removed = db.transaction("delete_user", |tx| {
        let username = username.clone();
        async move { tx.execute(SQL, &[&username]).await }
    });
    Ok(removed.await? > 0)
}

/// One statement, in which an unknown user is a row as well.
pub(super) async fn find_login(db: &Postgres, username: String) -> Result<Found, AccountsError> {
    const SQL: &str = "SELECT known.in_use, account.token, account.permissions, password.hash
                         FROM (SELECT EXISTS (SELECT 1 FROM password) AS in_use) AS known
                         LEFT JOIN account ON account.username = $1
                         LEFT JOIN password ON password.account = account.id";
    let username = match is_name(&username) {
        true => username,
        false => String::new(),
    };
    let row = db.read("find_login", |session| {
        let username = username.clone();
        async move { session.query_one(SQL, &[&username]).await }
    });
    let row = row.await?;
    let token: Option<String> = row.get(1);
    let user = token.map(|token| NamedLogin {
        token: StoredToken(token),
        permissions: parse(row.get(2)),
        hash: row.get::<_, Option<String>>(3).map(PasswordHash),
    });
    Ok(Found {
        user,
        in_use: row.get(0),
    })
}

pub(super) async fn put_password(
    db: &Postgres,
    username: String,
    hash: PasswordHash,
    now: Timestamp,
) -> Result<bool, AccountsError> {
    const SQL: &str = "INSERT INTO password (account, hash, changed)
                            SELECT id, $2, $3 FROM account WHERE username = $1
                            ON CONFLICT (account) DO UPDATE
                            SET hash = excluded.hash, changed = excluded.changed";
    if !is_name(&username) {
        return Ok(false);
    }
    let stored = db.transaction(again("put_password"), |tx| {
        let (username, hash) = (username.clone(), hash.as_str().to_owned());
        async move { tx.execute(SQL, &[&username, &hash, &now.0]).await }
    });
    Ok(stored.await? > 0)
}

pub(super) async fn remove_password(
    db: &Postgres,
    username: String,
) -> Result<bool, AccountsError> {
    const SQL: &str = "DELETE FROM password
                            WHERE account = (SELECT id FROM account WHERE username = $1)";
    if !is_name(&username) {
        return Ok(false);
    }
    let removed = db.transaction("remove_password", |tx| {
        let username = username.clone();
        async move { tx.execute(SQL, &[&username]).await }
    });
    Ok(removed.await? > 0)
}

fn stored(row: &Row) -> StoredUser {
    StoredUser {
        username: row.get(0),
        token: StoredToken(row.get(1)),
        permissions: row.get(2),
    }
}
