//! The table `password`, beside `user`.

use fingerpost_core::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::passwords::{Found, NamedLogin, PasswordHash};
use crate::token::StoredToken;
use crate::users::parse;

pub(super) fn find(conn: &Connection, username: &str) -> rusqlite::Result<Found> {
    let in_use = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM password)")?
        .query_row([], |row| row.get(0))?;
    let user = conn
        .prepare_cached(
            "SELECT token, permissions, hash
                 FROM user LEFT JOIN password ON password.user = user.id
                 WHERE username = ?1",
        )?
        .query_row([username], |row| {
            Ok(NamedLogin {
                token: StoredToken(row.get(0)?),
                permissions: parse(&row.get::<_, String>(1)?),
                hash: row.get::<_, Option<String>>(2)?.map(PasswordHash),
            })
        })
        .optional()?;
    Ok(Found { user, in_use })
}

/// Stores a user's hash; `false` when there is no such user.
pub(super) fn put(
    conn: &Connection,
    username: &str,
    hash: &PasswordHash,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let stored = conn
        .prepare_cached(
            "INSERT INTO password (user, hash, changed)
                 SELECT id, ?2, ?3 FROM user WHERE username = ?1
                 ON CONFLICT DO UPDATE SET hash = excluded.hash, changed = excluded.changed",
        )?
        .execute((username, hash.as_str(), now.0))?;
    Ok(stored > 0)
}

/// Removes a user's hash; `false` when there is none.
pub(super) fn remove(conn: &Connection, username: &str) -> rusqlite::Result<bool> {
    let removed = conn
        .prepare_cached(
            "DELETE FROM password WHERE user = (SELECT id FROM user WHERE username = ?1)",
        )?
        .execute([username])?;
    Ok(removed > 0)
}
