//! Who is asking, request by request.

use axum::http::{HeaderMap, StatusCode, header};
use fingerpost_accounts::{Door, LoginError, Way};
use fingerpost_core::Principal;
use fingerpost_hashequiv::HashEquiv;
use fingerpost_net::Peer;

use super::problem::Problem;

/// The caller of a request. One whose login is wrong is not taken for anonymous.
pub(super) async fn principal(
    service: &HashEquiv,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<Principal, Problem> {
    let way = Way {
        door: Door::Json,
        // Of whom nothing is known, nothing is known to be private.
        is_private: peer.is_some_and(Peer::is_private),
        certificate: peer.and_then(|peer| peer.certificate.as_deref()),
    };
    let given = headers.get_all(header::AUTHORIZATION).iter();
    let given = given.map(header::HeaderValue::as_bytes);
    match service.logins().of_request(way, given).await {
        Ok(None) => Ok(service.anonymous()),
        Ok(Some(login)) => Ok(service.principal_of(&login)),
        Err(error) => Err(problem(&error)),
    }
}

fn problem(error: &LoginError) -> Problem {
    match error {
        LoginError::Wrong(reason) => {
            tracing::debug!(reason, "A login over HTTP failed");
            Problem::new(StatusCode::UNAUTHORIZED, "wrong-login")
        }
        LoginError::Plaintext => {
            let detail = "logins are taken over HTTPS or from this host only, unless the \
                          operator sets accounts.plaintext_logins";
            Problem::new(StatusCode::FORBIDDEN, "plaintext-login").detail(detail)
        }
        LoginError::NotNow(reason) => {
            tracing::info!(reason, "A login over HTTP cannot be checked now");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "login-not-now")
        }
        LoginError::Accounts(error) => {
            tracing::error!(%error, "cannot check a login");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "accounts-unreachable")
        }
    }
}
