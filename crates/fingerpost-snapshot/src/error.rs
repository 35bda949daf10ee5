//! What can be wrong with a snapshot that is read.

use std::io;

use fingerpost_signatures::Reason;

use crate::{Digest, ManifestError};

/// A snapshot cannot be opened, read or verified.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file cannot be read.
    #[error("{what}")]
    Io {
        /// The file: its path, or the name of a shard.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The manifest is none.
    #[error("the manifest is not that of a snapshot")]
    Manifest(#[source] ManifestError),
    /// Nobody whom the reader trusts signed the manifest.
    #[error("not signed by a trusted publisher: {0}")]
    Untrusted(Reason),
    /// A shard is not what the manifest says.
    #[error("shard {shard}: {damage}")]
    Damaged {
        /// Its name.
        shard: Digest,
        /// What is wrong.
        damage: Damage,
    },
}

impl SnapshotError {
    pub(crate) fn io(what: impl ToString) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }
}

/// What is wrong with a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Its length is not that of the manifest.
    #[error("wrong length")]
    Length,
    /// Its bytes have another digest.
    #[error("wrong digest")]
    Digest,
    /// Its bytes are in no shard's form.
    #[error("malformed")]
    Form,
    /// Rows are not in order, twice, or not written in the one way there is.
    #[error("rows are not in canonical order and form")]
    Rows,
    /// It is whole, and not the shard that the manifest describes.
    #[error("rows are not those that the manifest tells of")]
    Manifest,
}
