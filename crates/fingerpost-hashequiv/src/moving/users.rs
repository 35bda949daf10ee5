//! Users and what they may do.

use fingerpost_accounts::{StoredToken, StoredUser, add_user};
use rusqlite::{Connection, Row};

use super::oddity::{Consequence, Oddities, OddityKind, text};
use super::reference::Reference;
use super::report::Tally;
use super::{ImportError, ImportReport};

/// The users of a reference database. They are few: a person made each.
pub(super) fn read_users(
    reference: &Reference,
    report: &mut ImportReport,
) -> Result<Vec<StoredUser>, ImportError> {
    report.users = Tally::default();
    if !reference.tables.has_users {
        return Ok(Vec::new());
    }
    let failed = reference.failed();
    let mut statement = reference
        .conn
        .prepare("SELECT id, username, token, permissions FROM users ORDER BY id")
        .map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let mut users = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        report.users.read += 1;
        match user(row, &mut report.oddities).map_err(&failed)? {
            Some(user) => {
                report.notes.extend(warning(&user));
                users.push(user);
            }
            None => report.users.left_out += 1,
        }
    }
    Ok(users)
}

fn user(row: &Row<'_>, oddities: &mut Oddities) -> rusqlite::Result<Option<StoredUser>> {
    let mut values = Vec::with_capacity(3);
    for (index, column) in [(1, "username"), (2, "token"), (3, "permissions")] {
        match text(row.get_ref(index)?) {
            Ok(text) => values.push(text.into_owned()),
            // SQLAlchemy lets permissions be NULL: none.
            Err(OddityKind::Null) if column == "permissions" => values.push(String::new()),
            Err(kind) => {
                let place = ("users", column);
                oddities.record(place, kind, Consequence::RowLeftOut, row.get(0)?);
                return Ok(None);
            }
        }
    }
    let Ok([username, token, permissions]) = <[String; 3]>::try_from(values) else {
        return Ok(None);
    };
    Ok(Some(StoredUser {
        username,
        token: StoredToken(token),
        permissions,
    }))
}

/// What will not work for a user.
fn warning(user: &StoredUser) -> Option<String> {
    (!user.token.is_known()).then(|| {
        format!(
            "The token of user {:?} is hashed in an unknown way and will not verify; refresh it",
            user.username
        )
    })
}

/// Adds users; names that exist keep their token and permissions.
pub(super) fn add_users(
    conn: &Connection,
    users: &[StoredUser],
    tally: &mut Tally,
) -> rusqlite::Result<()> {
    for user in users {
        if add_user(conn, user)? {
            tally.added += 1;
        } else {
            tally.present += 1;
        }
    }
    Ok(())
}
