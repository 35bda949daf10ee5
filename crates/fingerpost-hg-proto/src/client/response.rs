//! What comes out of the body of an answer.

use crate::cbor::{self, Value};
use crate::encoding::EncodingError;
use crate::frame::{FrameError, FrameHeader, FrameKind, RequestId, StreamId};
use crate::redirect::Location;

/// Something that the server said about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The request.
    pub request_id: RequestId,
    /// What was said.
    pub response: Response,
}

/// What a server says about a request: `Ok`, objects and `End`; or `Redirect`
/// and `End`; or `Refused` and `End`. `Failed` may come at any time, and is the
/// last then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A frame was read. Told only if
    /// [`ResponseReader::tell_frames`](super::ResponseReader::tell_frames) asks for it.
    FrameSeen(FrameHeader),
    /// The command runs; objects follow.
    Ok,
    /// An object.
    Object(Value),
    /// A byte string begins that is delivered in chunks: one of indefinite
    /// length, or a long one, whose length is told.
    BytesBegin {
        /// The length, if it is known beforehand.
        len: Option<u64>,
    },
    /// A part of that byte string.
    BytesChunk(Vec<u8>),
    /// The end of that byte string.
    BytesEnd,
    /// The objects are elsewhere.
    Redirect(Location),
    /// The command was refused.
    Refused {
        /// The message, with a `%s` for each argument: see
        /// [`format_message`](super::format_message).
        message: Vec<u8>,
        /// The arguments.
        args: Vec<Vec<u8>>,
    },
    /// The server failed, or gave up while it answered.
    Failed {
        /// Whose fault it is: `server`, `command` or `protocol`.
        kind: Vec<u8>,
        /// The message, its arguments in place.
        message: Vec<u8>,
    },
    /// Nothing follows.
    End,
}

/// Why a body is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// What is no frame, or a cut one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame for a request that was not made, or is answered.
    #[error("received a frame for request {0}, which waits for none")]
    UnknownRequest(RequestId),
    /// A frame that servers do not send, or that stock clients stop at.
    #[error("received a frame that servers do not send: {}", .0.as_str())]
    UnexpectedKind(FrameKind),
    /// A stream id that is the client's to use.
    #[error("received a frame on stream {0}, which is not the server's")]
    OddStream(StreamId),
    /// A stream begins without saying so.
    #[error("stream {0} did not begin")]
    StreamNotBegun(StreamId),
    /// More streams than a server needs.
    #[error("too many streams")]
    TooManyStreams,
    /// Settings that are no single name of a content encoding, or a second time.
    #[error("the settings of stream {0} are not one known content encoding")]
    StreamSettings(StreamId),
    /// An encoded payload on a stream without settings.
    #[error("received an encoded frame on stream {0}, which has no settings")]
    NoSettings(StreamId),
    /// A response frame that neither goes on nor ends, or both.
    #[error("response frame must either continue or end: flags {0}")]
    Flags(u8),
    /// A payload that cannot be decoded.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// Content that is no CBOR of the subset, or ends inside a value.
    #[error("the answer to request {0}: {1}")]
    Cbor(RequestId, cbor::DecodeError),
    /// A first value that is no status map as the protocol has them.
    #[error("the answer to request {0} does not begin with a status")]
    Status(RequestId),
    /// Objects after a redirect or a refusal.
    #[error("the answer to request {0} goes on after its end")]
    AfterEnd(RequestId),
    /// An error frame of another shape.
    #[error("the error frame of request {0} has no message")]
    ErrorFrame(RequestId),
    /// More decoded bytes than
    /// [`Limits::content_bytes`](super::Limits::content_bytes).
    #[error("the answer is too long")]
    TooLong,
    /// The body ended before this request was answered.
    #[error("the answer ends before request {0} is answered")]
    Unanswered(RequestId),
}
