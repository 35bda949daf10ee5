//! Who is asking, request by request.

use axum::http::{HeaderMap, StatusCode, header};
use fingerpost_accounts::{Door, LoginError, Way, basic_credentials};
use fingerpost_core::{Origin, Principal};
use fingerpost_net::Peer;
use serde_json::json;

use super::problem::Problem;
use crate::placement::{Place, Placement};

/// The caller of a request, and where they work. One whose login is wrong is not
/// taken for anonymous.
pub(super) async fn principal(
    placement: &Placement,
    place: Place,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<(Place, Principal), Problem> {
    let way = Way {
        door: Door::Json,
        // Of whom nothing is known, nothing is known to be private.
        is_private: peer.is_some_and(Peer::is_private),
        certificate: peer.and_then(|peer| peer.certificate.as_deref()),
        origin: peer.map_or(Origin::Unknown, Peer::host),
    };
    let given = headers.get_all(header::AUTHORIZATION).iter();
    let given = given.map(header::HeaderValue::as_bytes);
    match place.service.logins().of_request(way, given).await {
        Ok(None) => {
            let anonymous = place.service.anonymous();
            Ok((place, anonymous))
        }
        Ok(Some(login)) => {
            let place = placement.after_login(&place, login.name());
            let principal = place.service.principal_of(&login);
            let principal = place.service.admit(principal);
            Ok((place, principal))
        }
        Err(error) => Err(problem(&error)),
    }
}

/// Whose login a request shows, as an argument of the command that logs in.
pub(super) fn argument(headers: &HeaderMap) -> String {
    let given = headers.get(header::AUTHORIZATION);
    let named = given.and_then(|given| basic_credentials(given.as_bytes()));
    named.map_or_else(String::new, |(username, _)| {
        json!({ "username": username }).to_string()
    })
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
        LoginError::Throttled(wait) => Problem::later(wait.time, "too-many-failed-logins", wait),
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
