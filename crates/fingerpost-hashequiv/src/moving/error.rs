//! The ways in which moving fails.

use std::path::{Path, PathBuf};

use fingerpost_db::postgres::{PostgresError, PostgresOpenError};

use crate::namespace::NamespaceError;

/// Why an import did not end. What it has done so far is kept where
/// [`import`](super::import()) says, and is used by the next run.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source has none of the reference's tables, or is no SQLite file.
    #[error("{} is no bitbake-hashserv database", path.display())]
    NotReference {
        /// The source.
        path: PathBuf,
    },
    /// The source has a write-ahead log, which cannot be read where it lies:
    /// its directory cannot be written, and SQLite has to map an index there.
    #[error(
        "{} has a write-ahead log beside it, which cannot be read in a directory without the \
         right to write; copy {} and {}-wal elsewhere, or stop its server first",
        path.display(),
        path.display(),
        path.display()
    )]
    WalUnreadable {
        /// The source.
        path: PathBuf,
    },
    /// PostgreSQL could not be reached.
    #[error(transparent)]
    Connect(#[from] PostgresOpenError),
    /// A source in PostgreSQL could not be read.
    #[error("cannot read {target}")]
    Postgres {
        /// The source as `postgresql://HOST:PORT/DATABASE`.
        target: String,
        /// What went wrong.
        source: PostgresError,
    },
    /// The source could not be read.
    #[error("cannot read {}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Source and target are one file.
    #[error("{} cannot be imported into itself", path.display())]
    Itself {
        /// The file.
        path: PathBuf,
    },
    /// The name cannot be that of a namespace.
    #[error(transparent)]
    Name(#[from] NamespaceError),
    /// The database has no such namespace, or is not there.
    #[error(
        "there is no namespace '{name}' in {}: a server makes those of its configuration when it \
         starts",
        path.display()
    )]
    NoNamespace {
        /// The database.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Another process imports into the same target.
    #[error("another import into {} is running", path.display())]
    Running {
        /// The target.
        path: PathBuf,
    },
    /// The target appeared while a new file was made for it.
    #[error("{} was made by somebody else meanwhile; it was not replaced", path.display())]
    Appeared {
        /// The target.
        path: PathBuf,
    },
    /// The target exists and follows nobody: its rows may be its own.
    #[error(
        "{} exists and follows no database; name a new file, or import into this one without \
         following",
        path.display()
    )]
    NotFollowed {
        /// The target.
        path: PathBuf,
    },
    /// The target follows another source, or was begun with other options.
    #[error(
        "{} follows another database, or was begun by another version or with other options; \
         remove it with {}.following to begin anew",
        path.display(),
        path.display()
    )]
    FollowsOther {
        /// The target.
        path: PathBuf,
    },
    /// The source has tables that a newer version of the reference would replace.
    #[error(
        "{} has tables of an older bitbake-hashserv and cannot be followed; start a newer one on \
         it once, which brings them up to date, or import it without following",
        path.display()
    )]
    TooOldToFollow {
        /// The source.
        path: PathBuf,
    },
    /// The source was written to while its last rows were taken.
    #[error(
        "{} was written to meanwhile: stop its server and finish again; everything up to now was \
         taken",
        path.display()
    )]
    StillWritten {
        /// The source.
        path: PathBuf,
    },
    /// The target could not be opened or made.
    #[error(transparent)]
    Open(#[from] fingerpost_db::OpenError),
    /// The target could not be written.
    #[error("cannot write {}", path.display())]
    Target {
        /// The target, or the file that becomes it.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A file could not be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The source does not hold together: it changed while it was read, or its
    /// indexes are damaged.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The source.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// [`Progress`](super::Progress) asked to stop.
    #[error("the import was interrupted; run it again to go on")]
    Interrupted,
}

impl ImportError {
    pub(super) fn no_namespace(path: &Path, name: &str) -> Self {
        Self::NoNamespace {
            path: path.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn source(path: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Source {
            path: path.clone(),
            source,
        }
    }

    pub(super) fn target(path: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Target {
            path: path.clone(),
            source,
        }
    }

    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }
}

/// Why an export did not end. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The target exists; an export never replaces anything.
    #[error("{} exists; name a new file", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The name cannot be that of a namespace.
    #[error(transparent)]
    Name(#[from] NamespaceError),
    /// The database has no such namespace, or is not there.
    #[error(
        "there is no namespace '{name}' in {}: a server makes those of its configuration when it \
         starts",
        path.display()
    )]
    NoNamespace {
        /// The database.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// The source could not be opened.
    #[error(transparent)]
    Open(#[from] fingerpost_db::OpenError),
    /// The source could not be read.
    #[error("cannot read {}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The target could not be written.
    #[error("cannot write {}", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A file could not be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// [`Progress`](super::Progress) asked to stop.
    #[error("the export was interrupted")]
    Interrupted,
}

impl ExportError {
    pub(super) fn no_namespace(path: &Path, name: &str) -> Self {
        Self::NoNamespace {
            path: path.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn source(path: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Source {
            path: path.clone(),
            source,
        }
    }

    pub(super) fn target(path: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Target {
            path: path.clone(),
            source,
        }
    }

    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }
}
