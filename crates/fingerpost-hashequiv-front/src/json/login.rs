//! Who is asking: HTTP Basic over the accounts, request by request.

use axum::http::{HeaderMap, StatusCode, header};
use fingerpost_accounts::basic_credentials;
use fingerpost_core::Principal;
use fingerpost_hashequiv::HashEquiv;

use super::problem::Problem;

/// The caller of a request. One whose login is wrong is not taken for anonymous.
pub(super) async fn principal(
    service: &HashEquiv,
    headers: &HeaderMap,
) -> Result<Principal, Problem> {
    let anonymous = service.anonymous();
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(header) = given.next() else {
        return Ok(anonymous);
    };
    let wrong = || Problem::new(StatusCode::UNAUTHORIZED, "wrong-login");
    if given.next().is_some() {
        return Err(wrong());
    }
    let (username, token) = basic_credentials(header.as_bytes()).ok_or_else(wrong)?;
    match service.accounts().authenticate(&username, &token).await {
        Ok(Some(permissions)) => Ok(anonymous.login(&username, permissions)),
        Ok(None) => Err(wrong()),
        Err(error) => {
            tracing::error!(%error, "cannot check a login");
            Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "accounts-unreachable",
            ))
        }
    }
}
