//! What reports and look-ups are about.

use fingerpost_hashequiv_proto::types::{Method, Taskhash};

/// A task as look-ups name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// What its outhashes are made with.
    pub method: Method,
    /// Hash of its inputs.
    pub taskhash: Taskhash,
}
