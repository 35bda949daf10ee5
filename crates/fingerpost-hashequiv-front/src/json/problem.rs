//! What clients are told of what went wrong: RFC 9457.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fingerpost_core::Failure;
use fingerpost_net::Crowded;
use serde::Serialize;

use super::outcome::Outcome;
use super::{Caller, caching};
use crate::guards::code;

/// A problem on its way to a client.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// A stable word for programs.
    code: &'static str,
    /// A sentence for people.
    detail: Option<String>,
    limit: Option<Limit>,
    /// What an answer says beside the problem.
    header: Option<(&'static str, &'static str)>,
    /// Seconds until it may be tried again.
    retry_after: Option<u64>,
}

/// The limit that a request hit.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Limit {
    name: &'static str,
    max: u64,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    request_id: &'a str,
}

impl Problem {
    pub(super) const fn new(status: StatusCode, code: &'static str) -> Self {
        Self {
            status,
            code,
            detail: None,
            limit: None,
            header: None,
            retry_after: None,
        }
    }

    /// A request that is not worked on now.
    pub(super) fn crowded(crowded: &Crowded) -> Self {
        match crowded {
            Crowded::Rate(wait) => Self::later(*wait, code(crowded), crowded),
            Crowded::Places => Self {
                retry_after: Some(5),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code(crowded))
                    .detail(crowded.to_string())
            },
        }
    }

    /// A caller who comes too often.
    pub(super) fn later(wait: Duration, code: &'static str, why: &impl ToString) -> Self {
        Self {
            retry_after: Some(wait.as_secs() + 1),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, code).detail(why.to_string())
        }
    }

    /// Whether it says that what was shown is wrong.
    pub(super) fn is_wrong_login(&self) -> bool {
        self.code == "wrong-login"
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The stable word for programs.
    pub(super) const fn code(&self) -> &'static str {
        self.code
    }

    /// Says which of many questions it is about, counted from 1.
    pub(super) fn at(mut self, what: &str, number: usize) -> Self {
        let detail = self.detail.as_deref().unwrap_or("it is wrong");
        self.detail = Some(format!("{what} {number}: {detail}"));
        self
    }

    /// Names the limit that was hit.
    pub(super) const fn limit(mut self, name: &'static str, max: u64) -> Self {
        self.limit = Some(Limit { name, max });
        self
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What became of its request.
    pub(super) fn outcome(&self) -> Outcome {
        match self.code {
            "not-now" => Outcome::Refused,
            _ if self.limit.is_some() || self.retry_after.is_some() => Outcome::Limited,
            _ => Outcome::of(self.status),
        }
    }

    pub(super) fn limit_name(&self) -> Option<&'static str> {
        self.limit.map(|limit| limit.name)
    }

    /// Says something in a header.
    pub(super) const fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
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
            Failure::Internal(cause) | Failure::Unavailable(cause) => {
                tracing::error!(
                    request_id = caller.request_id(),
                    peer = caller.told.peer,
                    user = caller.principal.name(),
                    command,
                    "Failed {command}: {cause}"
                );
                return match failure {
                    Failure::Unavailable(_) => {
                        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
                            .detail("the database does not answer now")
                    }
                    _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
                };
            }
        };
        tracing::debug!(
            request_id = caller.request_id(),
            peer = caller.told.peer,
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
            limit: self.limit,
            request_id,
        };
        serde_json::to_vec(&told).unwrap_or_default()
    }

    pub(super) fn into_response(self, request_id: &str) -> Response {
        let body = Body::from(self.to_json(request_id));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM);
        headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        let is_for_later = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        if is_for_later.contains(&self.status) {
            let seconds = self.retry_after.unwrap_or(RETRY_AFTER);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The status of a refusal by the service.
fn status_of(code: &str) -> StatusCode {
    match code {
        "no-such-user" | "no-such-token" | "no-such-password" | "no-such-row" => {
            StatusCode::NOT_FOUND
        }
        "user-exists" | "token-exists" | "wrong-mark" => StatusCode::CONFLICT,
        "not-now" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// Seconds: what is busy or away now seldom is for longer.
const RETRY_AFTER: u64 = 1;
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const CHALLENGE: HeaderValue = HeaderValue::from_static(
    "Basic realm=\"fingerpost\", charset=\"UTF-8\", Bearer realm=\"fingerpost\"",
);
