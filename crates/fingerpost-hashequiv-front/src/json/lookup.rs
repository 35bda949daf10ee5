//! Many look-ups in one request: as an array, or line by line while they come.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf as _, BytesMut};
use fingerpost_core::Failure;
use fingerpost_hashequiv::HashEquiv;
use fingerpost_hashequiv_proto::types::Unihash;
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::problem::Problem;
use super::{Caller, JSON, JsonOptions, Shared, arguments, caching, media_type};
use crate::guards::Guards;

/// A question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    method: String,
    taskhash: String,
}

/// Its answer.
#[derive(Debug, Serialize)]
struct Answer {
    method: String,
    taskhash: String,
    /// Null if nothing is known.
    unihash: Option<Unihash>,
}

const NDJSON: &str = "application/x-ndjson";

/// Looks up what the body asks for, and answers in its form.
pub(super) async fn answer(
    shared: &Shared,
    caller: &Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (_, entry) = shared
        .commands
        .find("get-stream", false)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "unknown-command"))?;
    let permitted = entry.permit(&caller.principal);
    let tell = || caller.told();
    shared
        .guards
        .tell(entry, "", permitted.as_ref().err(), tell)
        .await;
    permitted.map_err(|failure| Problem::of(&failure, "get-stream", caller))?;
    let (parts, body) = request.into_parts();
    if media_type(&parts.headers).is_some_and(|given| given.eq_ignore_ascii_case(NDJSON)) {
        return Ok(line_by_line(shared, caller, body));
    }
    let bytes = shared.json_body(&parts.headers, body).await?;
    let tasks: Vec<Task> =
        serde_json::from_slice(&bytes).map_err(|error| arguments::malformed(&error))?;
    let max = shared.options.lookups_max;
    if tasks.len() > max {
        return Err(
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-lookups")
                .detail(format!("an array has at most {max}; {NDJSON} has no limit")),
        );
    }
    let lines = tasks.len();
    let found = look_up(&shared.service, tasks).await;
    let found = found.map_err(|failure| Problem::of(&failure, "get-stream", caller))?;
    shared.guards.rest(caller.asker(), lines).await;
    let body = serde_json::to_vec(&found);
    let body =
        body.map_err(|error| Problem::of(&Failure::internal(error), "get-stream", caller))?;
    Ok(found_in(body.into(), JSON))
}

fn found_in(body: Body, media_type: &'static str) -> Response {
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
    response
}

/// Answers a batch: what memory knows, then the rest together.
async fn look_up(service: &HashEquiv, tasks: Vec<Task>) -> Result<Vec<Answer>, Failure> {
    let keys = tasks.iter().map(|task| (&*task.method, &*task.taskhash));
    let found = service.remembered_unihashes(keys).await?;
    let answers = tasks.into_iter().zip(found).map(|(task, unihash)| Answer {
        method: task.method,
        taskhash: task.taskhash,
        unihash,
    });
    Ok(answers.collect())
}

/// A stream of questions, and what is not answered yet of it.
struct Questions<S> {
    service: std::sync::Arc<HashEquiv>,
    options: JsonOptions,
    guards: Guards,
    body: S,
    read: BytesMut,
    has_ended: bool,
    caller: Caller,
}

/// Lines that are answered together.
const BATCH: usize = 1000;

/// Answers each line as soon as it is there: lines that came together are answered
/// together. What goes wrong is the last line, because the status is sent.
fn line_by_line(shared: &Shared, caller: &Caller, body: Body) -> Response {
    let questions = Questions {
        service: std::sync::Arc::clone(&shared.service),
        options: shared.options,
        guards: shared.guards.clone(),
        body: body.into_data_stream(),
        read: BytesMut::new(),
        has_ended: false,
        caller: caller.clone(),
    };
    let answers = stream::unfold(Some(questions), async |questions| {
        let mut questions = questions?;
        match questions.next().await {
            Ok(None) => None,
            Ok(Some(answers)) => Some((Ok::<_, std::io::Error>(answers), Some(questions))),
            Err(problem) => {
                let told = problem.to_json(&questions.caller.request_id);
                let line = [b"{\"error\":", &told[..], b"}\n"].concat();
                Some((Ok(Bytes::from(line)), None))
            }
        }
    });
    found_in(Body::from_stream(answers), NDJSON)
}

impl<S, E> Questions<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// The answers to the next lines; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let tasks = self.take_lines()?;
            if !tasks.is_empty() {
                let lines = tasks.len();
                let found = look_up(&self.service, tasks).await;
                self.guards.rest(self.caller.asker(), lines).await;
                let found =
                    found.map_err(|failure| Problem::of(&failure, "get-stream", &self.caller))?;
                let mut out = Vec::with_capacity(found.len() * 200);
                for answer in &found {
                    // Plain texts cannot fail to be written to memory.
                    _ = serde_json::to_writer(&mut out, answer);
                    out.push(b'\n');
                }
                return Ok(Some(out.into()));
            }
            if self.has_ended {
                return Ok(None);
            }
            self.read_on().await?;
        }
    }

    /// Whole lines out of what was read, so many as are answered together.
    fn take_lines(&mut self) -> Result<Vec<Task>, Problem> {
        let mut tasks = Vec::new();
        while tasks.len() < BATCH {
            let end = self.read.iter().position(|byte| *byte == b'\n');
            let len = match end {
                Some(end) => end,
                None if self.has_ended => self.read.len(),
                None => break,
            };
            if len > self.options.line_bytes_max {
                return Err(self.too_long());
            }
            let line = self.read.split_to(len);
            if end.is_some() {
                self.read.advance(1);
            }
            if !line.trim_ascii().is_empty() {
                let task = serde_json::from_slice(&line);
                tasks.push(task.map_err(|error| arguments::malformed(&error))?);
            }
            if end.is_none() {
                break;
            }
        }
        Ok(tasks)
    }

    async fn read_on(&mut self) -> Result<(), Problem> {
        if self.read.len() > self.options.line_bytes_max {
            return Err(self.too_long());
        }
        match timeout(self.options.body_stall, self.body.next()).await {
            Ok(Some(Ok(bytes))) => {
                self.read.extend_from_slice(&bytes);
                Ok(())
            }
            Ok(None) => {
                self.has_ended = true;
                Ok(())
            }
            Ok(Some(Err(_))) => Err(Problem::new(StatusCode::BAD_REQUEST, "body-broken")),
            Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow")),
        }
    }

    fn too_long(&self) -> Problem {
        let max = self.options.line_bytes_max;
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "line-too-long")
            .detail(format!("a line has at most {max} bytes"))
    }
}
