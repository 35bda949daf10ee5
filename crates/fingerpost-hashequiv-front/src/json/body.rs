//! Bodies that are taken as a whole.

use std::ops::Deref;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, StatusCode, header};
use tokio::time::timeout;

use super::problem::Problem;
use super::{Shared, coding};
use crate::budget::Share;

pub(super) const JSON: &str = "application/json";

/// Refuses a body of another type: no web page can send one of these without
/// being asked whether it may.
pub(super) fn demand_media_type(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    match media_type(headers) {
        Some(given) if wanted.iter().any(|one| given.eq_ignore_ascii_case(one)) => Ok(()),
        _ => {
            let why = format!("the body must be {}", wanted.join(" or "));
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type").detail(why))
        }
    }
}

/// The type of the body without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    given.split(';').next().map(str::trim)
}

/// A body with its share of the memory for them, which it has until it is dropped.
pub(super) struct WholeBody {
    bytes: Vec<u8>,
    _share: Share,
}

impl Deref for WholeBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Shared {
    /// The whole body of a request.
    pub(super) async fn json_body(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<WholeBody, Problem> {
        demand_media_type(headers, &[JSON])?;
        let max = self.options.body_bytes_max;
        let too_long = || {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-long")
                .detail(format!("the body is longer than {max} bytes"))
                .limit("body_bytes", max as u64)
        };
        if body.size_hint().lower() > max as u64 {
            return Err(too_long());
        }
        let mut pieces = coding::pieces(headers, body)?;
        let reading = async {
            let (mut all, mut share) = (Vec::new(), self.share());
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                if all.len() + piece.len() > max {
                    return Err(too_long());
                }
                if !share.covers(all.len() + piece.len() + pieces.kept()) {
                    return Err(self.buffers_full());
                }
                all.extend_from_slice(&piece);
            }
            Ok(WholeBody {
                bytes: all,
                _share: share,
            })
        };
        // Of a body that comes at all, all comes within so many stalls.
        let limit = self.options.body_stall * 2;
        let read = timeout(limit, reading).await;
        read.unwrap_or_else(|_| Err(self.too_slow()))
    }

    /// What a body may take of the memory for all of them.
    pub(super) fn share(&self) -> Share {
        Share::of_body(Arc::clone(self.budget()))
    }

    /// All requests together hold too much.
    pub(super) fn buffers_full(&self) -> Problem {
        let max = self.budget().bytes();
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "buffers-full")
            .detail("too much of what was sent is held at once; try again")
            .limit("buffered_bytes", max as u64)
    }

    /// A client that keeps us waiting.
    pub(super) fn too_slow(&self) -> Problem {
        let seconds = self.options.body_stall.as_secs();
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow")
            .limit("body_stall_seconds", seconds)
    }
}
