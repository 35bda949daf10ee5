//! From bytes to requests: the server's receiving half, as a push parser.
//!
//! The owner of the connection reads straight into [`Inbox::buffer`] (or calls
//! [`Inbox::push_message`] on a WebSocket) and takes out what is complete with
//! [`Inbox::next`], or with [`Inbox::stream_lines`] in the hot loop.

mod frames;
mod handshake;
mod inbox;
mod messages;
mod misbehaved;

pub use frames::StreamLines;
pub use inbox::{Inbound, Inbox, Mode};
pub use misbehaved::Misbehaved;

pub(crate) use messages::Messages;

/// The longest line either end of the reference takes, in bytes before the
/// line end.
pub const LINE_BYTES: usize = 65_536;

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A message or stream line is a line that ends in `\n`; long messages are
    /// sent in chunks. TCP and Unix sockets.
    Lines,
    /// A message or stream line is one text message without line end; there are
    /// no chunks. WebSocket.
    Messages,
}

/// What a peer may make us hold. Going beyond any of them closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a line before its line end. The reference takes exactly
    /// [`LINE_BYTES`]; clients count on no more and no less.
    pub line_bytes: usize,
    /// Bytes of a message, its chunks joined. The reference has no limit; its
    /// WebSocket takes 1 MiB, which the WebSocket layer checks first.
    pub message_bytes: usize,
    /// Bytes of all lines of the handshake together, line ends not counted.
    pub handshake_bytes: usize,
    /// Header lines of the handshake.
    pub header_lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: LINE_BYTES,
            message_bytes: 64 << 20,
            handshake_bytes: 128 << 10,
            header_lines: 256,
        }
    }
}
