//! Why a copy ends.

use crate::store::StoreError;

/// A copy was not made, or not finished. What was copied stays: the same copy goes on where
/// it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source failed.
    #[error("the database to copy from failed")]
    From(#[source] StoreError),
    /// The target failed.
    #[error("the database to copy into failed")]
    Into(#[source] StoreError),
    /// The target has rows that no copy put there.
    #[error("the database to copy into is not empty, and holds no unfinished copy")]
    NotEmpty,
    /// The target holds an unfinished copy of something else.
    #[error("the database to copy into holds an unfinished copy of another database")]
    OtherSource,
    /// What the target says of an unfinished copy cannot be read.
    #[error("the unfinished copy was made by another version of this program")]
    State(#[source] serde_json::Error),
    /// Somebody writes to the source.
    #[error(
        "the database to copy from was written to while the copy was finished: stop its servers"
    )]
    StillWritten,
    /// Both are not the same at the end.
    #[error("the copy differs in the namespace '{namespace}': {what}")]
    Differs {
        /// The namespace.
        namespace: String,
        /// What differs, a phrase.
        what: String,
    },
}
