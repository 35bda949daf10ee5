//! One line of the audit log.

use fingerpost_core::{Credential, Failure, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// `native`, `json` or `hg`.
    pub door: &'static str,
    /// The request's id, as in the log.
    pub request_id: &'a str,
    /// The client.
    pub peer: &'a str,
    /// The login, if there is one.
    pub user: Option<&'a str>,
    /// What the user showed.
    pub credential: Option<&'a Credential>,
    /// The namespace or repository.
    pub namespace: Option<&'a str>,
    /// The command.
    pub command: &'a str,
    /// JSON without secrets: see [`super::summary`].
    pub argument: Option<&'a RawValue>,
    /// What came of it.
    pub outcome: AuditOutcome,
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended<'a> {
    /// With an answer.
    Stored,
    /// With an answer, and what it was to store was not.
    Unstored,
    /// Without one.
    Failed(&'a Failure),
}

impl<'a, T> From<Result<T, &'a Failure>> for Ended<'a> {
    fn from(result: Result<T, &'a Failure>) -> Self {
        match result {
            Ok(_) => Self::Stored,
            Err(failure) => Self::Failed(failure),
        }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was answered, but not stored: the caller may not report, or the server is
    /// read-only.
    Unstored,
    /// The caller may not; a stable word says why.
    Denied(&'static str),
    /// It cannot be done; a stable word says why.
    Refused(&'static str),
    /// Something of ours failed; the log of the server says what. It may have been
    /// done in part.
    Failed,
}

impl AuditOutcome {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unstored => "unstored",
            Self::Denied(_) => "denied",
            Self::Refused(_) => "refused",
            Self::Failed => "failed",
        }
    }

    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Denied(code) | Self::Refused(code) => Some(code),
            Self::Done | Self::Unstored | Self::Failed => None,
        }
    }

    /// Whether everybody can provoke it.
    pub(super) const fn is_for_everybody(self) -> bool {
        matches!(self, Self::Denied(_) | Self::Unstored)
    }
}

/// Its form in the file.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    door: &'static str,
    request_id: &'a str,
    peer: &'a str,
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    argument: Option<&'a RawValue>,
}

impl Event<'_> {
    /// The line with its end.
    pub(super) fn line(&self, now: Timestamp) -> Vec<u8> {
        let line = Line {
            time: now.to_rfc3339(),
            outcome: self.outcome.word(),
            code: self.outcome.code(),
            door: self.door,
            request_id: self.request_id,
            peer: self.peer,
            user: self.user,
            credential: self.credential.map(ToString::to_string),
            namespace: self.namespace,
            command: self.command,
            argument: self.argument,
        };
        // Text and JSON that was read as such: nothing of it can fail.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}
