//! Why a request got no answer.

use std::io;
use std::time::Duration;

use fingerpost_hashequiv_proto::Misbehaved;
use fingerpost_hashequiv_proto::client::ServerError;

use super::ConnectError;
use crate::link::Broken;

/// A request without an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused with a sentence for people; nothing is gained by
    /// asking again.
    #[error("{0}")]
    Told(String),
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// The server.
        address: String,
        /// What went wrong.
        #[source]
        cause: ConnectError,
    },
    /// The server closed the connection: an unknown command, a wrong argument,
    /// or its end.
    #[error("the server closed the connection")]
    Closed,
    /// The server was silent for this long.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// What came is not of the protocol.
    #[error("the server broke the protocol")]
    Misbehaved(#[source] Misbehaved),
    /// The answer is not one to the request.
    #[error("{0}")]
    Senseless(String),
}

impl ClientError {
    /// Whether nothing came in time, as from a server that is away.
    pub const fn is_late(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Connect { cause, .. } => matches!(cause, ConnectError::Timeout(_)),
            _ => false,
        }
    }

    /// Whether another try may end better.
    pub(crate) const fn is_temporary(&self) -> bool {
        match self {
            Self::Told(_) => false,
            Self::Connect { cause, .. } => cause.is_temporary(),
            _ => true,
        }
    }
}

impl From<ServerError> for ClientError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Told(text) => Self::Told(text),
            senseless @ ServerError::Senseless(_) => Self::Senseless(senseless.to_string()),
        }
    }
}

impl From<Broken> for ClientError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Io(error) => Self::Broken(error),
            Broken::Misbehaved(misbehaved) => Self::Misbehaved(misbehaved),
        }
    }
}

impl From<Misbehaved> for ClientError {
    fn from(misbehaved: Misbehaved) -> Self {
        Self::Misbehaved(misbehaved)
    }
}
