//! Users and the running collection: few, so they are compared as a whole.

use std::collections::HashMap;

use fingerpost_accounts::{StoredUser, delete_user, put_user, stored_users};
use rusqlite::Connection;

/// Gives the target these users and no others, in this order, in which they are listed.
/// What a user has besides (passwords, bearer tokens) stays, unless the source removed
/// and made them again. Returns how many were added, changed or removed.
pub(super) fn equal(conn: &Connection, users: &[StoredUser]) -> rusqlite::Result<u64> {
    let places: HashMap<&str, usize> = users
        .iter()
        .enumerate()
        .map(|(place, user)| (user.username.as_str(), place))
        .collect();
    let (mut changes, mut last) = (0, None);
    for ours in stored_users(conn)? {
        let place = places.get(ours.username.as_str()).copied();
        if place.is_some() && place > last {
            last = place;
        } else {
            delete_user(conn, &ours.username)?;
            changes += 1;
        }
    }
    let ours = stored_users(conn)?;
    // Who is new but not the last one has all behind them made again.
    let kept = users.iter().zip(&ours);
    let kept = kept
        .take_while(|(user, ours)| user.username == ours.username)
        .count();
    for behind in ours.iter().skip(kept) {
        delete_user(conn, &behind.username)?;
    }
    for (place, user) in users.iter().enumerate() {
        let known = ours.get(place).filter(|_| place < kept);
        let is_same = known.is_some_and(|known| {
            known.token.0 == user.token.0 && known.permissions == user.permissions
        });
        if !is_same {
            put_user(conn, user)?;
            changes += 1;
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use fingerpost_accounts::StoredToken;
    use fingerpost_db::Settings;

    use super::*;
    use crate::sqlite::MIGRATIONS;

    fn users(names: &str) -> Vec<StoredUser> {
        let user = |name: &str| StoredUser {
            username: name[..1].to_owned(),
            token: StoredToken(name.to_owned()),
            permissions: String::new(),
        };
        names.split_whitespace().map(user).collect()
    }

    fn check(steps: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(directory.path().join("db"));
        let conn = fingerpost_db::connect(&settings, MIGRATIONS).unwrap();
        for step in steps {
            equal(&conn, &users(step)).unwrap();
            let stored = stored_users(&conn).unwrap();
            let names: Vec<&str> = stored.iter().map(|user| user.token.0.as_str()).collect();
            assert_eq!(names.join(" "), *step);
            assert_eq!(equal(&conn, &users(step)).unwrap(), 0);
        }
    }

    #[test]
    fn users_are_those_of_the_source_in_its_order() {
        check(&["a b c", "a c", "a c d", "a2 c d2", "", "x"]);
        // Removed and made again, which lists them last.
        check(&["a b c", "b c a2", "c b a2", "z a b c"]);
    }
}
