//! Snapshots: which there are, and their files.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use fingerpost_core::{Audience, Failure, Follower};
use fingerpost_net::Peer;
use fingerpost_snapshot::Digest;
use serde_json::{Value, json};

use super::problem::Problem;
use super::rows::{Named, Resource, named, permit};
use super::{Caller, JSON, Shared, arguments, caching};
use crate::snapshots::{Shelved, SnapshotShelf};

/// The list.
pub(super) const SNAPSHOTS: &str = "/v1/snapshots";
/// One of it.
pub(super) const SNAPSHOT: &str = "/v1/snapshots/{name}";
/// What it is of.
pub(super) const MANIFEST: &str = "/v1/snapshots/{name}/manifest.json";
/// Who published it.
pub(super) const SIGNATURE: &str = "/v1/snapshots/{name}/manifest.sig";
/// A shard or side shard.
pub(super) const SHARD: &str = "/v1/snapshots/{name}/shards/{sha256}";

/// Another name of the newest one.
const LATEST: &str = "latest";

/// The command whose permission they need.
const COMMAND: &str = "get-stream";

const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const JSON_TYPE: HeaderValue = HeaderValue::from_static(JSON);
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// A year, which is for ever. The name of a shard says what its bytes are.
const FOR_ALL: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const FOR_ONE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// Files stay as they are, and caches keep them, with what was told once, for ever.
const OF_FILES: bool = false;

/// Which there are in the caller's namespace.
pub(super) struct List;

/// One of them.
pub(super) struct One;

/// The manifest of one.
pub(super) struct ManifestOf;

/// The signature of one.
pub(super) struct SignatureOf;

/// A shard of one.
pub(super) struct ShardOf;

impl Resource for List {
    const NAME: &'static str = "snapshots";

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        _: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        may(shared, caller, request.uri().query()).await?;
        let all = match shelf(shared)? {
            Some(shelf) => shelf.of(caller.service().namespace()).await,
            None => Ok(Vec::new()),
        };
        let all = all.map_err(|error| failed(error, caller))?;
        let told: Vec<_> = all.iter().map(|one| entry(one)).collect();
        // Who reads here reads what is there through it, and may know where that is.
        let fallbacks = caller.service().fallbacks();
        let told = json!({"fallbacks": fallbacks, "snapshots": told}).to_string();
        Ok(fresh(request.headers(), told.into_bytes(), JSON_TYPE))
    }
}

impl Resource for One {
    const NAME: &'static str = "snapshot";

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        path: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        let (one, _) = find(shared, caller, path, request.uri().query()).await?;
        let told = entry(&one).to_string().into_bytes();
        Ok(fresh(request.headers(), told, JSON_TYPE))
    }
}

impl Resource for ManifestOf {
    const NAME: &'static str = "snapshot-manifest";
    const TELLS_EPOCH: bool = OF_FILES;

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        path: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        let (one, _) = find(shared, caller, path, request.uri().query()).await?;
        let bytes = one
            .manifest()
            .await
            .map_err(|error| failed(error, caller))?;
        Ok(fresh(request.headers(), bytes, JSON_TYPE))
    }
}

impl Resource for SignatureOf {
    const NAME: &'static str = "snapshot-signature";
    const TELLS_EPOCH: bool = OF_FILES;

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        path: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        let (one, _) = find(shared, caller, path, request.uri().query()).await?;
        if one.signed_by.is_none() {
            return Err(Problem::new(StatusCode::NOT_FOUND, "not-published"));
        }
        let bytes = one
            .signature()
            .await
            .map_err(|error| failed(error, caller))?;
        Ok(fresh(request.headers(), bytes, TEXT))
    }
}

impl Resource for ShardOf {
    const NAME: &'static str = "snapshot-shard";
    const TELLS_EPOCH: bool = OF_FILES;

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        path: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        let (one, shelf) = find(shared, caller, path, request.uri().query()).await?;
        let unknown = || Problem::new(StatusCode::NOT_FOUND, "no-such-shard");
        let digest = Digest::parse(named(path, "sha256")).ok_or_else(unknown)?;
        let bytes = one.shard_bytes(&digest).ok_or_else(unknown)?;
        let anybody = caller.anybody_may(shared.entry(COMMAND)?);
        let tag = format!("\"{digest}\"");
        if caching::has(request.headers(), &tag) {
            return Ok(immutable(
                StatusCode::NOT_MODIFIED,
                Body::empty(),
                &tag,
                anybody,
            ));
        }
        let wanted = match (shelf.elsewhere(), request.method()) {
            // A redirect of HEAD would tell of another resource.
            (Some(elsewhere), &Method::GET) => {
                let audience = match anybody {
                    true => Audience::Anyone,
                    false => Audience::Caller,
                };
                let wanted = elsewhere.wanted(client(&request), audience, &digest, bytes);
                wanted.map(|wanted| (elsewhere, wanted))
            }
            _ => None,
        };
        if let Some((elsewhere, wanted)) = &wanted
            && let Some(redirect) = elsewhere.find(wanted).await
            && let Ok(location) = HeaderValue::from_str(redirect.location.expose())
        {
            return Ok(caching::redirected(location));
        }
        let shard = one.shard(&digest, bytes).await;
        let shard = shard.map_err(|error| failed(error, caller))?;
        if let Some((elsewhere, wanted)) = wanted {
            elsewhere.put(wanted, shard.clone());
        }
        let range = match range(request.headers(), bytes, &tag) {
            Ok(range) => range,
            Err(OutOfRange) => return Ok(out_of_range(bytes)),
        };
        let part = range.clone().unwrap_or(0..bytes);
        let length = part.end - part.start;
        let (status, body) = match range {
            Some(_) => (StatusCode::PARTIAL_CONTENT, shard.body(part.clone())),
            None => (StatusCode::OK, shard.body(part.clone())),
        };
        let mut response = immutable(status, body, &tag, anybody);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, OCTETS);
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if status == StatusCode::PARTIAL_CONTENT {
            let told = format!("bytes {}-{}/{bytes}", part.start, part.end - 1);
            insert(headers, header::CONTENT_RANGE, &told);
        }
        Ok(response)
    }
}

/// Whether the caller may, and asks for nothing that there is not.
async fn may(shared: &Shared, caller: &Caller, query: Option<&str>) -> Result<(), Problem> {
    permit(shared, caller, COMMAND).await?;
    let query = arguments::parameters(query.unwrap_or_default())?;
    arguments::nothing_else(&query)
}

/// The shelf, unless what lies there is not what other servers tell of.
fn shelf(shared: &Shared) -> Result<Option<&SnapshotShelf>, Problem> {
    match shared.shelf() {
        Some(shelf) if shelf.is_withheld() => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "snapshots-not-shared",
        )
        .detail("the snapshots of this server are not those of the others on its database")),
        shelf => Ok(shelf),
    }
}

/// The snapshot that a path names, if the caller may have it.
async fn find<'a>(
    shared: &'a Shared,
    caller: &Caller,
    path: &Named,
    query: Option<&str>,
) -> Result<(Arc<Shelved>, &'a SnapshotShelf), Problem> {
    may(shared, caller, query).await?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "no-such-snapshot");
    let shelf = shelf(shared)?.ok_or_else(unknown)?;
    let (namespace, name) = (caller.service().namespace(), named(path, "name"));
    let found = match name {
        LATEST => shelf.of(namespace).await.map(|all| all.into_iter().next()),
        name => shelf.find(namespace, name).await,
    };
    let found = found.map_err(|error| failed(error, caller))?;
    Ok((found.ok_or_else(unknown)?, shelf))
}

/// A file that went away was taken from the shelf.
fn failed(error: io::Error, caller: &Caller) -> Problem {
    match error.kind() {
        io::ErrorKind::NotFound => Problem::new(StatusCode::NOT_FOUND, "no-such-snapshot"),
        _ => Problem::of(&Failure::internal(error), COMMAND, caller),
    }
}

fn entry(one: &Shelved) -> Value {
    json!({
        "name": one.name,
        "namespace": one.namespace,
        "rows": one.rows,
        "bytes": one.bytes,
        "left_out": one.left_out,
        "position": one.position,
        "epoch": one.epoch,
        "created": one.created.to_string(),
        "signed_by": one.signed_by.map(|key| key.to_string()),
    })
}

/// What may change: it is asked for each time, and its bytes only if it did.
fn fresh(asked: &HeaderMap, bytes: Vec<u8>, media_type: HeaderValue) -> Response {
    let tag = format!("\"{}\"", Digest::of(&bytes));
    let mut response = match caching::has(asked, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let mut response = Body::from(bytes).into_response();
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, media_type);
            response
        }
    };
    let headers = response.headers_mut();
    insert(headers, header::ETAG, &tag);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    headers.insert(header::VARY, caching::VARY);
    response
}

fn immutable(status: StatusCode, body: Body, tag: &str, anybody: bool) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    insert(headers, header::ETAG, tag);
    let control = if anybody { FOR_ALL } else { FOR_ONE };
    headers.insert(header::CACHE_CONTROL, control);
    headers.insert(header::VARY, caching::VARY);
    response
}

fn out_of_range(bytes: u64) -> Response {
    let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    let headers = response.headers_mut();
    insert(headers, header::CONTENT_RANGE, &format!("bytes */{bytes}"));
    headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
    response
}

/// Digits, and what the program names, fit a header.
fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn client(request: &Request) -> Follower {
    Follower {
        address: request.extensions().get::<Peer>().and_then(Peer::ip),
        is_stock: true,
    }
}

/// Nothing of what is asked for is there.
#[derive(Debug, PartialEq, Eq)]
struct OutOfRange;

/// The bytes that are asked for, of `len`; `None` for all of them, which is also what
/// is given for several ranges, or for other bytes than these.
fn range(headers: &HeaderMap, len: u64, tag: &str) -> Result<Option<Range<u64>>, OutOfRange> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    if text(header::IF_RANGE).is_some_and(|wanted| wanted != tag) {
        return Ok(None);
    }
    let asked = text(header::RANGE).and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = asked.and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (start, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(len)),
        (Some(first), None) if last.trim().is_empty() => (first, len),
        (None, Some(last)) if first.trim().is_empty() => (len.saturating_sub(last), len),
        _ => return Ok(None),
    };
    match start < end {
        true => Ok(Some(start..end)),
        false => Err(OutOfRange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read() {
        let check = |text: &'static str, wanted: Result<Option<Range<u64>>, OutOfRange>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(text));
            assert_eq!(range(&headers, 10, "\"t\""), wanted, "{text}");
        };
        check("bytes=2-4", Ok(Some(2..5)));
        check("bytes=2-", Ok(Some(2..10)));
        check("bytes=-3", Ok(Some(7..10)));
        check("bytes=-30", Ok(Some(0..10)));
        check("bytes=8-99", Ok(Some(8..10)));
        check("bytes=10-", Err(OutOfRange));
        check("bytes=-0", Err(OutOfRange));
        for all in [
            "bytes=4-2",
            "bytes=1-2,4-5",
            "rows=1-2",
            "bytes=x-",
            "bytes=-",
        ] {
            check(all, Ok(None));
        }
    }
}
