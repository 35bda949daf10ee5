//! Many questions in one request: as an array, or line by line while they come.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf as _, BytesMut};
use fingerpost_core::{Cost, Failure, Kind};
use futures_util::stream;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::body::demand_media_type;
use super::coding::{self, Pieces};
use super::problem::Problem;
use super::{Caller, JSON, JsonOptions, Shared, arguments, bounded, caching, media_type};
use crate::budget::Share;
use crate::guards;

/// How long what is asked in one array may take to have its turn.
const ARRAY_TIME: Duration = Duration::from_secs(60);

pub(super) const NDJSON: &str = "application/x-ndjson";

/// What can be asked by the thousand.
pub(super) trait Many: Send + Sync + 'static {
    /// The command that it stands for, whose permission it needs.
    const COMMAND: &'static str;
    /// Questions that are answered together.
    const BATCH: usize;
    /// A question that was looked at and can be answered.
    type Question: Send;
    type Answer: Serialize + Send;

    /// Bytes of one line.
    fn line_bytes_max(options: &JsonOptions) -> usize;

    /// Reads a question; it is one object.
    fn read(shared: &Shared, json: &[u8]) -> Result<Self::Question, Problem>;

    /// Answers at most [`Many::BATCH`] questions, in order.
    fn answer(
        shared: &Shared,
        caller: &Caller,
        questions: Vec<Self::Question>,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Problem>> + Send;
}

/// Answers what the body asks, in its form.
pub(super) async fn answer<M: Many>(
    shared: &Arc<Shared>,
    caller: &Caller,
    request: Request,
) -> Result<Response, Problem> {
    let entry = shared.entry(M::COMMAND)?;
    let permitted = entry.permit(&caller.principal);
    // What is many of a command is told of each, but for that none of them was called.
    if entry.declaration.kind == Kind::Stream || permitted.is_err() {
        let tell = || caller.told.clone();
        let ended = permitted.as_ref().into();
        guards::tell(&shared.guards, entry, "", ended, tell).await;
    }
    permitted.map_err(|failure| Problem::of(&failure, M::COMMAND, caller))?;
    let (parts, body) = request.into_parts();
    if media_type(&parts.headers).is_some_and(|given| given.eq_ignore_ascii_case(NDJSON)) {
        let pieces = coding::pieces(&parts.headers, body)?;
        return Ok(line_by_line::<M>(shared, caller, pieces));
    }
    demand_media_type(&parts.headers, &[JSON, NDJSON])?;
    let bytes = shared.json_body(&parts.headers, body).await?;
    let answers = array::<M>(shared, caller, &bytes).await?;
    Ok(answers_in(answers.into(), JSON))
}

/// Answers an array. All of it is looked at before any of it is answered: a bad
/// question leaves nothing done.
async fn array<M: Many>(
    shared: &Shared,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Vec<u8>, Problem> {
    let max = items_max::<M>(shared, caller)?;
    let items = bounded::items(bytes, max).map_err(|error| arguments::malformed(&error))?;
    let raw = items.ok_or_else(|| too_many_items(max))?;
    let read = |(place, one): (usize, &RawValue)| {
        M::read(shared, one.get().as_bytes()).map_err(|problem| problem.at("item", place + 1))
    };
    let questions: Result<Vec<_>, _> = raw.into_iter().enumerate().map(read).collect();
    let mut questions = questions?.into_iter();
    let mut out = vec![b'['];
    loop {
        let batch: Vec<_> = questions.by_ref().take(M::BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let lines = batch.len();
        let answers = M::answer(shared, caller, batch).await?;
        rest::<M>(shared, caller, lines).await;
        for answer in answers {
            if out.len() > 1 {
                out.push(b',');
            }
            let written = serde_json::to_writer(&mut out, &answer);
            written.map_err(|error| Problem::of(&Failure::internal(error), M::COMMAND, caller))?;
        }
    }
    out.push(b']');
    Ok(out)
}

/// The longest array: what changes something waits for the turn of each, and all of it
/// has to be done in a time that clients have.
fn items_max<M: Many>(shared: &Shared, caller: &Caller) -> Result<usize, Problem> {
    let max = shared.options.items_max;
    let cost = shared.entry(M::COMMAND)?.declaration.cost;
    if cost == Cost::Cheap {
        return Ok(max);
    }
    let admission = &shared.guards.admission;
    let within = admission.most_within(cost, caller.asker(), ARRAY_TIME);
    let within = within.map_or(max, |most| usize::try_from(most).unwrap_or(max));
    Ok(within.min(max))
}

/// Rests after look-ups, if the caller asks too much. What changes something waited for
/// its turn.
async fn rest<M: Many>(shared: &Shared, caller: &Caller, lines: usize) {
    let entry = shared.entry(M::COMMAND);
    if entry.is_ok_and(|entry| entry.declaration.cost == Cost::Cheap) {
        guards::rest(&shared.guards, caller.asker(), lines).await;
    }
}

fn too_many_items(max: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-items")
        .detail(format!(
            "an array has at most {max} here; {NDJSON} has no limit"
        ))
        .limit("items", max as u64)
}

fn answers_in(body: Body, media_type: &'static str) -> Response {
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
    response
}

/// A stream of questions, and what is not answered yet of it.
struct Questions {
    shared: Arc<Shared>,
    body: Pieces,
    /// Less than a line and a piece of the body.
    read: BytesMut,
    /// So much of `read` has no end of a line.
    looked_at: usize,
    /// Lines that were taken.
    lines: usize,
    has_ended: bool,
    /// What `read`, and the questions that were taken from it last, have of the
    /// memory for bodies.
    share: Share,
    caller: Caller,
}

/// Answers each line as soon as it is there: lines that came together are answered
/// together. What goes wrong is the last line, because the status is sent.
fn line_by_line<M: Many>(shared: &Arc<Shared>, caller: &Caller, body: Pieces) -> Response {
    let questions = Questions {
        shared: Arc::clone(shared),
        body,
        read: BytesMut::new(),
        looked_at: 0,
        lines: 0,
        has_ended: false,
        share: shared.share(),
        caller: caller.clone(),
    };
    let answers = stream::unfold(Some(questions), async |questions| {
        let mut questions = questions?;
        match questions.next::<M>().await {
            Ok(None) => None,
            Ok(Some(answers)) => Some((Ok::<_, std::io::Error>(answers), Some(questions))),
            Err(problem) => {
                questions.caller.running.failed(&problem);
                let told = problem.to_json(questions.caller.request_id());
                let line = [b"{\"error\":", &told[..], b"}\n"].concat();
                Some((Ok(Bytes::from(line)), None))
            }
        }
    });
    answers_in(Body::from_stream(answers), NDJSON)
}

impl Questions {
    /// The answers to the next lines; `None` at the end.
    async fn next<M: Many>(&mut self) -> Result<Option<Bytes>, Problem> {
        let max = M::line_bytes_max(&self.shared.options);
        loop {
            let (questions, problem) = self.take_lines::<M>(max);
            if !questions.is_empty() {
                // The lines before a bad one are answered; then it comes again.
                let lines = questions.len();
                let found = M::answer(&self.shared, &self.caller, questions).await?;
                rest::<M>(&self.shared, &self.caller, lines).await;
                let mut out = Vec::with_capacity(found.len() * 200);
                for answer in &found {
                    // Plain texts cannot fail to be written to memory.
                    _ = serde_json::to_writer(&mut out, answer);
                    out.push(b'\n');
                }
                return Ok(Some(out.into()));
            }
            if let Some(problem) = problem {
                return Err(problem);
            }
            if self.has_ended {
                return Ok(None);
            }
            self.read_on(max).await?;
        }
    }

    /// Whole lines out of what was read, so many as are answered together, up to
    /// one that is wrong, which stays.
    fn take_lines<M: Many>(&mut self, max: usize) -> (Vec<M::Question>, Option<Problem>) {
        let mut questions = Vec::new();
        while questions.len() < M::BATCH {
            let unseen = &self.read[self.looked_at..];
            let end = memchr::memchr(b'\n', unseen).map(|place| self.looked_at + place);
            let len = match end {
                Some(end) => end,
                None if self.has_ended => self.read.len(),
                None => {
                    self.looked_at = self.read.len();
                    break;
                }
            };
            if len > max {
                return (questions, Some(too_long(max)));
            }
            let line = &self.read[..len];
            if !line.trim_ascii().is_empty() {
                match M::read(&self.shared, line) {
                    Ok(question) => questions.push(question),
                    Err(problem) => return (questions, Some(problem.at("line", self.lines + 1))),
                }
            }
            self.lines += 1;
            self.read.advance(len + usize::from(end.is_some()));
            self.looked_at = 0;
            if end.is_none() {
                break;
            }
        }
        (questions, None)
    }

    async fn read_on(&mut self, max: usize) -> Result<(), Problem> {
        if self.read.len() > max {
            return Err(too_long(max));
        }
        match timeout(self.shared.options.body_stall, self.body.next()).await {
            Ok(Some(Ok(bytes))) => {
                let held = self.read.len() + bytes.len() + self.body.kept();
                if !self.share.covers(held) {
                    return Err(self.shared.buffers_full());
                }
                self.read.extend_from_slice(&bytes);
                Ok(())
            }
            Ok(None) => {
                self.has_ended = true;
                Ok(())
            }
            Ok(Some(Err(problem))) => Err(problem),
            Err(_) => Err(self.shared.too_slow()),
        }
    }
}

fn too_long(max: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "line-too-long")
        .detail(format!("a line has at most {max} bytes"))
        .limit("line_bytes", max as u64)
}
