//! Bearer tokens of users: an extension, which other servers do not have.

use serde::Serialize;

use super::Request;
use crate::client::{BearerTokens, NewBearerToken, RevokedToken};

/// What a token shall be.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NewToken<'a> {
    /// Whose it is; one's own if there is no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<&'a str>,
    /// What its user calls it.
    pub name: &'a str,
    /// What it allows.
    pub permissions: &'a [String],
    /// Where; everywhere without any.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub namespaces: &'a [String],
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// Makes a token.
pub fn new_token(new: NewToken<'_>) -> Request<NewBearerToken> {
    Request::new("new-token", new)
}

/// Asks for an account's tokens, by default one's own.
pub fn get_tokens(username: Option<&str>) -> Request<BearerTokens> {
    Request::new("get-tokens", OfUser { username, id: None })
}

/// Ends a token of an account, by default of one's own.
pub fn revoke_token(username: Option<&str>, id: &str) -> Request<RevokedToken> {
    let id = Some(id);
    Request::new("revoke-token", OfUser { username, id })
}

#[derive(Serialize)]
struct OfUser<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn what_is_not_said_is_left_out() {
        let read = ["@read".to_owned()];
        let new = NewToken {
            username: None,
            name: "n",
            permissions: &read,
            namespaces: &[],
            expires: None,
        };
        check(
            new_token(new),
            "{\"new-token\": {\"name\": \"n\", \"permissions\": [\"@read\"]}}",
        );
        check(get_tokens(None), "{\"get-tokens\": {}}");
        check(
            revoke_token(Some("u"), "0"),
            "{\"revoke-token\": {\"username\": \"u\", \"id\": \"0\"}}",
        );
    }
}
