//! Logging in, and managing users.

use serde::Serialize;

use super::{Empty, Request};
use crate::client::{Login, NewUser, Token, UserInfo, Username, Users};

/// Logs in. Failure is a told error, after a second.
pub fn auth(username: &str, token: &str) -> Request<Login> {
    #[derive(Serialize)]
    struct Auth<'a> {
        username: &'a str,
        token: &'a str,
    }
    Request::new("auth", Auth { username, token })
}

/// An account; one's own if there is no name.
#[derive(Serialize)]
struct Account<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
}

/// An account and the permissions it is to have.
#[derive(Serialize)]
struct Permissions<'a> {
    username: &'a str,
    permissions: &'a [String],
}

/// Asks for an account, by default one's own.
pub fn get_user(username: Option<&str>) -> Request<Option<UserInfo>> {
    Request::new("get-user", Account { username })
}

/// Asks for all accounts.
pub fn get_all_users() -> Request<Users> {
    Request::new("get-all-users", Empty {})
}

/// Goes on as another user.
pub fn become_user(username: &str) -> Request<UserInfo> {
    Request::new(
        "become-user",
        Account {
            username: Some(username),
        },
    )
}

/// Makes a new token for an account, by default one's own.
pub fn refresh_token(username: Option<&str>) -> Request<Token> {
    Request::new("refresh-token", Account { username })
}

/// Sets what a user may do, from the next login on.
pub fn set_user_perms(username: &str, permissions: &[String]) -> Request<UserInfo> {
    Request::new(
        "set-user-perms",
        Permissions {
            username,
            permissions,
        },
    )
}

/// Creates an account.
pub fn new_user(username: &str, permissions: &[String]) -> Request<NewUser> {
    Request::new(
        "new-user",
        Permissions {
            username,
            permissions,
        },
    )
}

/// Deletes an account, by default one's own.
pub fn delete_user(username: Option<&str>) -> Request<Username> {
    Request::new("delete-user", Account { username })
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn user_management_is_spelled_as_the_reference_client_spells_it() {
        let all = ["@all".to_owned()];
        check(
            auth("u", "t"),
            "{\"auth\": {\"username\": \"u\", \"token\": \"t\"}}",
        );
        check(get_user(None), "{\"get-user\": {}}");
        check(get_user(Some("u")), "{\"get-user\": {\"username\": \"u\"}}");
        check(get_all_users(), "{\"get-all-users\": {}}");
        check(become_user("u"), "{\"become-user\": {\"username\": \"u\"}}");
        check(
            refresh_token(Some("u")),
            "{\"refresh-token\": {\"username\": \"u\"}}",
        );
        check(delete_user(None), "{\"delete-user\": {}}");
        check(
            set_user_perms("u", &[]),
            "{\"set-user-perms\": {\"username\": \"u\", \"permissions\": []}}",
        );
        check(
            new_user("u", &all),
            "{\"new-user\": {\"username\": \"u\", \"permissions\": [\"@all\"]}}",
        );
    }

    #[test]
    fn tokens_are_not_shown() {
        assert_eq!(format!("{:?}", auth("u", "secret")), "Request(\"auth\")");
    }
}
