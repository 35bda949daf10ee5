//! Mercurial's wire protocol v2, both ends, without I/O.
//!
//! Bytes in, typed values out, and the other way round: [`Node`], frames, the
//! CBOR subset in its canonical order, content encodings, requests and
//! responses. The same code serves the server, the debugging client, tests,
//! benches and fuzzers. It knows no socket, no file and no command's meaning.
//!
//! A server reads a body with [`server::Inbox`] and answers through
//! [`server::Responder`]; a client uses [`client::RequestWriter`] and
//! [`client::ResponseReader`]. [`Handshake`] is how they find each other.
//! Nothing that a peer sends makes any of them panic or grow beyond its limits.

pub mod cbor;
pub mod client;
pub mod fuzz;

pub mod server;

mod encoding;
mod frame;
mod handshake;
mod node;
mod redirect;
mod request;

pub use encoding::{Compressor, ContentEncoding, Decompressor, EncodingError};
pub use frame::{
    Frame, FrameError, FrameHeader, FrameKind, FrameReader, RequestId, StreamFlags, StreamId, flags,
};
pub use handshake::{
    API_BASE, API_NAME, CBOR_MEDIA_TYPE, FRAMING_MEDIA_TYPE, Handshake, HandshakeError,
    PROTO_HEADER, UPGRADE_HEADER, Upgrade,
};
pub use node::{Node, ParseNodeError};
pub use redirect::{Location, RedirectOffer, RedirectTarget};
pub use request::{Args, CommandRequest, RedirectRequest, RequestError};

#[cfg(test)]
mod tests;
