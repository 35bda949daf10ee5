//! The table `bearer_token`.

use fingerpost_core::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::Namespaces;
use crate::tokens::{CreateError, FoundToken, LIVE_TOKENS_MAX, NewToken, TOKENS_MAX, TokenInfo};
use crate::users::{parse, print};

/// Adds a row if the limits allow it.
pub(super) fn insert(
    conn: &Connection,
    id: &str,
    secret: &[u8; 32],
    new: &NewToken,
    now: Timestamp,
) -> rusqlite::Result<Result<TokenInfo, CreateError>> {
    let user = conn
        .prepare_cached("SELECT id, permissions FROM user WHERE username = ?1")?
        .query_row([&new.user], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let Some((user, permissions)) = user else {
        return Ok(Err(CreateError::User));
    };
    if !parse(&permissions).covers(new.permissions) {
        return Ok(Err(CreateError::Scope));
    }
    if let Some(refusal) = beyond_limits(conn, user, &new.name, now)? {
        return Ok(Err(refusal));
    }
    let namespaces = match &new.namespaces {
        Namespaces::All => None,
        Namespaces::Only(names) => Some(names.join(" ")),
    };
    conn.prepare_cached(
        "INSERT INTO bearer_token (id, user, name, secret, permissions, namespaces, created, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute((
        id,
        user,
        &new.name,
        secret,
        print(new.permissions),
        namespaces,
        now.0,
        new.expires.map(|expires| expires.0),
    ))?;
    Ok(Ok(TokenInfo {
        id: id.to_owned(),
        user: new.user.clone(),
        name: new.name.clone(),
        permissions: new.permissions,
        namespaces: new.namespaces.clone(),
        created: now,
        expires: new.expires,
        revoked: None,
        used: None,
    }))
}

fn beyond_limits(
    conn: &Connection,
    user: i64,
    name: &str,
    now: Timestamp,
) -> rusqlite::Result<Option<CreateError>> {
    let (all, live, of_name): (u32, u32, u32) = conn
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE live), count(*) FILTER (WHERE live AND name = ?2)
                 FROM (SELECT name, revoked IS NULL AND ifnull(expires > ?3, 1) AS live
                           FROM bearer_token WHERE user = ?1)",
        )?
        .query_row((user, name, now.0), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok(if of_name > 0 {
        Some(CreateError::NameTaken)
    } else if live >= LIVE_TOKENS_MAX || all >= TOKENS_MAX {
        Some(CreateError::TooMany)
    } else {
        None
    })
}

/// Every row of a user, the oldest first.
pub(super) fn list(conn: &Connection, username: &str) -> rusqlite::Result<Vec<TokenInfo>> {
    conn.prepare_cached(
        "SELECT token.id, username, name, token.permissions, namespaces, created, expires, revoked, used
             FROM user JOIN bearer_token AS token ON token.user = user.id
             WHERE username = ?1 ORDER BY created, token.id",
    )?
    .query_map([username], info)?
    .collect()
}

/// The row with this id.
pub(super) fn find(conn: &Connection, id: &str) -> rusqlite::Result<Option<FoundToken>> {
    conn.prepare_cached(
        "SELECT token.id, username, name, token.permissions, namespaces, created, expires, revoked, used,
                secret, user.permissions
             FROM bearer_token AS token JOIN user ON user.id = token.user
             WHERE token.id = ?1",
    )?
    .query_row([id], |row| {
        Ok(FoundToken {
            info: info(row)?,
            secret: row.get(9)?,
            of_user: parse(&row.get::<_, String>(10)?),
        })
    })
    .optional()
}

fn info(row: &Row<'_>) -> rusqlite::Result<TokenInfo> {
    let time = |index: usize| {
        row.get(index)
            .map(|micros: Option<i64>| micros.map(Timestamp))
    };
    let namespaces: Option<String> = row.get(4)?;
    Ok(TokenInfo {
        id: row.get(0)?,
        user: row.get(1)?,
        name: row.get(2)?,
        permissions: parse(&row.get::<_, String>(3)?),
        namespaces: namespaces.map_or(Namespaces::All, |names| {
            Namespaces::Only(names.split_whitespace().map(str::to_owned).collect())
        }),
        created: Timestamp(row.get(5)?),
        expires: time(6)?,
        revoked: time(7)?,
        used: time(8)?,
    })
}

/// Marks a row as revoked; `false` when there is none, or it was marked before.
pub(super) fn revoke(
    conn: &Connection,
    username: &str,
    id: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE bearer_token SET revoked = ?3 WHERE id = ?2 AND revoked IS NULL
                 AND user = (SELECT id FROM user WHERE username = ?1)",
        )?
        .execute((username, id, now.0))?;
    Ok(changed > 0)
}

/// Stores last uses.
pub(super) fn note_uses(conn: &Connection, uses: &[(String, Timestamp)]) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("UPDATE bearer_token SET used = ?2 WHERE id = ?1")?;
    for (id, used) in uses {
        statement.execute((id, used.0))?;
    }
    Ok(())
}

/// Removes up to `rows` that ended before this; returns how many.
pub(super) fn purge(
    conn: &Connection,
    ended_before: Timestamp,
    rows: u32,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM bearer_token WHERE id IN (
             SELECT id FROM bearer_token WHERE expires < ?1 OR revoked < ?1 LIMIT ?2)",
    )?
    .execute((ended_before.0, rows))
}
