//! Why a site is not opened, and why a repository is not served.

use std::sync::Arc;

use super::RepositoryId;

/// Why the site's configuration is refused as a whole. The text names the key,
/// or the file and line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct BadSite {
    sentence: String,
}

impl BadSite {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
        }
    }
}

/// Why one repository is not served, though its path is known. Others are not
/// touched by it.
///
/// The text is for the log and for `hg check`: it may name files of the
/// server. What a client is told is [`Refusal::public`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {sentence}")]
pub struct Refusal {
    id: RepositoryId,
    sentence: Arc<str>,
}

impl Refusal {
    pub(super) fn new(id: &RepositoryId, sentence: &str) -> Self {
        Self {
            id: id.clone(),
            sentence: sentence.into(),
        }
    }

    /// Which repository.
    pub const fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// Why, in one sentence without the repository's name. May name files.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// One sentence for clients; it names the repository and nothing else of
    /// the server.
    pub fn public(&self) -> String {
        format!(
            "the repository {} is not served; the server's log says why",
            self.id
        )
    }
}
