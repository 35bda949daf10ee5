//! Who is asking: HTTP Basic over the accounts.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fingerpost_accounts::Accounts;

use crate::refusal::Refusal;

/// The user's name, if the request has a login and it is right.
pub(crate) async fn login(
    headers: &HeaderMap,
    accounts: Option<&Accounts>,
) -> Result<Option<String>, Refusal> {
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let (username, token) = basic(header.as_bytes()).ok_or_else(Refusal::wrong_login)?;
    // Without accounts nobody has a login.
    let accounts = accounts.ok_or_else(Refusal::wrong_login)?;
    match accounts.authenticate(&username, &token).await {
        Ok(Some(_)) => Ok(Some(username)),
        Ok(None) => Err(Refusal::wrong_login()),
        Err(error) => {
            tracing::error!(%error, "cannot check a login");
            Err(Refusal::server_error())
        }
    }
}

/// Name and password out of `Basic {base64 of name:password}`.
pub(crate) fn basic(header: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, token) = text.split_once(':')?;
    (!username.is_empty()).then(|| (username.to_owned(), token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_have_colons() {
        let header = format!("basic {}", STANDARD.encode("ann:a:b"));
        assert_eq!(basic(header.as_bytes()), Some(("ann".into(), "a:b".into())));
    }

    #[test]
    fn other_schemes_and_broken_ones_are_no_login() {
        for header in [
            "",
            "Basic",
            "Bearer abc",
            "Basic ???",
            "Basic YQ==",
            "Basic OmE=",
        ] {
            assert_eq!(basic(header.as_bytes()), None, "{header}");
        }
    }
}
