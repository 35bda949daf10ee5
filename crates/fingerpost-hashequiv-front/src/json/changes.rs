//! What changed in a namespace since a position, as lines.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use fingerpost_core::Failure;
use fingerpost_hashequiv::changes::{Changes, ChangesSince};
use fingerpost_snapshot::{ChangeError, ChangeWriter, Since};
use futures_util::stream;
use tokio::time::{Instant, sleep};

use super::many::NDJSON;
use super::problem::Problem;
use super::rows::{Named, Resource, permit};
use super::{Caller, Shared, arguments, caching};
use crate::guards;

/// Its path.
pub(super) const CHANGES: &str = "/v1/changes";

/// Changes of an answer, at most, and if a client does not say.
pub(super) const LIMIT_MAX: u64 = 1_000_000;
pub(super) const LIMIT: u64 = 100_000;
/// Seconds that a client may wait for the first change.
pub(super) const WAIT_MAX: u64 = 30;
/// Changes that are read together.
const BATCH: usize = 1000;
/// How often it is looked for a first change, which other processes may make.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Requests that wait at a time; further ones are answered at once.
pub(super) const WAITING_MAX: usize = 256;

/// The command whose permission they need.
const COMMAND: &str = "get-stream";

/// The changes.
pub(super) struct OfNamespace;

impl Resource for OfNamespace {
    const NAME: &'static str = "changes";

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        _: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        permit(shared, caller, COMMAND)?;
        let mut query = arguments::parameters(request.uri().query().unwrap_or_default())?;
        let since = number(
            &mut query,
            "since",
            0..=fingerpost_snapshot::NUMBER_MAX,
            None,
        )?;
        let limit = number(&mut query, "limit", 1..=LIMIT_MAX, Some(LIMIT))?;
        let wait = number(&mut query, "wait", 0..=WAIT_MAX, Some(0))?;
        arguments::nothing_else(&query)?;
        let wait = match *request.method() {
            Method::HEAD => Duration::ZERO,
            _ => Duration::from_secs(wait),
        };
        let first = first(shared, caller, since, wait, batch(limit)).await?;
        let since = Since {
            namespace: caller.service().namespace().to_owned(),
            epoch: first.epoch,
            position: since,
        };
        let writer = ChangeWriter::new(Vec::new(), &since);
        let telling = Telling {
            shared: Arc::clone(shared),
            caller: caller.clone(),
            writer: writer.map_err(|error| internal(error, caller))?,
            changes: first,
            left: limit,
        };
        let mut response = (StatusCode::OK, Body::from_stream(telling.lines())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
        Ok(response)
    }
}

fn number(
    query: &mut Vec<(String, String)>,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
    without: Option<u64>,
) -> Result<u64, Problem> {
    let text = arguments::take(query, name);
    let number = match &text {
        Some(text) => text.parse().ok().filter(|number| range.contains(number)),
        None => without,
    };
    number.ok_or_else(|| {
        let (least, most) = range.into_inner();
        let detail = format!("{name} must be a number from {least} to {most}");
        Problem::new(StatusCode::BAD_REQUEST, "bad-argument").detail(detail)
    })
}

fn batch(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(BATCH)
}

fn internal(error: ChangeError, caller: &Caller) -> Problem {
    Problem::of(&Failure::internal(error), COMMAND, caller)
}

/// The first changes; if there are none, those that come within `wait`.
async fn first(
    shared: &Shared,
    caller: &Caller,
    since: u64,
    wait: Duration,
    limit: usize,
) -> Result<Changes, Problem> {
    let until = Instant::now() + wait;
    let place = shared.waiting.try_acquire();
    loop {
        let changes = next(caller, since, limit).await?;
        let is_late = place.is_err() || Instant::now() >= until;
        if changes.position > since || is_late {
            return Ok(changes);
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn next(caller: &Caller, since: u64, limit: usize) -> Result<Changes, Problem> {
    let changes = caller.service().changes(since, limit).await;
    match changes.map_err(|failure| Problem::of(&failure, COMMAND, caller))? {
        ChangesSince::Told(changes) => Ok(changes),
        ChangesSince::Gone { oldest, newest } => {
            let detail = format!(
                "changes are known since positions {oldest} to {newest}: begin with another snapshot"
            );
            Err(Problem::new(StatusCode::GONE, "changes-gone").detail(detail))
        }
    }
}

/// A stream of changes on its way.
struct Telling {
    shared: Arc<Shared>,
    caller: Caller,
    writer: ChangeWriter<Vec<u8>>,
    /// Those that were read and not told yet.
    changes: Changes,
    /// How many may be told.
    left: u64,
}

impl Telling {
    /// Batch by batch, while the client takes them. One that is cut lacks its last line.
    fn lines(self) -> impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::unfold(Some(self), async |telling| {
            let caller = telling.as_ref()?.caller.clone();
            match telling?.step().await {
                Ok((bytes, rest)) => Some((Ok(bytes), rest)),
                Err(problem) => {
                    caller.running.failed(&problem);
                    Some((Err(io::Error::other(problem.code())), None))
                }
            }
        })
    }

    async fn step(mut self) -> Result<(Bytes, Option<Self>), Problem> {
        for change in &self.changes.changes {
            let written = self.writer.write_change(change);
            written.map_err(|error| internal(error, &self.caller))?;
        }
        let told = self.changes.changes.len();
        self.left = self.left.saturating_sub(told as u64);
        let position = self.changes.position;
        if self.changes.is_all || self.left == 0 {
            let ended = self.writer.end(position);
            let bytes = ended.map_err(|error| internal(error, &self.caller))?;
            return Ok((bytes.into(), None));
        }
        let bytes = std::mem::take(self.writer.get_mut());
        guards::rest(&self.shared.guards, self.caller.asker(), told).await;
        self.changes = next(&self.caller, position, batch(self.left)).await?;
        Ok((bytes.into(), Some(self)))
    }
}
