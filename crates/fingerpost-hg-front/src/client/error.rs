//! What can go wrong with a server.

use fingerpost_hg_proto::client::ResponseError;
use fingerpost_hg_proto::{API_NAME, HandshakeError};
use reqwest::StatusCode;

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text is no URL of a repository.
    #[error("{0:?} is no http or https URL")]
    Url(String),
    /// The server cannot be reached, or broke off.
    #[error("the server cannot be reached")]
    Http(#[from] reqwest::Error),
    /// The server answered something that is not v2.
    #[error("{status}: {text}")]
    NotV2 {
        /// Its status.
        status: StatusCode,
        /// The beginning of what it said.
        text: String,
    },
    /// It does not offer v2.
    #[error("the server does not offer {API_NAME}")]
    NotOffered,
    /// Its handshake is broken.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Its frames are broken.
    #[error(transparent)]
    Frames(#[from] ResponseError),
    /// It redirects a request that said it would follow nowhere.
    #[error("the server redirects to a target that it was not told of")]
    StrayRedirect,
    /// It refuses a command that [`HgClient::require`](super::HgClient::require) asked for, or fails.
    #[error("the server refuses {command}: {message}")]
    Refused {
        /// The command.
        command: String,
        /// What the server says.
        message: String,
    },
    /// It answers a command with something that nobody can make sense of.
    #[error("the server's {0} cannot be read")]
    Answer(&'static str),
    /// What was fetched from a redirect target and found good cannot be read
    /// again.
    #[error("the fetched answer cannot be read again")]
    Spool(#[source] std::io::Error),
}
