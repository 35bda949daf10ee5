//! What a peer can do wrong.

/// A breach of the protocol. The answer to every one of them is the same: the
/// connection is closed without a byte (WebSocket: close code 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Misbehaved {
    /// More than [`Limits::line_bytes`](super::Limits::line_bytes) before a line
    /// end; noticed before the line end arrives.
    #[error("a line is too long")]
    LineTooLong,
    /// A message, chunks joined, of more than
    /// [`Limits::message_bytes`](super::Limits::message_bytes).
    #[error("a message is too long")]
    MessageTooLong,
    /// A handshake of more than
    /// [`Limits::handshake_bytes`](super::Limits::handshake_bytes) or
    /// [`Limits::header_lines`](super::Limits::header_lines).
    #[error("the handshake is too long")]
    HandshakeTooLong,
    /// Bytes that are no UTF-8.
    #[error("a line is not UTF-8")]
    NotUtf8,
    /// The first line is not two words.
    #[error("the first line is not a protocol and a version")]
    FirstLine,
    /// The first word is not `OEHASHEQUIV`.
    #[error("another protocol")]
    Protocol,
    /// The version is not above 1.0 and at most 1.1.
    #[error("an unsupported version")]
    Version,
    /// A header line without a colon.
    #[error("a header without a colon")]
    Header,
    /// A message that is not one JSON value; an empty one in particular.
    #[error("a message is not JSON")]
    NotJson,
    /// A message that is JSON, but neither an object nor `null`.
    #[error("a message is not an object")]
    NotAnObject,
    /// An object without a command that is known here.
    #[error("an unknown command")]
    UnknownCommand,
    /// A line of a get-stream that is not two words.
    #[error("a stream line is not a method and a taskhash")]
    StreamLine,
}

impl Misbehaved {
    /// Every variant, for tables of counters.
    pub const ALL: [Self; 12] = [
        Self::LineTooLong,
        Self::MessageTooLong,
        Self::HandshakeTooLong,
        Self::NotUtf8,
        Self::FirstLine,
        Self::Protocol,
        Self::Version,
        Self::Header,
        Self::NotJson,
        Self::NotAnObject,
        Self::UnknownCommand,
        Self::StreamLine,
    ];

    /// A stable word for metrics and logs, `line-too-long` for example.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LineTooLong => "line-too-long",
            Self::MessageTooLong => "message-too-long",
            Self::HandshakeTooLong => "handshake-too-long",
            Self::NotUtf8 => "not-utf8",
            Self::FirstLine => "first-line",
            Self::Protocol => "protocol",
            Self::Version => "version",
            Self::Header => "header",
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::UnknownCommand => "unknown-command",
            Self::StreamLine => "stream-line",
        }
    }

    /// Whether a limit was passed, rather than the grammar broken.
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::LineTooLong | Self::MessageTooLong | Self::HandshakeTooLong
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_listed_once() {
        let words: std::collections::BTreeSet<_> = Misbehaved::ALL.map(Misbehaved::as_str).into();
        assert_eq!(words.len(), Misbehaved::ALL.len());
    }
}
