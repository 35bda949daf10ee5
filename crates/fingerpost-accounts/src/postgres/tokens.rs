//! The table `bearer_token`.

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Postgres, PostgresError, Row, Session};

use super::again;
use super::users::is_name;
use crate::tokens::{CreateError, FoundToken, LIVE_TOKENS_MAX, NewToken, TOKENS_MAX, TokenInfo};
use crate::users::{parse, print};
use crate::{AccountsError, Namespaces};

/// Adds a row if the limits allow it.
pub(super) async fn add(
    db: &Postgres,
    id: String,
    secret: [u8; 32],
    new: NewToken,
    now: Timestamp,
) -> Result<Result<TokenInfo, CreateError>, AccountsError> {
    if !is_name(&new.user) {
        return Ok(Err(CreateError::User));
    }
    let refused = db.transaction("add_token", |tx| {
        let (id, new) = (id.clone(), new.clone());
        async move {
            let refused = refusal(&tx, &new, now).await?;
            if let Judged::Allowed { account } = refused {
                insert(&tx, account, (&id, &secret), &new, now).await?;
            }
            Ok(refused)
        }
    });
    Ok(match refused.await? {
        Judged::Allowed { .. } => Ok(TokenInfo {
            id,
            user: new.user,
            name: new.name,
            permissions: new.permissions,
            namespaces: new.namespaces,
            created: now,
            expires: new.expires,
            revoked: None,
            used: None,
        }),
        Judged::NoUser => Err(CreateError::User),
        Judged::Scope => Err(CreateError::Scope),
        Judged::NameTaken => Err(CreateError::NameTaken),
        Judged::TooMany => Err(CreateError::TooMany),
    })
}

/// What the limits say.
enum Judged {
    Allowed { account: i64 },
    NoUser,
    Scope,
    NameTaken,
    TooMany,
}

/// Locks the user's row: nobody else adds a token of theirs meanwhile.
async fn refusal(tx: &Session, new: &NewToken, now: Timestamp) -> Result<Judged, PostgresError> {
    const USER: &str = "SELECT id, permissions FROM account WHERE username = $1 FOR UPDATE";
    const COUNTS: &str = "
        SELECT count(*), count(*) FILTER (WHERE live), count(*) FILTER (WHERE live AND name = $2)
          FROM (SELECT name, revoked IS NULL AND coalesce(expires > $3, true) AS live
                  FROM bearer_token WHERE account = $1) AS token";
    let Some(user) = tx.query_opt(USER, &[&new.user]).await? else {
        return Ok(Judged::NoUser);
    };
    let account: i64 = user.get(0);
    if !parse(user.get(1)).covers(new.permissions) {
        return Ok(Judged::Scope);
    }
    let counts = tx.query_one(COUNTS, &[&account, &new.name, &now.0]).await?;
    let (all, live, of_name): (i64, i64, i64) = (counts.get(0), counts.get(1), counts.get(2));
    Ok(if of_name > 0 {
        Judged::NameTaken
    } else if live >= LIVE_TOKENS_MAX.into() || all >= TOKENS_MAX.into() {
        Judged::TooMany
    } else {
        Judged::Allowed { account }
    })
}

async fn insert(
    tx: &Session,
    account: i64,
    (id, secret): (&str, &[u8]),
    new: &NewToken,
    now: Timestamp,
) -> Result<(), PostgresError> {
    const SQL: &str = "
        INSERT INTO bearer_token
               (id, account, name, secret, permissions, namespaces, created, expires)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let namespaces = match &new.namespaces {
        Namespaces::All => None,
        Namespaces::Only(names) => Some(names.join(" ")),
    };
    let (permissions, expires) = (print(new.permissions), new.expires.map(|expires| expires.0));
    tx.execute(
        SQL,
        &[
            &id,
            &account,
            &new.name,
            &secret,
            &permissions,
            &namespaces,
            &now.0,
            &expires,
        ],
    )
    .await?;
    Ok(())
}

/// Every row of a user, the oldest first.
pub(super) async fn list(db: &Postgres, username: String) -> Result<Vec<TokenInfo>, AccountsError> {
    const SQL: &str = "
        SELECT token.id, username, name, token.permissions, namespaces, created, expires, revoked,
               used
          FROM account JOIN bearer_token AS token ON token.account = account.id
         WHERE username = $1 ORDER BY created, token.id";
    if !is_name(&username) {
        return Ok(Vec::new());
    }
    let rows = db.read("list_tokens", |session| {
        let username = username.clone();
        async move { session.query(SQL, &[&username]).await }
    });
    Ok(rows.await?.iter().map(info).collect())
}

/// The row with this id.
pub(super) async fn find(db: &Postgres, id: String) -> Result<Option<FoundToken>, AccountsError> {
    const SQL: &str = "
        SELECT token.id, username, name, token.permissions, namespaces, created, expires, revoked,
               used, secret, account.permissions
          FROM bearer_token AS token JOIN account ON account.id = token.account
         WHERE token.id = $1";
    let row = db.read("find_token", |session| {
        let id = id.clone();
        async move { session.query_opt(SQL, &[&id]).await }
    });
    Ok(row.await?.map(|row| FoundToken {
        info: info(&row),
        // One of another length is nobody's.
        secret: row.get::<_, &[u8]>(9).try_into().unwrap_or([0; 32]),
        of_user: parse(row.get(10)),
    }))
}

fn info(row: &Row) -> TokenInfo {
    let time = |index: usize| row.get::<_, Option<i64>>(index).map(Timestamp);
    let namespaces: Option<&str> = row.get(4);
    TokenInfo {
        id: row.get(0),
        user: row.get(1),
        name: row.get(2),
        permissions: parse(row.get(3)),
        namespaces: namespaces.map_or(Namespaces::All, |names| {
            Namespaces::Only(names.split_whitespace().map(str::to_owned).collect())
        }),
        created: Timestamp(row.get(5)),
        expires: time(6),
        revoked: time(7),
        used: time(8),
    }
}

/// Marks a row as revoked; `false` when there is none, or it was marked before.
pub(super) async fn revoke(
    db: &Postgres,
    username: String,
    id: String,
    now: Timestamp,
) -> Result<bool, AccountsError> {
    const SQL: &str = "
        UPDATE bearer_token SET revoked = $3
         WHERE id = $2 AND revoked IS NULL
           AND account = (SELECT id FROM account WHERE username = $1)";
    if !is_name(&username) || !is_name(&id) {
        return Ok(false);
    }
    let changed = db.transaction("revoke_token", |tx| {
        let (username, id) = (username.clone(), id.clone());
        async move { tx.execute(SQL, &[&username, &id, &now.0]).await }
    });
    Ok(changed.await? > 0)
}

/// Stores last uses. Of several instances the latest use counts.
pub(super) async fn note_uses(
    db: &Postgres,
    uses: Vec<(String, Timestamp)>,
) -> Result<(), AccountsError> {
    const SQL: &str = "
        UPDATE bearer_token SET used = greatest(bearer_token.used, noted.used)
          FROM unnest($1, $2) AS noted (id, used)
         WHERE bearer_token.id = noted.id";
    // In one order, so that instances that do it at once wait and do not block each other.
    let mut uses = uses;
    uses.sort();
    let noted = db.transaction(again("note_uses"), |tx| {
        let ids: Vec<String> = uses.iter().map(|(id, _)| id.clone()).collect();
        let times: Vec<i64> = uses.iter().map(|(_, used)| used.0).collect();
        async move { tx.execute(SQL, &[&ids, &times]).await }
    });
    noted.await?;
    Ok(())
}

/// Removes up to `rows` that ended before this; how many.
pub(super) async fn purge(
    db: &Postgres,
    ended_before: Timestamp,
    rows: u32,
) -> Result<usize, AccountsError> {
    const SQL: &str = "
        DELETE FROM bearer_token WHERE id IN (
               SELECT id FROM bearer_token WHERE expires < $1 OR revoked < $1
                ORDER BY id LIMIT $2)";
    let rows = i64::from(rows);
    let removed = db.transaction(again("purge_tokens"), |tx| async move {
        tx.execute(SQL, &[&ended_before.0, &rows]).await
    });
    Ok(usize::try_from(removed.await?).unwrap_or(usize::MAX))
}
