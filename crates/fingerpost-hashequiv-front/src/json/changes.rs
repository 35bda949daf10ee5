//! What changed in a namespace since a position, as lines.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use fingerpost_core::Failure;
use fingerpost_hashequiv::changes::{ChangeFilter, Changes, ChangesSince};
use fingerpost_snapshot::{ChangeError, ChangeWriter, Since};
use futures_util::stream;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};

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
/// Requests that wait at a time; further ones are answered at once. Each holds its
/// connection and some kilobytes.
pub(super) const WAITING_MAX: usize = 10_000;

/// Requests that read changes at a time: a farm that comes at once after a restart does not
/// stand before everybody's look-ups.
pub(super) const READING_MAX: usize = 8;
/// How long a request waits to be one of them.
const READING_WAIT: Duration = Duration::from_secs(10);

/// What `only` may be.
pub(super) const DELETIONS: &str = "deletions";

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
        permit(shared, caller, COMMAND).await?;
        let asked = Asked::of(&request)?;
        let since = match asked.since {
            Some(since) => since,
            None => newest(shared, caller).await?,
        };
        let first = first(shared, caller, &asked, since).await?;
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
            left: asked.limit,
            filter: asked.filter,
        };
        let mut response = (StatusCode::OK, Body::from_stream(telling.lines())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
        Ok(response)
    }
}

/// What of the changes is asked for.
struct Asked {
    /// `None`: what comes from now on.
    since: Option<u64>,
    limit: u64,
    wait: Duration,
    filter: ChangeFilter,
}

impl Asked {
    fn of(request: &Request) -> Result<Self, Problem> {
        let mut query = arguments::parameters(request.uri().query().unwrap_or_default())?;
        let since = number(&mut query, "since", 0..=fingerpost_snapshot::NUMBER_MAX)?;
        let limit = number(&mut query, "limit", 1..=LIMIT_MAX)?;
        let wait = number(&mut query, "wait", 0..=WAIT_MAX)?;
        let wait = wait.filter(|_| *request.method() != Method::HEAD);
        let filter = match arguments::take(&mut query, "only").as_deref() {
            None => ChangeFilter::All,
            Some(DELETIONS) => ChangeFilter::Deletions,
            Some(_) => return Err(bad(format!("only must be {DELETIONS}"))),
        };
        arguments::nothing_else(&query)?;
        Ok(Self {
            since,
            limit: limit.unwrap_or(LIMIT),
            wait: Duration::from_secs(wait.unwrap_or(0)),
            filter,
        })
    }

    /// Whether nobody has to wait any more who has read everything up to `since`.
    fn is_answered(&self, changes: &Changes, since: u64) -> bool {
        match self.filter {
            ChangeFilter::All => changes.position > since,
            ChangeFilter::Deletions => !changes.changes.is_empty() || !changes.is_all,
        }
    }
}

/// A parameter, if it is there.
fn number(
    query: &mut Vec<(String, String)>,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Problem> {
    let Some(text) = arguments::take(query, name) else {
        return Ok(None);
    };
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.map(Some).ok_or_else(|| {
        let (least, most) = range.into_inner();
        bad(format!("{name} must be a number from {least} to {most}"))
    })
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-argument").detail(detail)
}

fn batch(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(BATCH)
}

fn internal(error: ChangeError, caller: &Caller) -> Problem {
    Problem::of(&Failure::internal(error), COMMAND, caller)
}

/// Waits for a place to read from.
async fn place(shared: &Shared) -> Result<SemaphorePermit<'_>, Problem> {
    match timeout(READING_WAIT, shared.reading.acquire()).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(Problem::new(status, "busy").detail("too many read changes now"))
        }
    }
}

/// The newest position.
async fn newest(shared: &Shared, caller: &Caller) -> Result<u64, Problem> {
    let _place = place(shared).await?;
    let cut = caller.service().cut().await;
    let cut = cut.map_err(|failure| Problem::of(&failure, COMMAND, caller))?;
    Ok(cut.position)
}

/// The first changes; if there are none, those that come while the client waits. That asks
/// the database once at most, however many wait: what is looked at is looked at for all.
async fn first(
    shared: &Shared,
    caller: &Caller,
    asked: &Asked,
    since: u64,
) -> Result<Changes, Problem> {
    let (limit, filter) = (batch(asked.limit), asked.filter);
    let place = match asked.wait.is_zero() {
        true => None,
        false => shared.waiting.try_acquire().ok(),
    };
    if place.is_none() {
        return next(shared, caller, since, (limit, filter)).await;
    }
    let mut watching = caller.service().watch_changes(filter);
    let until = Instant::now() + asked.wait;
    // Nothing that is asked for was between `since` and here.
    let mut seen = since;
    loop {
        let changes = match watching.changes(seen, limit) {
            Some(changes) => changes,
            None => next(shared, caller, seen, (limit, filter)).await?,
        };
        if asked.is_answered(&changes, seen) {
            return Ok(changes);
        }
        seen = changes.position;
        tokio::select! {
            biased;
            () = shared.stopping() => return Ok(changes),
            // Looks that woke nobody say up to where nothing came.
            () = sleep_until(until) => return Ok(watching.changes(seen, limit).unwrap_or(changes)),
            () = watching.changed() => {}
        }
    }
}

async fn next(
    shared: &Shared,
    caller: &Caller,
    since: u64,
    (limit, filter): (usize, ChangeFilter),
) -> Result<Changes, Problem> {
    let _place = place(shared).await?;
    let changes = caller.service().changes(since, limit, filter).await;
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
    filter: ChangeFilter,
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
        self.changes = next(
            &self.shared,
            &self.caller,
            position,
            (batch(self.left), self.filter),
        )
        .await?;
        Ok((bytes.into(), Some(self)))
    }
}
