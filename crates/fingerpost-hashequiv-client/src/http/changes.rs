//! What changed on a server, as it tells it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::ask::{Answer, Ask};
use super::body::Coming;
use super::endpoint::Endpoint;
use super::problem::Failure;
use super::shared::Unanswered;
use super::{DeletionEpoch, HttpClient};
use crate::AskError;

const NDJSON: &str = "application/x-ndjson";
/// How long a server may be asked to wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Which changes are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedChanges {
    /// After which position; without one, from now on.
    pub since: Option<u64>,
    /// Whether what was added is left out.
    pub deletions_only: bool,
    /// How many at most; without, as many as the server likes.
    pub limit: Option<u64>,
    /// How long the server may wait for the first one, in whole seconds.
    pub wait: Duration,
}

/// The answer to who asks for changes.
#[derive(Debug)]
pub enum Changes {
    /// What is asked for is not known any more, or was never told; with a sentence for
    /// people.
    Gone(String),
    /// They come.
    Told(Box<ChangeStream>),
}

/// The lines of changes while they come. One whose last line is no `{"end": ...}` was cut.
pub struct ChangeStream {
    endpoint: Arc<Endpoint>,
    epoch: Option<DeletionEpoch>,
    body: Coming,
}

impl HttpClient {
    /// What changed. If there is nothing yet the server waits for it as long as is wanted, and
    /// less where the deadline is near: until `give_up` the answer must begin.
    pub async fn changes(
        &self,
        wanted: WantedChanges,
        give_up: Instant,
    ) -> Result<Changes, AskError> {
        let WantedChanges { since, wait, .. } = wanted;
        let mut ask = Ask::get(&["changes"]);
        ask.accept = NDJSON;
        if let Some(since) = since {
            ask.query.push(("since", since.to_string()));
        }
        if let Some(limit) = wanted.limit {
            ask.query.push(("limit", limit.to_string()));
        }
        if wanted.deletions_only {
            ask.query.push(("only", "deletions".to_owned()));
        }
        let left = give_up.saturating_duration_since(Instant::now());
        // A server that is one of several is waited for half of the time.
        let wait = wait.min(WAIT_MAX).min(left * 3 / 8);
        if wait.as_secs() > 0 {
            ask.query.push(("wait", wait.as_secs().to_string()));
        }
        match self.0.begin(&ask, give_up).await {
            Ok((endpoint, response)) => {
                let epoch = Answer::epoch(response.headers());
                let body = Coming::new(response).map_err(broken)?;
                Ok(Changes::Told(Box::new(ChangeStream {
                    endpoint,
                    epoch,
                    body,
                })))
            }
            Err(Unanswered::Refused(refusal)) if refusal.status == StatusCode::GONE => {
                Ok(Changes::Gone(refusal.text))
            }
            Err(unanswered) => Err(unanswered.into()),
        }
    }
}

impl ChangeStream {
    /// The deletion epoch when the answer began, if the server told it.
    pub const fn epoch(&self) -> Option<DeletionEpoch> {
        self.epoch
    }

    /// The server that tells it.
    pub fn address(&self) -> String {
        self.endpoint.url.to_string()
    }

    /// The next bytes, which end anywhere in a line; `None` at the end.
    pub async fn next(&mut self, give_up: Instant) -> Result<Option<Bytes>, AskError> {
        let next = timeout_at(give_up, self.body.next()).await;
        next.map_err(|_| AskError::late())?.map_err(broken)
    }
}

impl std::fmt::Debug for ChangeStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeStream")
            .field("address", &self.endpoint.url)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A body that broke off, or is none.
pub(super) fn broken(failure: Failure) -> AskError {
    match failure {
        Failure::Senseless(why) | Failure::TooLong(why) => AskError::Senseless(why),
        Failure::Broken(why) | Failure::Down { why, .. } | Failure::Ours(why) => {
            AskError::Silent(why)
        }
        Failure::Refused(refusal) => AskError::Told(refusal.text),
        Failure::Late => AskError::late(),
    }
}
