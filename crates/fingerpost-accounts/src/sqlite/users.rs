//! The table `user`.

use rusqlite::{Connection, OptionalExtension as _};

use crate::StoredUser;
use crate::token::StoredToken;

/// Every row as it is stored, the oldest first: for export.
pub fn stored_users(conn: &Connection) -> rusqlite::Result<Vec<StoredUser>> {
    conn.prepare_cached("SELECT username, token, permissions FROM user ORDER BY id")?
        .query_map([], read)?
        .collect()
}

/// Adds a row as it is, for import; `false` when the name is taken, whose token
/// and permissions stay.
pub fn add_user(conn: &Connection, row: &StoredUser) -> rusqlite::Result<bool> {
    let added = conn
        .prepare_cached(
            "INSERT INTO user (username, token, permissions) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
        )?
        .execute((&row.username, &row.token.0, &row.permissions))?;
    Ok(added > 0)
}

/// Adds a row as it is, or gives the user of its name that token and permissions.
pub fn put(conn: &Connection, row: &StoredUser) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO user (username, token, permissions) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET token = excluded.token, permissions = excluded.permissions",
    )?
    .execute((&row.username, &row.token.0, &row.permissions))?;
    Ok(())
}

pub(super) fn find(conn: &Connection, username: &str) -> rusqlite::Result<Option<StoredUser>> {
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

/// Replaces a token; `false` when there is no such user.
pub(super) fn set_token(
    conn: &Connection,
    username: &str,
    token: &StoredToken,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached("UPDATE user SET token = ?2 WHERE username = ?1")?
        .execute((username, &token.0))?;
    Ok(changed > 0)
}

/// Replaces permissions; `false` when there is no such user.
pub(super) fn set_permissions(
    conn: &Connection,
    username: &str,
    permissions: &str,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached("UPDATE user SET permissions = ?2 WHERE username = ?1")?
        .execute((username, permissions))?;
    Ok(changed > 0)
}

/// Removes a user with what hangs on them; `false` when there is none.
pub fn delete(conn: &Connection, username: &str) -> rusqlite::Result<bool> {
    let removed = conn
        .prepare_cached("DELETE FROM user WHERE username = ?1")?
        .execute([username])?;
    Ok(removed > 0)
}
