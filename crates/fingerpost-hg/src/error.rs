//! What can go wrong while a store is read.

use std::io;

use fingerpost_hg_proto::Node;

use crate::revlog::Rev;
use crate::store::RequirementsError;

/// Reading a store failed. Every variant names the file, relative to the
/// directory `store`, and the revision where one is known.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused to open or read a file.
    #[error("{file}: {what}")]
    Io {
        /// The file.
        file: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A revlog that something refers to does not exist.
    #[error("{file}: the file does not exist")]
    Missing {
        /// The file.
        file: String,
    },
    /// A revlog does not hold a revision that something refers to.
    #[error("{file}: no revision {node}")]
    UnknownNode {
        /// The file.
        file: String,
        /// The revision asked for.
        node: Node,
    },
    /// A file, or a directory on the way to it, is a symbolic link. Who may write
    /// into a repository could have it lead to anything.
    #[error("{file}: a symbolic link is not followed")]
    SymbolicLink {
        /// The file.
        file: String,
    },
    /// An index or a file beside the revlogs breaks its format.
    #[error("{file}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The stored form of one revision breaks its format.
    #[error("{file}: revision {rev} ({node}): {what}")]
    CorruptRevision {
        /// The file.
        file: String,
        /// The revision.
        rev: Rev,
        /// Its node by the index.
        node: Node,
        /// What is wrong.
        what: String,
    },
    /// A text is not the one its node stands for.
    #[error("{file}: revision {rev}: its text and parents do not hash to {node}")]
    HashMismatch {
        /// The file.
        file: String,
        /// The revision.
        rev: Rev,
        /// The node that the index records.
        node: Node,
    },
    /// A revision has flags that this reader does not know.
    #[error("{file}: revision {rev} has the unknown flags {flags:#06x}")]
    UnknownFlags {
        /// The file.
        file: String,
        /// The revision.
        rev: Rev,
        /// All of its flags.
        flags: u16,
    },
    /// A revlog has another version or unknown features.
    #[error("{file}: the revlog format {header:#010x} is not supported")]
    UnsupportedFormat {
        /// The file.
        file: String,
        /// The first four bytes of the index.
        header: u32,
    },
    /// Something is larger than the configured limit.
    #[error("{file}: {what} of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The file.
        file: String,
        /// What it is.
        what: &'static str,
        /// Its size, as far as it was read.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The content of a revision is not in the store: a pointer to another
    /// place, or a text cut down by a narrow or shallow clone.
    #[error("{file}: revision {rev} ({node}) is stored elsewhere")]
    External {
        /// The file.
        file: String,
        /// The revision.
        rev: Rev,
        /// Its node.
        node: Node,
    },
    /// Changesets were removed after the snapshot was taken, so that link
    /// revisions that were read since may be numbers of others.
    #[error("{file}: it was stripped while it was read")]
    Stripped {
        /// The file.
        file: String,
    },
    /// Another directory is where the one was that was to be served.
    #[error("{file}: another directory is in its place")]
    Replaced {
        /// The directory.
        file: String,
    },
    /// The repository was written again and again while it was read.
    #[error("{file}: it kept changing while it was read")]
    Changing {
        /// The file.
        file: String,
    },
    /// The repository needs something that this reader cannot do.
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
}

impl StoreError {
    /// Whether a strip or a rewrite of the store under the reader can explain
    /// the error. Then the caller takes a new snapshot and tries once more.
    pub fn may_be_stale(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Missing { .. }
            | Self::UnknownNode { .. }
            | Self::Corrupt { .. }
            | Self::CorruptRevision { .. }
            | Self::HashMismatch { .. }
            | Self::Stripped { .. } => true,
            Self::SymbolicLink { .. }
            | Self::UnknownFlags { .. }
            | Self::UnsupportedFormat { .. }
            | Self::TooLarge { .. }
            | Self::External { .. }
            | Self::Replaced { .. }
            | Self::Changing { .. }
            | Self::Requirements(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_and_revision() {
        let error = StoreError::HashMismatch {
            file: "data/a.i".to_owned(),
            rev: Rev::from_index(3).unwrap(),
            node: Node::NULL,
        };
        assert!(error.may_be_stale());
        assert!(error.to_string().starts_with("data/a.i: revision 3: "));
    }

    #[test]
    fn a_limit_is_no_reason_to_try_again() {
        let error = StoreError::TooLarge {
            file: "data/a.i".to_owned(),
            what: "a text",
            bytes: 2,
            limit: 1,
        };
        assert!(!error.may_be_stale());
    }
}
