//! The ways in which opening a database and running a job fail.

use std::io;
use std::sync::Arc;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::{Severity, SqlState};

/// Why a database was not opened. The texts are whole sentences for the
/// operator; they name the database as `postgresql://HOST:PORT/DATABASE`.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOpenError {
    /// The certificates of the settings cannot be used.
    #[error("{target} cannot be reached with TLS: {reason}")]
    Tls {
        /// The database.
        target: String,
        /// What is wrong, a sentence.
        reason: String,
    },
    /// No connection could be made, or it broke off.
    #[error("{target} cannot be reached")]
    Connect {
        /// The database.
        target: String,
        /// What went wrong.
        source: PostgresError,
    },
    /// The server is too old.
    #[error("{target} runs PostgreSQL {version}; 13 is the oldest that works: upgrade the server")]
    TooOld {
        /// The database.
        target: String,
        /// The server's version as it tells it.
        version: String,
    },
    /// Commits are answered before they are durable.
    #[error(
        "{target} has synchronous_commit = off, with which a crash loses what was answered; \
         set it to on for this database, or allow asynchronous commits in the configuration"
    )]
    AsynchronousCommit {
        /// The database.
        target: String,
    },
    /// The tables of `bitbake-hashserv` are there and ours are not. Nothing was changed.
    #[error(
        "{target} is a bitbake-hashserv database; give Fingerpost a database of its own and \
         import this one"
    )]
    ReferenceDatabase {
        /// The database.
        target: String,
    },
    /// The server is a replica, and its primary was never used with this program.
    #[error(
        "{target} is a read-only replica without the tables of Fingerpost; start with its primary"
    )]
    EmptyReplica {
        /// The database.
        target: String,
    },
    /// The server is a replica with an older schema.
    #[error(
        "{target} is a read-only replica with schema version {version}, and this program needs \
         version {known}: migrate its primary first"
    )]
    OldReplica {
        /// The database.
        target: String,
        /// Version of the schema.
        version: u32,
        /// The version that this program needs.
        known: u32,
    },
    /// A newer version migrated the database in such a way that this one cannot use it.
    #[error(
        "{target} has schema version {version} and needs a program that knows version \
         {min_reader}; this one knows version {known}: upgrade it, or restore an older backup"
    )]
    TooNew {
        /// The database.
        target: String,
        /// Version of the schema.
        version: u32,
        /// The oldest version that can use it.
        min_reader: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// A migration failed; the database is as it was before.
    #[error("the schema of {target} could not be brought up to version {version}")]
    Migration {
        /// The database.
        target: String,
        /// The step that failed.
        version: u32,
        /// What went wrong.
        source: PostgresError,
    },
}

/// Why a job gave no result. But for [`PostgresError::UnknownOutcome`], nothing
/// of the job is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PostgresError {
    /// No connection became free in time.
    #[error("too many requests are waiting for a connection to PostgreSQL")]
    Busy,
    /// The connection was lost, or none could be made.
    #[error("the connection to PostgreSQL was lost")]
    Lost(#[source] Arc<tokio_postgres::Error>),
    /// The server said nothing for longer than it may.
    #[error("PostgreSQL does not answer")]
    NoAnswer,
    /// Other transactions were in the way, each time that it was tried.
    #[error("too many transactions of PostgreSQL conflict")]
    Conflict(#[source] Arc<tokio_postgres::Error>),
    /// A statement or the whole job took too long.
    #[error("the time for a job of PostgreSQL is over")]
    Timeout,
    /// The connection broke off while the commit was on its way: it may be
    /// stored, or not.
    #[error("PostgreSQL did not say whether a commit succeeded")]
    UnknownOutcome(#[source] Option<Arc<tokio_postgres::Error>>),
    /// The server is a replica, or was told to refuse writes.
    #[error("PostgreSQL is read-only")]
    ReadOnly,
    /// The server's disk is full.
    #[error("the disk of PostgreSQL is full")]
    Full,
    /// The server cannot read or write its files.
    #[error("input or output of PostgreSQL failed")]
    Io(#[source] Arc<tokio_postgres::Error>),
    /// The job hid an error that ended its transaction, or used a session that
    /// had ended.
    #[error("a job of PostgreSQL lost its transaction")]
    TransactionLost,
    /// A newer program migrated the database in such a way that this one must
    /// not write to it any more.
    #[error("a newer program migrated the database; start this one anew")]
    Superseded,
    /// A statement that gives one row at most gave more, or none where one has
    /// to be.
    #[error("a statement of PostgreSQL gave {0} rows")]
    Rows(usize),
    /// A statement failed, or we were not let in.
    #[error("PostgreSQL refused")]
    Refused(#[source] Arc<tokio_postgres::Error>),
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
}

impl PostgresError {
    /// Whether the same request may succeed a little later.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy | Self::Conflict(_) | Self::Timeout)
    }

    /// Whether the storage itself fails, or cannot be reached, so that the next
    /// write would too.
    pub const fn is_storage(&self) -> bool {
        matches!(
            self,
            Self::Full | Self::Io(_) | Self::Lost(_) | Self::NoAnswer | Self::ReadOnly
        )
    }

    /// What the server said, as a code of five characters; `23505` when a row is
    /// there already.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Lost(error) | Self::Conflict(error) | Self::Io(error) | Self::Refused(error) => {
                error.code().map(SqlState::code)
            }
            _ => None,
        }
    }

    /// Whether the server said no and no more: the connection works as before.
    pub(crate) const fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Conflict(_) | Self::Rows(_) | Self::Superseded
        )
    }

    /// Of an error that COMMIT was answered with: whether it says for certain
    /// that nothing is stored.
    pub(crate) fn of_commit(error: tokio_postgres::Error) -> Self {
        let said = error.as_db_error();
        let ended = said.is_some_and(|said| {
            let code = said.code().code();
            // The session goes on, and nobody stopped it in the middle.
            said.parsed_severity() == Some(Severity::Error)
                && !matches!(code, "40003" | "57014")
                && !code.starts_with("08")
        });
        if ended {
            Self::from(error)
        } else {
            Self::UnknownOutcome(Some(Arc::new(error)))
        }
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let source = std::error::Error::source(&error);
        if error.is_closed() || source.is_some_and(|source| source.is::<io::Error>()) {
            return Self::Lost(Arc::new(error));
        }
        let Some(said) = error.as_db_error() else {
            return Self::Refused(Arc::new(error));
        };
        match said.code().code() {
            "40001" | "40P01" => Self::Conflict(Arc::new(error)),
            // Shut down, crashed, starting, too many connections.
            "57P01" | "57P02" | "57P03" | "57P05" | "53300" => Self::Lost(Arc::new(error)),
            // The statement was prepared before a migration, or is not there:
            // with another connection it works.
            "26000" => Self::Lost(Arc::new(error)),
            "0A000" if said.routine() == Some("RevalidateCachedQuery") => {
                Self::Lost(Arc::new(error))
            }
            "57014" | "25P03" | "25P04" => Self::Timeout,
            "25006" => Self::ReadOnly,
            "25P02" => Self::TransactionLost,
            "53100" => Self::Full,
            "58030" | "XX001" | "XX002" => Self::Io(Arc::new(error)),
            code if code.starts_with("08") => Self::Lost(Arc::new(error)),
            _ => Self::Refused(Arc::new(error)),
        }
    }
}

impl From<PoolError> for PostgresError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            PoolError::Timeout(_) => Self::NoAnswer,
            // The next connection would be refused as well.
            PoolError::Backend(error) if is_of_certificate(&error) => {
                Self::Refused(Arc::new(error))
            }
            PoolError::Backend(error) => Self::from(error),
            PoolError::Closed => Self::Closed,
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Self::NoAnswer,
        }
    }
}

/// Whether the server's certificate was not believed.
fn is_of_certificate(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    let inner = source.and_then(|source| source.get_ref()?.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}
