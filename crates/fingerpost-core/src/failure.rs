//! The ways in which a command fails.

use crate::{BadArgument, Permission};

/// Why a command gave no answer. Each door translates it once: BitBake's
/// protocol tells [`Failure::Denied`] and [`Failure::Refused`] and closes
/// without a word on the others.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The caller lacks a permission. The text is the reference server's, since
    /// it reaches users' consoles.
    #[error("{caller} is not allowed to access permissions(s) {}", join(needs))]
    Denied {
        /// The login, or `Anonymous user`.
        caller: String,
        /// Everything that the command needs.
        needs: Vec<Permission>,
    },
    /// The request is understood and refused; the text is for the client.
    #[error("{message}")]
    Refused {
        /// A stable word for programs, `invalid-unihash` and the like.
        code: &'static str,
        /// A sentence for people; part of the protocol where the reference has it.
        message: String,
    },
    /// The argument is not what the command takes.
    #[error(transparent)]
    BadArgument(#[from] BadArgument),
    /// No such command here (also: not on a read-only server).
    #[error("unknown command")]
    Unknown,
    /// Something of ours failed; the text goes to the log, never to the client.
    #[error("{0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    /// Wraps an error of ours.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// A refusal with its stable code and its public text.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused {
            code,
            message: message.into(),
        }
    }
}

fn join(needs: &[Permission]) -> String {
    let names: Vec<_> = needs.iter().map(|permission| permission.as_str()).collect();
    names.join(", ")
}
