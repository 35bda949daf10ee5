//! How a session ends.

use std::io;

use fingerpost_hashequiv_proto::Misbehaved;

use crate::metrics::Limit;
use fingerpost_hashequiv_client::link::Broken;

/// Why a session is over. Everything that was answered before is still sent,
/// except to a peer that is gone or does not read.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The client said goodbye.
    Goodbye,
    /// The client closed its side.
    PeerClosed,
    /// The server is stopping.
    Drained,
    /// The client broke the protocol.
    Misbehaved(Misbehaved),
    /// A request failed, which ends every session. It is logged already.
    Failed,
    /// The client was too slow, or there was no room for it.
    OverLimit(Limit),
    /// The connection broke.
    Broken(io::Error),
}

impl From<Misbehaved> for Ended {
    fn from(misbehaved: Misbehaved) -> Self {
        Self::Misbehaved(misbehaved)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Io(error) => Self::Broken(error),
            Broken::Misbehaved(misbehaved) => Self::Misbehaved(misbehaved),
        }
    }
}

impl Ended {
    /// Whether there is anybody to send the last answers to.
    pub(crate) const fn is_reachable(&self) -> bool {
        !matches!(self, Self::Broken(_) | Self::OverLimit(Limit::WriteStall))
    }
}
