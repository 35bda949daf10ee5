//! What is refused before anything is routed, as programs and people are told it.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::request_id::{self, RequestIds};

/// A request that is refused.
#[derive(Clone, Copy)]
pub(crate) struct Refused<'a> {
    pub(crate) ids: &'a RequestIds,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

/// Why.
#[derive(Clone, Copy)]
pub(crate) struct Why {
    pub(crate) status: StatusCode,
    /// A stable word for programs.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) detail: &'static str,
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    request_id: &'a str,
}

impl Refused<'_> {
    /// Says so as the API does where there is one, else as a line of text.
    pub(crate) fn told(self, why: Why) -> Response {
        match is_of_api(self.uri.path()) {
            true => self.problem(why),
            false => (why.status, format!("{}\n", why.detail)).into_response(),
        }
    }

    /// Says so as the API does.
    pub(crate) fn problem(self, why: Why) -> Response {
        let request_id = self.ids.of(self.headers);
        let problem = Problem {
            r#type: format!("urn:fingerpost:problem:{}", why.code),
            title: why.status.canonical_reason().unwrap_or("Problem"),
            status: why.status.as_u16(),
            code: why.code,
            detail: why.detail,
            request_id: &request_id,
        };
        // Plain texts cannot fail to be written to memory.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (why.status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        request_id::tell(&request_id, headers);
        response
    }
}

/// Whether a path is below `/v1`, of a namespace or not.
fn is_of_api(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    match parts.next() {
        Some("ns") => parts.nth(1) == Some("v1"),
        first => first == Some("v1"),
    }
}

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_below_v1_of_every_namespace() {
        for path in ["/v1", "/v1/ping", "/ns/lab/v1", "/ns/lab/v1/ping"] {
            assert!(is_of_api(path), "{path}");
        }
        for path in ["/", "", "*", "/v11", "/x/v1", "/ns/v1", "/ns/lab/x/v1"] {
            assert!(!is_of_api(path), "{path}");
        }
    }
}
