//! Who is asking: HTTP Basic over the accounts.

use axum::http::{HeaderMap, header};
use fingerpost_accounts::{Accounts, basic_credentials};

use crate::refusal::Refusal;

/// The user's name, if the request has a login and it is right.
pub(crate) async fn login(
    headers: &HeaderMap,
    accounts: Option<&Accounts>,
) -> Result<Option<String>, Refusal> {
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let (username, token) =
        basic_credentials(header.as_bytes()).ok_or_else(Refusal::wrong_login)?;
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
