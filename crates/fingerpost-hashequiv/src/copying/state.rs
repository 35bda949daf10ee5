//! How far a copy is: kept in the target, so that it can be gone on with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CopyError;
use crate::store::Store;

/// How far a copy of one source is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The life of the source, in hexadecimal.
    pub(super) source: String,
    /// By the names of namespaces.
    pub(super) namespaces: BTreeMap<String, Place>,
}

/// How far a namespace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Mappings up to here are taken over.
    pub(super) mapping: i64,
    /// Outputs up to here are.
    pub(super) output: i64,
    /// Deletions up to this position of the source's changes are.
    pub(super) change: u64,
}

impl State {
    /// The one that the target has of this source, or a new one.
    pub(super) async fn of(from: &dyn Store, into: &dyn Store) -> Result<Self, CopyError> {
        let source: String = from
            .history()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let Some(text) = into.copy_state().await.map_err(CopyError::Into)? else {
            return Ok(Self {
                source,
                ..Self::default()
            });
        };
        let state: Self = serde_json::from_str(&text).map_err(CopyError::State)?;
        match state.source == source {
            true => Ok(state),
            false => Err(CopyError::OtherSource),
        }
    }

    pub(super) async fn keep(&self, into: &dyn Store) -> Result<(), CopyError> {
        let text = serde_json::to_string(self).map_err(CopyError::State)?;
        let kept = into.put_copy_state(Some(text));
        kept.await.map_err(CopyError::Into)
    }
}
