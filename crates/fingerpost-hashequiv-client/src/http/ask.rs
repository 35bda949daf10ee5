//! What is asked, and what came of it.

use reqwest::header::HeaderMap;

use super::DeletionEpoch;
use super::body::Sent;
use super::epoch;

/// JSON.
pub(super) const JSON: &str = "application/json";
/// Bytes of an answer that is one object, at most: the longest listing fits.
pub(super) const OBJECT_BYTES_MAX: usize = 40 << 20;

/// A request below `/v1`.
pub(super) struct Ask {
    pub(super) verb: Verb,
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    /// The media type of the answer. What is of another one is no answer.
    pub(super) accept: &'static str,
    pub(super) answer_bytes_max: usize,
    /// Whether the answer may be a place where it lies.
    pub(super) may_be_elsewhere: bool,
}

/// What is done, all of which may be done twice.
pub(super) enum Verb {
    Get,
    Post(Sent),
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) epoch: Option<DeletionEpoch>,
    pub(super) bytes: Vec<u8>,
}

impl Ask {
    /// Asks for JSON.
    pub(super) fn get(path: &[&str]) -> Self {
        Self::new(Verb::Get, path)
    }

    /// Sends JSON, and asks for JSON.
    pub(super) async fn post(path: &[&str], json: Vec<u8>) -> Self {
        Self::new(Verb::Post(Sent::json(json).await), path)
    }

    fn new(verb: Verb, path: &[&str]) -> Self {
        Self {
            verb,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: Vec::new(),
            accept: JSON,
            answer_bytes_max: OBJECT_BYTES_MAX,
            may_be_elsewhere: false,
        }
    }
}

impl Answer {
    /// What a header tells; nothing if it is no epoch.
    pub(super) fn epoch(headers: &HeaderMap) -> Option<DeletionEpoch> {
        headers.get(epoch::HEADER)?.to_str().ok()?.parse().ok()
    }
}
