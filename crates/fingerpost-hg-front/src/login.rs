//! Who is asking, request by request.

use axum::http::header;
use axum::http::request::Parts;
use fingerpost_accounts::{Door, Login, LoginError, Logins, Way};
use fingerpost_core::Origin;
use fingerpost_net::Peer;

use crate::refusal::Refusal;

/// Who sends a request, if they log in and the login is right, or if they have a
/// certificate that stands for a user.
pub(crate) async fn login(
    parts: &Parts,
    logins: Option<&Logins>,
) -> Result<Option<Login>, Refusal> {
    let given = parts.headers.get_all(header::AUTHORIZATION).iter();
    let mut given = given.map(header::HeaderValue::as_bytes);
    let Some(logins) = logins else {
        // Without accounts nobody has a login.
        return match given.next() {
            None => Ok(None),
            Some(_) => Err(Refusal::wrong_login()),
        };
    };
    let peer = parts.extensions.get::<Peer>();
    let way = Way {
        door: Door::Mercurial,
        // Of whom nothing is known, nothing is known to be private.
        is_private: peer.is_some_and(Peer::is_private),
        certificate: peer.and_then(|peer| peer.certificate.as_deref()),
        origin: peer.map_or(Origin::Unknown, Peer::host),
    };
    logins
        .of_request(way, given)
        .await
        .map_err(|error| refusal(&error))
}

fn refusal(error: &LoginError) -> Refusal {
    match error {
        LoginError::Wrong(reason) => {
            tracing::debug!(reason, "A login failed");
            Refusal::wrong_login()
        }
        LoginError::Plaintext => Refusal::ssl_required(),
        LoginError::Throttled(wait) => Refusal::throttled(wait),
        LoginError::NotNow(reason) => {
            tracing::info!(reason, "A login cannot be checked now");
            Refusal::busy(SOON)
        }
        LoginError::Accounts(error) => {
            tracing::error!(%error, "cannot check a login");
            Refusal::server_error()
        }
    }
}

/// When to try a login again that cannot be checked now.
const SOON: std::time::Duration = std::time::Duration::from_secs(5);
