//! What look-ups and reports are about.

use serde::Serialize;

use super::{Method, Taskhash};

/// A task as requests name it. Clones share the method, and nearly all have no memory of
/// their own: thousands are under way at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Task {
    /// What its outhashes are made with.
    pub method: Method,
    /// Hash of its inputs.
    pub taskhash: Taskhash,
}

impl Task {
    /// Takes any texts.
    pub fn parse(method: &str, taskhash: &str) -> Self {
        Self {
            method: Method::new(method),
            taskhash: Taskhash::parse(taskhash),
        }
    }
}
