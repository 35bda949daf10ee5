//! What a server says instead of an answer: RFC 9457.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::DeletionEpoch;
use super::ask::Answer;
use super::body::Coming;

/// What is read of it, at most.
const BYTES_MAX: usize = 64 << 10;
/// Characters of a sentence that is passed on, logged or shown.
const SENTENCE_CHARS_MAX: usize = 1000;
/// The longest rest that a server may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a server gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It refused this request, and would do so again.
    Refused(Refusal),
    /// Something on the way takes nothing as long as this request. That can never pass, and
    /// says nothing of the server.
    TooLong(String),
    /// It cannot be asked, or not now; with the rest that it asks for.
    Down {
        why: String,
        pause: Option<Duration>,
    },
    /// What it says makes no sense, or is an error of its own.
    Senseless(String),
    /// The connection was lost in the middle, which may only mean a restart.
    Broken(String),
    /// There was nothing in time.
    Late,
    /// Nothing to show to it could be had.
    Ours(String),
}

/// A refusal by the server itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The stable word for programs.
    pub(super) code: String,
    /// For people.
    pub(super) text: String,
    pub(super) epoch: Option<DeletionEpoch>,
}

/// Its form on the wire, as far as it is of use.
#[derive(Deserialize)]
struct Told {
    code: String,
    title: Option<String>,
    detail: Option<String>,
}

impl Failure {
    pub(super) fn down(why: impl Into<String>) -> Self {
        Self::Down {
            why: why.into(),
            pause: None,
        }
    }

    /// Of what it said no more is told than a sentence has.
    pub(super) fn senseless(why: impl AsRef<str>) -> Self {
        Self::Senseless(sentence(why.as_ref()))
    }

    /// What an answer is that is no success.
    pub(super) async fn of(response: Response) -> Self {
        let status = response.status();
        let pause = pause(response.headers());
        let is_problem = is_of(response.headers(), "application/problem+json");
        if is_for_later(status) || !status.is_client_error() || !is_problem {
            let why = match (status.is_redirection(), is_problem) {
                (true, _) => format!("it redirects ({status})"),
                (false, true) => format!("it answers {status}"),
                (false, false) => format!("it answers {status}, not in Fingerpost's words"),
            };
            return match status {
                StatusCode::PAYLOAD_TOO_LARGE => Self::TooLong(why),
                later if is_for_later(later) => Self::Down { why, pause },
                _ => Self::senseless(why),
            };
        }
        let epoch = Answer::epoch(response.headers());
        let read = match Coming::new(response) {
            Ok(body) => body.whole(BYTES_MAX).await,
            Err(failure) => Err(failure),
        };
        match read.map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(told)) => Self::Refused(Refusal::new(status, told, epoch)),
            Ok(Err(_)) => Self::senseless(format!("it answers {status} without a reason")),
            Err(failure) => failure,
        }
    }
}

impl Refusal {
    fn new(status: StatusCode, told: Told, epoch: Option<DeletionEpoch>) -> Self {
        let text = told.detail.or(told.title);
        Self {
            status,
            text: sentence(text.as_ref().unwrap_or(&told.code)),
            code: told.code,
            epoch,
        }
    }

    /// Whether it is about the login that was shown, or not shown, and not about what was asked.
    pub(super) fn is_of_login(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED || self.code == "plaintext-login"
    }
}

/// What is fit for a line of a log.
fn sentence(text: &str) -> String {
    let is_plain = |char: &char| !char.is_control();
    text.chars()
        .filter(is_plain)
        .take(SENTENCE_CHARS_MAX)
        .collect()
}

/// Whether headers name a media type, whatever its parameters.
pub(super) fn is_of(headers: &HeaderMap, media_type: &str) -> bool {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let given = given.and_then(|given| given.split(';').next());
    given.is_some_and(|given| given.trim().eq_ignore_ascii_case(media_type))
}

/// What has nothing to do with the request itself.
fn is_for_later(status: StatusCode) -> bool {
    [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        StatusCode::MISDIRECTED_REQUEST,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ]
    .contains(&status)
}

/// The rest in `Retry-After`. A date there is not looked at: the breaker has a rest too.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}
