//! What clients are told of what went wrong: RFC 9457.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fingerpost_core::Failure;
use serde::Serialize;

use super::{Caller, caching};

/// A problem on its way to a client.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// A stable word for programs.
    code: &'static str,
    /// A sentence for people.
    detail: Option<String>,
    not_stored: bool,
}

/// Its form on the wire.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    request_id: &'a str,
}

impl Problem {
    pub(super) const fn new(status: StatusCode, code: &'static str) -> Self {
        Self {
            status,
            code,
            detail: None,
            not_stored: false,
        }
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The stable word for programs.
    pub(super) const fn code(&self) -> &'static str {
        self.code
    }

    /// Whether somebody showed a login that is none.
    pub(super) fn is_failed_login(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && self.code != "login-needed"
    }

    /// Says that nobody may remember it.
    pub(super) const fn not_stored(mut self) -> Self {
        self.not_stored = true;
        self
    }

    /// Why a command failed, as far as it concerns the caller. The rest is logged.
    pub(super) fn of(failure: &Failure, command: &'static str, caller: &Caller) -> Self {
        let (status, code) = match failure {
            Failure::Denied { .. } if caller.principal.name().is_none() => {
                (StatusCode::UNAUTHORIZED, "login-needed")
            }
            Failure::Denied { .. } => (StatusCode::FORBIDDEN, "denied"),
            Failure::Refused { code, .. } => (status_of(code), *code),
            Failure::BadArgument(_) => (StatusCode::BAD_REQUEST, "bad-argument"),
            Failure::Unknown => (StatusCode::NOT_FOUND, "unknown-command"),
            Failure::Internal(cause) => {
                tracing::error!(
                    request_id = caller.request_id,
                    peer = caller.peer,
                    user = caller.principal.name(),
                    command,
                    "Failed {command}: {cause}"
                );
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal");
            }
        };
        tracing::debug!(
            request_id = caller.request_id,
            peer = caller.peer,
            user = caller.principal.name(),
            command,
            "Refused {command}: {failure}"
        );
        Self::new(status, code).detail(failure.to_string())
    }

    /// As a line of a stream that ends with it.
    pub(super) fn to_json(&self, request_id: &str) -> Vec<u8> {
        let told = Told {
            kind: format!("urn:fingerpost:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail.as_deref(),
            request_id,
        };
        serde_json::to_vec(&told).unwrap_or_default()
    }

    pub(super) fn into_response(self, request_id: &str) -> Response {
        let body = Body::from(self.to_json(request_id));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM);
        if self.not_stored {
            headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}

/// The status of a refusal by the service.
fn status_of(code: &str) -> StatusCode {
    match code {
        "no-such-user" => StatusCode::NOT_FOUND,
        "user-exists" | "wrong-mark" => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"fingerpost\", charset=\"UTF-8\"");
