//! What runs came to.

use fingerpost_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::Term;
use super::rows::Kind;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It has not, or its process died.
    Running,
    /// Everything was looked at.
    Done,
    /// It was asked to stop, or its process died.
    Stopped,
    /// Something failed.
    Failed,
}

impl Outcome {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Reads what [`Outcome::as_str`] gives; whatever else is a failure.
    pub fn parse(text: &str) -> Self {
        let all = [Self::Running, Self::Done, Self::Stopped];
        let found = all.into_iter().find(|one| one.as_str() == text);
        found.unwrap_or(Self::Failed)
    }
}

/// Rows of one kind that went, or would go, by one term of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Number of the rule, from 1 on.
    pub rule: usize,
    /// Which rows.
    pub kind: Kind,
    /// Why.
    pub term: Term,
    /// How many.
    pub rows: u64,
    /// What they take in the file, about.
    pub bytes: u64,
    /// Some of them: namespace, method and taskhash.
    pub examples: Vec<String>,
}

/// What a run, or a plan, came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What goes, by rule, kind and term, in this order.
    pub gone: Vec<Tally>,
    /// Rows that were looked at.
    pub looked: u64,
    /// Bytes that the file system got back.
    pub given_back_bytes: u64,
}

impl Report {
    /// Rows that go, of all kinds.
    pub fn rows(&self) -> u64 {
        self.gone.iter().map(|tally| tally.rows).sum()
    }

    /// What they take in the file, about.
    pub fn bytes(&self) -> u64 {
        self.gone.iter().map(|tally| tally.bytes).sum()
    }
}

/// A run, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How.
    pub outcome: Outcome,
    /// Rows that went; of a run that did not end, some seconds before now or its stop.
    pub rows: u64,
    /// What they took in the file, about.
    pub bytes: u64,
    /// Bytes that the file system got back.
    pub given_back_bytes: u64,
    /// Why it failed; empty else.
    pub why: String,
}

impl RunRecord {
    /// A run that begins.
    pub const fn begun(started: Timestamp) -> Self {
        Self {
            started,
            ended: None,
            outcome: Outcome::Running,
            rows: 0,
            bytes: 0,
            given_back_bytes: 0,
            why: String::new(),
        }
    }

    /// Takes over how far it is.
    pub(super) fn tell(&mut self, report: &Report) {
        self.rows = report.rows();
        self.bytes = report.bytes();
        self.given_back_bytes = report.given_back_bytes;
    }
}
