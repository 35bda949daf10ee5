//! Everybody at once.

use std::collections::HashMap;

use fingerpost_db::postgres::{Isolation, Job, Postgres, PostgresError, Row, Session};

use super::again;
use crate::copied::{CopiedToken, CopiedUser};
use crate::token::StoredToken;
use crate::{AccountsError, StoredUser};

pub(super) async fn everybody(db: &Postgres) -> Result<Vec<CopiedUser>, AccountsError> {
    const USERS: &str = "
        SELECT account.id, username, token, permissions, hash, changed
          FROM account LEFT JOIN password ON password.account = account.id
         ORDER BY account.id";
    const TOKENS: &str = "
        SELECT account, id, name, secret, permissions, namespaces, created, expires, revoked, used
          FROM bearer_token ORDER BY account, created, id";
    let job = Job::new("everybody").isolated(Isolation::Snapshot);
    let rows = db.read(job, |session| async move {
        let users = session.query(USERS, &[]).await?;
        Ok((users, session.query(TOKENS, &[]).await?))
    });
    let (users, tokens) = rows.await?;
    let mut by_user: HashMap<i64, Vec<CopiedToken>> = HashMap::new();
    for row in &tokens {
        by_user.entry(row.get(0)).or_default().push(token(row));
    }
    let user = |row: &Row| CopiedUser {
        user: StoredUser {
            username: row.get(1),
            token: StoredToken(row.get(2)),
            permissions: row.get(3),
        },
        password: row
            .get::<_, Option<String>>(4)
            .zip(row.get::<_, Option<i64>>(5)),
        tokens: by_user.remove(&row.get(0)).unwrap_or_default(),
    };
    Ok(users.iter().map(user).collect())
}

fn token(row: &Row) -> CopiedToken {
    CopiedToken {
        id: row.get(1),
        name: row.get(2),
        secret: row.get(3),
        permissions: row.get(4),
        namespaces: row.get(5),
        created: row.get(6),
        expires: row.get(7),
        revoked: row.get(8),
        used: row.get(9),
    }
}

pub(super) async fn replace(db: &Postgres, users: Vec<CopiedUser>) -> Result<(), AccountsError> {
    let users = &users;
    let replaced = db.transaction(again("replace_everybody"), |tx| async move {
        // What hangs on them goes with them.
        tx.execute("DELETE FROM account", &[]).await?;
        for copied in users {
            add(&tx, copied).await?;
        }
        Ok(())
    });
    replaced.await?;
    Ok(())
}

async fn add(tx: &Session, copied: &CopiedUser) -> Result<(), PostgresError> {
    const USER: &str = "
        INSERT INTO account (username, token, permissions) VALUES ($1, $2, $3) RETURNING id";
    const PASSWORD: &str = "INSERT INTO password (account, hash, changed) VALUES ($1, $2, $3)";
    const TOKEN: &str = "
        INSERT INTO bearer_token (id, account, name, secret, permissions, namespaces, created,
                                  expires, revoked, used)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let user = &copied.user;
    let row = tx
        .query_one(USER, &[&user.username, &user.token.0, &user.permissions])
        .await?;
    let id: i64 = row.get(0);
    if let Some((hash, changed)) = &copied.password {
        tx.execute(PASSWORD, &[&id, hash, changed]).await?;
    }
    for token in &copied.tokens {
        tx.execute(
            TOKEN,
            &[
                &token.id,
                &id,
                &token.name,
                &token.secret,
                &token.permissions,
                &token.namespaces,
                &token.created,
                &token.expires,
                &token.revoked,
                &token.used,
            ],
        )
        .await?;
    }
    Ok(())
}
