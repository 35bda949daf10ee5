//! Rows of the relation O a page at a time, and their listings as text.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fingerpost_core::Failure;
use fingerpost_hashequiv::paging::{OutputFilter, OutputKey, OutputPlace, PagedRow};
use fingerpost_hashequiv::store::Task;
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use super::fields::Fields;
use super::problem::Problem;
use super::{Caller, Shared, arguments, caching};

/// The rows of an output.
pub(super) const ROWS: &str = "/v1/outhashes/{method}/{outhash}/rows";
/// The rows of a task.
pub(super) const OUTPUTS: &str = "/v1/tasks/{method}/{taskhash}/outputs";
/// The listing of one row.
pub(super) const SIGINFO: &str = "/v1/siginfos/{method}/{taskhash}/{outhash}";

/// Rows of a page, at most, and if a client does not say.
pub(super) const LIMIT_MAX: usize = 1000;
pub(super) const LIMIT: usize = 100;

/// The command whose permission they need.
pub(super) const COMMAND: &str = "get-outhash";

/// What a row has.
pub(super) const FIELDS: [&str; 13] = [
    "namespace",
    "id",
    "method",
    "taskhash",
    "outhash",
    "created",
    "owner",
    "PN",
    "PV",
    "PR",
    "task",
    "unihash",
    "has_siginfo",
];

/// A row as it is told.
#[derive(Serialize)]
struct Told {
    namespace: String,
    id: i64,
    method: Method,
    taskhash: Taskhash,
    outhash: Outhash,
    created: Option<String>,
    owner: Option<String>,
    #[serde(rename = "PN")]
    pn: Option<String>,
    #[serde(rename = "PV")]
    pv: Option<String>,
    #[serde(rename = "PR")]
    pr: Option<String>,
    task: Option<String>,
    /// Of the task; null if it has none.
    unihash: Option<Unihash>,
    has_siginfo: bool,
}

#[derive(Serialize)]
struct Page {
    rows: Vec<Box<RawValue>>,
    /// The cursor of the next page.
    next: Option<String>,
}

impl From<PagedRow> for Told {
    fn from(PagedRow { namespace, row }: PagedRow) -> Self {
        Self {
            namespace,
            id: row.id,
            method: row.method,
            taskhash: row.taskhash,
            outhash: row.outhash,
            created: row.created,
            owner: row.metadata.owner,
            pn: row.metadata.pn,
            pv: row.metadata.pv,
            pr: row.metadata.pr,
            task: row.metadata.task,
            unihash: row.unihash.map(|(unihash, _)| unihash),
            has_siginfo: row.siginfo.is_some(),
        }
    }
}

pub(super) type Named = [(String, String)];

/// What is read without a command of its own.
pub(super) trait Resource: Send + Sync + 'static {
    /// What it is called where requests are counted.
    const NAME: &'static str;
    /// Whether its answer may be another one when something is deleted.
    const TELLS_EPOCH: bool = true;

    /// Answers; `path` has what the path's names stand for.
    fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        path: &Named,
        request: Request,
    ) -> impl Future<Output = Result<Response, Problem>> + Send;
}

pub(super) fn named<'a>(path: &'a Named, name: &str) -> &'a str {
    let mut all = path.iter();
    all.find(|(known, _)| known == name)
        .map_or("", |(_, value)| value)
}

fn task(path: &Named) -> Task {
    Task {
        method: Method::new(named(path, "method")),
        taskhash: Taskhash::parse(named(path, "taskhash")),
    }
}

/// The rows of an output.
pub(super) struct OfOutput;

impl Resource for OfOutput {
    const NAME: &'static str = "output-rows";

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        path: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        let filter = OutputFilter::Outhash {
            method: Method::new(named(path, "method")),
            outhash: Outhash::parse(named(path, "outhash")),
        };
        page(shared, caller, filter, request).await
    }
}

/// The rows of a task.
pub(super) struct OfTask;

impl Resource for OfTask {
    const NAME: &'static str = "task-outputs";

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        path: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        page(shared, caller, OutputFilter::Task(task(path)), request).await
    }
}

async fn page(
    shared: &Shared,
    caller: &Caller,
    filter: OutputFilter,
    request: Request,
) -> Result<Response, Problem> {
    permit(shared, caller, COMMAND).await?;
    let uri = request.uri();
    let mut query = arguments::parameters(uri.query().unwrap_or_default())?;
    let fields = Fields::take(&mut query, &FIELDS)?;
    let (limit, after) = (limit(&mut query)?, cursor(&mut query, &filter)?);
    arguments::nothing_else(&query)?;
    let mark = Cursor::of(&filter);
    let page = caller.service().output_page(filter, after, limit).await;
    let page = page.map_err(|failure| Problem::of(&failure, COMMAND, caller))?;
    let page = page.ok_or_else(|| wrong_cursor(StatusCode::NOT_FOUND))?;
    let next = page.next.map(|after| mark.text(after));
    let written = write(page.rows, &fields, next.clone())
        .map_err(|error| Problem::of(&Failure::internal(error), COMMAND, caller))?;
    let mut response = (StatusCode::OK, Body::from(written)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(super::JSON));
    headers.insert(header::CACHE_CONTROL, caching::NO_STORE);
    if let Some(next) = next {
        // The other parameters as they came.
        let others = uri.query().unwrap_or_default().split('&');
        let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
        let query: String = others.map(|pair| format!("{pair}&")).collect();
        let link = format!("<{}?{query}cursor={next}>; rel=\"next\"", uri.path());
        if let Ok(link) = HeaderValue::from_str(&link) {
            headers.insert(header::LINK, link);
        }
    }
    Ok(response)
}

fn write(
    rows: Vec<PagedRow>,
    fields: &Fields,
    next: Option<String>,
) -> serde_json::Result<Vec<u8>> {
    let rows = rows.into_iter().map(|row| {
        let whole = serde_json::to_vec(&Told::from(row))?;
        let chosen = fields.of_object(whole.into());
        let raw: &RawValue = serde_json::from_slice(&chosen)?;
        to_raw_value(raw)
    });
    let rows = rows.collect::<serde_json::Result<_>>()?;
    serde_json::to_vec(&Page { rows, next })
}

/// Whether the caller has the permission of a command. The audit log is told if not.
pub(super) async fn permit(
    shared: &Shared,
    caller: &Caller,
    command: &'static str,
) -> Result<(), Problem> {
    let entry = shared.entry(command)?;
    let permitted = entry.permit(&caller.principal);
    if let Err(failure) = &permitted {
        shared.denied(entry, caller, failure).await;
    }
    permitted.map_err(|failure| Problem::of(&failure, command, caller))
}

fn limit(query: &mut Vec<(String, String)>) -> Result<usize, Problem> {
    let Some(text) = arguments::take(query, "limit") else {
        return Ok(LIMIT);
    };
    let limit = text.parse().ok();
    let fits = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit));
    let detail = format!("limit must be a number from 1 to {LIMIT_MAX}");
    fits.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-argument")
            .detail(detail)
            .limit("page_rows", LIMIT_MAX as u64)
    })
}

fn cursor(
    query: &mut Vec<(String, String)>,
    filter: &OutputFilter,
) -> Result<Option<OutputPlace>, Problem> {
    let Some(text) = arguments::take(query, "cursor") else {
        return Ok(None);
    };
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_formed = text.len() == CURSOR_DIGITS && text.bytes().all(is_digit);
    let place = Cursor::of(filter).read(&text).ok_or_else(|| {
        // One that these rows have never given leads nowhere.
        wrong_cursor(match is_formed {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::BAD_REQUEST,
        })
    });
    place.map(Some)
}

fn wrong_cursor(status: StatusCode) -> Problem {
    Problem::new(status, "wrong-cursor")
        .detail("a cursor comes from `next` of an earlier page of the same rows")
}

/// Hex digits of a cursor.
pub(super) const CURSOR_DIGITS: usize = 40;

/// Which rows a cursor goes through; it fits no others.
struct Cursor([u8; 8]);

impl Cursor {
    fn of(filter: &OutputFilter) -> Self {
        let mut digest = Sha256::new();
        let (kind, method, hash) = match filter {
            OutputFilter::Outhash { method, outhash } => ("outhash", method, outhash.to_text()),
            OutputFilter::Task(task) => ("task", &task.method, task.taskhash.to_text()),
        };
        for part in [kind, method.as_str(), &hash] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut mark = [0; 8];
        mark.copy_from_slice(&digest.finalize()[..8]);
        Self(mark)
    }

    /// The cursor of the rows after this place.
    fn text(&self, after: OutputPlace) -> String {
        let (namespace, output) = (after.namespace.to_be_bytes(), after.output.to_be_bytes());
        faster_hex::hex_string(&[&self.0[..], &namespace, &output].concat())
    }

    fn read(&self, text: &str) -> Option<OutputPlace> {
        let mut bytes = [0; CURSOR_DIGITS / 2];
        if text.len() != CURSOR_DIGITS {
            return None;
        }
        faster_hex::hex_decode(text.as_bytes(), &mut bytes).ok()?;
        let (mark, place) = bytes.split_first_chunk::<8>()?;
        let (namespace, output) = place.split_first_chunk::<4>()?;
        let output = i64::from_be_bytes(output.try_into().ok()?);
        let namespace = u32::from_be_bytes(*namespace);
        let place = OutputPlace { namespace, output };
        (*mark == self.0 && output >= 0).then_some(place)
    }
}

/// The listing of one row, as text.
pub(super) struct Siginfo;

impl Resource for Siginfo {
    const NAME: &'static str = "siginfo";

    async fn answer(
        shared: &Arc<Shared>,
        caller: &Caller,
        path: &Named,
        request: Request,
    ) -> Result<Response, Problem> {
        permit(shared, caller, COMMAND).await?;
        let query = arguments::parameters(request.uri().query().unwrap_or_default())?;
        arguments::nothing_else(&query)?;
        let epoch = caller.service().deletion_epoch();
        let key = OutputKey {
            task: task(path),
            outhash: Outhash::parse(named(path, "outhash")),
        };
        let found = caller.service().siginfo(key).await;
        let found = found.map_err(|failure| Problem::of(&failure, COMMAND, caller))?;
        let text = found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "unknown-siginfo"))?;
        let text = Bytes::from(text);
        let mut response = (StatusCode::OK, Body::from(text.clone())).into_response();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        let open = caller.anybody_may(shared.entry(COMMAND)?);
        Ok(caching::conditional(
            request.headers(),
            response,
            caching::tag(caller.service().namespace(), epoch, &text),
            open,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_fits_the_rows_that_it_came_from() {
        let of = |taskhash: &str| {
            Cursor::of(&OutputFilter::Task(Task {
                method: Method::new("m"),
                taskhash: Taskhash::parse(taskhash),
            }))
        };
        let place = |output| OutputPlace {
            namespace: 3,
            output,
        };
        let text = of("1").text(place(77));
        assert_eq!(of("1").read(&text), Some(place(77)));
        assert_eq!(of("2").read(&text), None);
        for wrong in [
            "",
            "x",
            &text[1..],
            &"g".repeat(40),
            &of("1").text(place(-1)),
        ] {
            assert_eq!(of("1").read(wrong), None, "{wrong}");
        }
    }
}
