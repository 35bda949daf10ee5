//! Everybody at once.

use rusqlite::{Connection, OptionalExtension as _};

use super::users::{add_user, stored_users};
use crate::copied::{CopiedToken, CopiedUser};

pub(super) fn everybody(conn: &Connection) -> rusqlite::Result<Vec<CopiedUser>> {
    let users = stored_users(conn)?.into_iter().map(|user| {
        let password = conn
            .prepare_cached(
                "SELECT hash, changed FROM password
                  WHERE user = (SELECT id FROM user WHERE username = ?1)",
            )?
            .query_row([&user.username], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let tokens = conn
            .prepare_cached(
                "SELECT id, name, secret, permissions, namespaces, created, expires, revoked, used
                   FROM bearer_token WHERE user = (SELECT id FROM user WHERE username = ?1)
                  ORDER BY created, id",
            )?
            .query_map([&user.username], |row| {
                Ok(CopiedToken {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    secret: row.get(2)?,
                    permissions: row.get(3)?,
                    namespaces: row.get(4)?,
                    created: row.get(5)?,
                    expires: row.get(6)?,
                    revoked: row.get(7)?,
                    used: row.get(8)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(CopiedUser {
            user,
            password,
            tokens,
        })
    });
    users.collect()
}

pub(super) fn replace(conn: &Connection, users: &[CopiedUser]) -> rusqlite::Result<()> {
    // What hangs on them goes by a trigger.
    conn.execute("DELETE FROM user", [])?;
    for copied in users {
        add_user(conn, &copied.user)?;
        let id: i64 = conn
            .prepare_cached("SELECT id FROM user WHERE username = ?1")?
            .query_row([&copied.user.username], |row| row.get(0))?;
        if let Some((hash, changed)) = &copied.password {
            conn.prepare_cached("INSERT INTO password (user, hash, changed) VALUES (?1, ?2, ?3)")?
                .execute((id, hash, changed))?;
        }
        for token in &copied.tokens {
            conn.prepare_cached(
                "INSERT INTO bearer_token (id, user, name, secret, permissions, namespaces,
                                           created, expires, revoked, used)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute((
                &token.id,
                id,
                &token.name,
                &token.secret,
                &token.permissions,
                &token.namespaces,
                token.created,
                token.expires,
                token.revoked,
                token.used,
            ))?;
        }
    }
    Ok(())
}
