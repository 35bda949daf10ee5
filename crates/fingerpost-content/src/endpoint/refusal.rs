//! Requests that get no entry.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Seconds after which it is worth trying again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why there is no entry in the answer. Nobody is told what is wrong with a
/// URL, so that nobody learns how to come closer to a right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Neither GET nor HEAD.
    Method,
    /// Not a URL that we signed, or no longer good.
    Forbidden,
    /// The store does not have it, or does not give it in time.
    NotFound,
    /// The asked range is behind the end.
    Unsatisfiable {
        /// Bytes of the entry.
        len: u64,
    },
    /// Too many answers for too long, or the store fails.
    Unavailable,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "this URL opens nothing\n"),
            Self::NotFound => (StatusCode::NOT_FOUND, "it is not here\n"),
            Self::Unsatisfiable { .. } => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "the range is behind the end\n",
            ),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "try again later\n"),
        };
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        let no_store = HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, no_store);
        match self {
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Unavailable => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            Self::Unsatisfiable { len } => {
                if let Ok(range) = HeaderValue::try_from(format!("bytes */{len}")) {
                    headers.insert(header::CONTENT_RANGE, range);
                }
            }
            Self::Forbidden | Self::NotFound => {}
        }
        response
    }
}
