//! What may be remembered of an answer, and for how long.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use sha2::{Digest as _, Sha256};

pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub(super) const VARY: HeaderValue = HeaderValue::from_static("authorization");
/// A found unihash is right until rows are deleted, of which clients do not hear.
const FOR_ALL: HeaderValue = HeaderValue::from_static("public, max-age=60");
const FOR_ONE: HeaderValue = HeaderValue::from_static("private, max-age=60");

/// An answer that a client may remember for a minute, and everybody between us if
/// `anybody` may see it; without its body if the client has it already.
pub(super) fn conditional(
    asked: &HeaderMap,
    mut response: Response,
    tag: String,
    anybody: bool,
) -> Response {
    if has(asked, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    let control = if anybody { FOR_ALL } else { FOR_ONE };
    headers.insert(header::CACHE_CONTROL, control);
    headers.insert(header::VARY, VARY);
    response
}

/// Whether a client has what bears this tag. The weak comparison: an answer that went
/// out compressed has a weak tag.
pub(super) fn has(asked: &HeaderMap, tag: &str) -> bool {
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == "*" || one == tag)
}

/// What is asked for lies there. The place is good for this request alone: it may be
/// signed, for a while.
pub(super) fn redirected(location: HeaderValue) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// The name of exactly these bytes in a namespace, as long as nothing is deleted.
pub(super) fn tag(namespace: &str, deletion_epoch: u64, bytes: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(namespace);
    digest.update([0]);
    digest.update(deletion_epoch.to_be_bytes());
    digest.update(bytes);
    [
        "\"",
        &faster_hex::hex_string(&digest.finalize()[..16]),
        "\"",
    ]
    .concat()
}
