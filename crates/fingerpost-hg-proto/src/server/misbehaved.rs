//! What a client can do wrong, and how it is told.

use crate::cbor;
use crate::frame::{FrameError, FrameKind, RequestId, StreamId};
use crate::request::RequestError;

/// A breach of the protocol in the body of a request. Where a recorded
/// exchange shows the reference's words for it, they are these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaved {
    /// A stream id that is the server's to use.
    #[error("received frame with even numbered stream ID: {0}")]
    EvenStream(StreamId),
    /// A stream begins without saying so.
    #[error("received frame on unknown inactive stream without beginning of stream flag set")]
    StreamNotBegun,
    /// A payload that is marked as encoded, which no client has settled.
    #[error("received an encoded frame on stream {0}")]
    Encoded(StreamId),
    /// What is no frame, or a cut one.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A frame that only servers send.
    #[error("received a frame that clients do not send: {}", .0.as_str())]
    UnexpectedKind(FrameKind),
    /// Settings after the first command or a second time, or something else
    /// before they are complete.
    #[error("sender protocol settings are not at the beginning: {}", .0.as_str())]
    SettingsOrder(FrameKind),
    /// A settings frame that neither goes on nor ends, or both.
    #[error("sender protocol settings frame must either continue or end: flags {0}")]
    SettingsFlags(u8),
    /// Settings that are no CBOR.
    #[error("sender protocol settings are not CBOR: {0}")]
    SettingsCbor(cbor::DecodeError),
    /// Settings that are no map with a list of names.
    #[error("sender protocol settings are not a map with a list of content encodings")]
    SettingsShape,
    /// A request frame that is neither new nor a continuation, or both.
    #[error("command request frame must either be new or a continuation: flags {0}")]
    RequestFlags(u8),
    /// A new request whose id is that of one that is incomplete.
    #[error("received new command request for a request that is being received: {0}")]
    AlreadyReceiving(RequestId),
    /// A frame of a request that is complete.
    #[error("received a frame for a request that is complete: {0}")]
    AlreadyComplete(RequestId),
    /// A continuation of nothing.
    #[error("received a continuation for a request that was not begun: {0}")]
    NotReceiving(RequestId),
    /// Frames of one request disagree about the data that follows.
    #[error("frames of request {0} differ in whether data follows")]
    DataFlagDiffers(RequestId),
    /// Data for a request that announced none, or before its last frame.
    #[error("received command data that request {0} does not expect")]
    DataNotExpected(RequestId),
    /// A data frame that neither goes on nor ends, or both.
    #[error("command data frame must either continue or end: flags {0}")]
    DataFlags(u8),
    /// The map of a request is none.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// A body of more than [`Limits::body_bytes`](super::Limits::body_bytes).
    #[error("the request body is too long")]
    BodyTooLong,
    /// More than [`Limits::frames`](super::Limits::frames).
    #[error("the request body has too many frames")]
    TooManyFrames,
    /// More than [`Limits::commands`](super::Limits::commands).
    #[error("the request body has too many commands")]
    TooManyCommands,
    /// More than [`Limits::open_requests`](super::Limits::open_requests).
    #[error("too many command requests are incomplete at once")]
    TooManyOpenRequests,
    /// A request of more than [`Limits::request_bytes`](super::Limits::request_bytes).
    #[error("command request {0} is too long")]
    RequestTooLong(RequestId),
    /// The body ended without any command.
    #[error("the request body has no command")]
    NoCommand,
    /// The body ended inside a request.
    #[error("the request body ends before request {0} is complete")]
    Incomplete(RequestId),
}

/// How HTTP answers a [`Misbehaved`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpFailure {
    /// `200 OK`, `text/plain`, with [`Misbehaved::body`]: what the reference
    /// answers to everything that it notices itself.
    PlainText,
    /// `500 Internal Server Error`: what the reference trips over.
    Internal,
    /// `413 Content Too Large`: a limit of ours.
    TooLarge,
}

impl Misbehaved {
    /// How HTTP answers it.
    pub const fn http(&self) -> HttpFailure {
        match self {
            Self::BodyTooLong
            | Self::TooManyFrames
            | Self::TooManyCommands
            | Self::TooManyOpenRequests
            | Self::RequestTooLong(_)
            | Self::Frame(FrameError::TooLong(_)) => HttpFailure::TooLarge,
            Self::Request(RequestError::Cbor(error)) | Self::SettingsCbor(error) => {
                match error.is_limit() {
                    true => HttpFailure::TooLarge,
                    false => HttpFailure::Internal,
                }
            }
            Self::Encoded(_)
            | Self::Frame(FrameError::Truncated)
            | Self::NoCommand
            | Self::Incomplete(_) => HttpFailure::Internal,
            _ => HttpFailure::PlainText,
        }
    }

    /// The body of a plain text answer: the message and a line end.
    pub fn body(&self) -> String {
        format!("{self}\n")
    }
}
