//! Refusals at the level of HTTP, with the reference server's exact statuses
//! and texts.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fingerpost_accounts::Wait;
use fingerpost_hg::site::Operation;
use fingerpost_hg_proto::FRAMING_MEDIA_TYPE;
use hyper::ext::ReasonPhrase;

/// Why a request gets no frames.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    media_type: Option<&'static str>,
    reason: Option<&'static str>,
    extra: Extra,
}

/// A header that goes with a refusal.
#[derive(Clone, Copy, Debug)]
enum Extra {
    Nothing,
    AllowPost,
    /// Asks for a login, which makes clients try again with a password.
    Login,
    RetryAfter(u64),
}

impl Extra {
    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        const BASIC: &str = "Basic realm=\"fingerpost\", charset=\"UTF-8\"";
        match self {
            Self::Nothing => None,
            Self::AllowPost => Some((header::ALLOW, HeaderValue::from_static("POST"))),
            Self::Login => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(BASIC))),
            Self::RetryAfter(seconds) => Some((header::RETRY_AFTER, seconds.into())),
        }
    }
}

impl Refusal {
    /// Plain text.
    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            media_type: Some("text/plain"),
            reason: None,
            extra: Extra::Nothing,
        }
    }

    /// What a client of protocol v1 prints before it gives up.
    pub(crate) fn v1(text: impl Into<String>) -> Self {
        Self {
            media_type: Some("application/hg-error"),
            ..Self::text(StatusCode::OK, text)
        }
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::text(StatusCode::NOT_FOUND, text)
    }

    /// A path that leads nowhere.
    pub(crate) fn nothing_here() -> Self {
        Self::not_found("there is nothing here\n")
    }

    pub(crate) fn unknown_command(name: &str) -> Self {
        Self::not_found(format!("unknown wire protocol command: {name}\n"))
    }

    pub(crate) fn needs_post() -> Self {
        Self {
            media_type: None,
            extra: Extra::AllowPost,
            ..Self::text(
                StatusCode::METHOD_NOT_ALLOWED,
                "commands require POST requests",
            )
        }
    }

    pub(crate) fn not_acceptable() -> Self {
        let text = format!("client MUST specify Accept header with value: {FRAMING_MEDIA_TYPE}\n");
        Self::text(StatusCode::NOT_ACCEPTABLE, text)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let text =
            format!("client MUST send Content-Type header with value: {FRAMING_MEDIA_TYPE}\n");
        Self::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    }

    /// A rule of the repository says no; with `login` one may change that.
    pub(crate) fn not_authorized(operation: Operation, login: bool) -> Self {
        Self {
            media_type: None,
            reason: Some(operation.not_authorized()),
            extra: if login { Extra::Login } else { Extra::Nothing },
            ..Self::text(StatusCode::UNAUTHORIZED, "permission denied")
        }
    }

    /// Whether a client is to try again with a password.
    pub(crate) const fn asks_for_login(&self) -> bool {
        matches!(self.extra, Extra::Login)
    }

    /// Whether it refuses a login that others could read.
    pub(crate) fn is_for_plaintext(&self) -> bool {
        self.reason == Some(SSL_REQUIRED)
    }

    /// Name and password of a login are wrong.
    pub(crate) fn wrong_login() -> Self {
        Self::not_authorized(Operation::Read, true)
    }

    pub(crate) fn ssl_required() -> Self {
        Self {
            media_type: None,
            reason: Some(SSL_REQUIRED),
            ..Self::text(StatusCode::FORBIDDEN, "permission denied")
        }
    }

    /// A command of a multirequest needs more than its URL allows.
    pub(crate) fn insufficient(command: &str) -> Self {
        let text = format!("insufficient permissions to execute command: {command}");
        Self::text(StatusCode::FORBIDDEN, text)
    }

    pub(crate) fn too_large() -> Self {
        Self::text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n")
    }

    pub(crate) fn too_slow() -> Self {
        Self::text(
            StatusCode::REQUEST_TIMEOUT,
            "the request did not arrive in time\n",
        )
    }

    pub(crate) fn server_error() -> Self {
        Self {
            media_type: None,
            ..Self::text(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
    }

    /// Logins failed too often; it was not looked at.
    pub(crate) fn throttled(wait: &Wait) -> Self {
        Self {
            extra: Extra::RetryAfter(wait.time.as_secs() + 1),
            ..Self::text(StatusCode::TOO_MANY_REQUESTS, format!("{wait}\n"))
        }
    }

    /// Too much is under way; the client may come again.
    pub(crate) fn busy(after: Duration) -> Self {
        Self {
            extra: Extra::RetryAfter(after.as_secs().max(1)),
            ..Self::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too much is under way; try again\n",
            )
        }
    }
}

/// What Mercurial says of it.
const SSL_REQUIRED: &str = "ssl required";

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        if let Some(media_type) = self.media_type {
            let media_type = HeaderValue::from_static(media_type);
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, media_type);
        }
        if let Some((name, value)) = self.extra.header() {
            response.headers_mut().insert(name, value);
        }
        if let Some(reason) = self.reason {
            let reason = ReasonPhrase::from_static(reason.as_bytes());
            response.extensions_mut().insert(reason);
        }
        response
    }
}
