//! The ways in which the state fails. None of them is a build's business.

use std::io;
use std::path::{Path, PathBuf};

use fingerpost_db::{DbError, OpenError};

/// Why the state was not opened, or did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Only one process may replay a spool.
    #[error(
        "another agent is using the state directory {}; stop it, or give this one a state \
         directory of its own",
        directory.display()
    )]
    InUse {
        /// The state directory.
        directory: PathBuf,
    },
    /// The directory, or a file in it, could not be reached.
    #[error("{} in the state directory cannot be used", path.display())]
    Io {
        /// What could not be reached.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The database is not to be had. A damaged one is no reason: it is moved aside.
    #[error("the agent's state cannot be opened")]
    Open(#[from] OpenError),
    /// The database failed. Nothing of what was asked for is stored.
    #[error("the agent's state cannot be read or written")]
    Database(#[from] DbError),
    /// The drive does not answer. What was asked for may be stored later.
    #[error("the drive of the agent's state takes too long")]
    Slow,
    /// The threads of this process are gone.
    #[error("the agent's state is closed")]
    Closed,
}

/// Says which file an error of the operating system is about.
pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> StateError {
    move |source| StateError::Io {
        path: path.to_owned(),
        source,
    }
}
