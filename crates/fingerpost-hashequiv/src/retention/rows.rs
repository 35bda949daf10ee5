//! Rows as retention sees them.

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};
use serde::Serialize;

use crate::cache::MethodId;
use crate::namespace::NamespaceId;

/// A kind of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Listings of rows of the relation O.
    Siginfo,
    /// Rows of the relation O.
    Outputs,
    /// Rows of the relation U.
    Mappings,
}

impl Kind {
    /// Every kind, in the order in which they go: a mapping says when its outputs were
    /// used, so it goes after them.
    pub const ALL: [Self; 3] = [Self::Siginfo, Self::Outputs, Self::Mappings];

    /// Its name in the configuration, in metrics and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Siginfo => "siginfo",
            Self::Outputs => "outputs",
            Self::Mappings => "mappings",
        }
    }
}

/// A row, and when it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedRow {
    /// Its number in its table.
    pub id: i64,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its method.
    pub method: MethodId,
    /// The taskhash of its task.
    pub taskhash: Taskhash,
    /// The mapping of its task, if there is one.
    pub mapping: Option<RetainedMapping>,
    /// When it was made; `None` if that was not told, or not in a form that can be
    /// read. Such a row has no age.
    pub created: Option<Timestamp>,
    /// Bytes of the file that it takes, about. A listing that several rows share is
    /// the newest one's.
    pub bytes: u64,
}

/// What of a mapping decides whether it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedMapping {
    /// The unihash.
    pub unihash: Unihash,
    /// The number that no other mapping of the namespace ever has.
    pub sequence: i64,
    /// The collection that marked it.
    pub collection: i64,
    /// Day (since 1970) of the last use that was noted.
    pub used_day: i64,
}

impl RetainedRow {
    /// Day of its last use: that of its mapping, and without one the day it was made.
    /// `None` when neither is known.
    pub fn used_day(&self) -> Option<i64> {
        match &self.mapping {
            Some(mapping) => Some(mapping.used_day),
            None => self.created.map(Timestamp::day),
        }
    }
}

/// Some rows, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetainedPage {
    /// In the order of their numbers.
    pub rows: Vec<RetainedRow>,
    /// What to ask for next, if there is more.
    pub next: Option<i64>,
}

/// What became of rows that were to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expired {
    /// So many of them were looked at, in order, of which these (by their place) went;
    /// the others were not any more as they were seen.
    Looked {
        /// How many were looked at; at least one.
        looked: usize,
        /// Places of those that went.
        gone: Vec<usize>,
    },
    /// Another process has the lease; nothing was done.
    NotOurs,
}
